"""Damaged files: always a cluster or a clear refusal, never a traceback, never a secret on the screen."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.cluster.load import ClusterFileError
from tasks.cluster.spec import Cluster
from tests.unit.cluster.files import EXAMPLES, MINIMAL, parse

SECRET = "Pa55/w0rd!x"
OTHER_SECRET = "zQ9-geheim"
LEAKY = f"""\
name: prod-a
hosts:
  - name: etcd-01
    address: 10.0.0.11
    ssh: {{password: {SECRET}, port: 2222}}
  - {{name: etcd-02, address: 10.0.0.12, labels: {{rack: 012}}}}
ssh:
  user: ubuntu
  sudo_password: "{SECRET}"
  jump: {{address: bastion, password: '{OTHER_SECRET}'}}
pki:
  passphrase: {OTHER_SECRET}
etcd:
  extra:
    ETCD_SOME_PASSWORD: {SECRET}
"""
BASES = [MINIMAL, (EXAMPLES / "example.yaml").read_text(), (EXAMPLES / "full.yaml").read_text(), LEAKY]
MUTATIONS = 1000
ODD_VALUES = [
    "yes", "null", "~", "0o17", "017", "1e999", ".nan", "-1", "99999999999999999999", "''", "[]", "{}", "[[]]",
    "{a: b}", "*x", "&x y", "!t v", "|", ">", "- a", "? a", "a: b", "${", "${X}", "${X:-}", "%", "@", "`",
    "2026-01-01", "12:30",
    "\"\\x00\"", "\"\\ud800\"", "٣", "\u2028", "é" * 70, "x" * 5000, "../..", "/", "::", "0.0.0.0", "<<",
]  # fmt: skip


def drop(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return "".join(lines)


def duplicate(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    line = rng.choice(lines)
    lines.insert(rng.randrange(len(lines) + 1), line)
    return "".join(lines)


def swap(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return "".join(lines)


def rename(text: str, rng: random.Random) -> str:
    keys = list(re.finditer(r"[A-Za-z_]+(?=:)", text))
    if not keys:
        return text
    one, other = rng.choice(keys), rng.choice(keys)
    word = rng.choice([one[0][:-1], one[0] + "s", one[0].upper(), other[0], "<<", ""])
    return text[: one.start()] + word + text[one.end() :]


def retype(text: str, rng: random.Random) -> str:
    values = list(re.finditer(r"(?<=: )[^\s,{}]+", text))
    if not values:
        return text
    one = rng.choice(values)
    return text[: one.start()] + rng.choice(ODD_VALUES) + text[one.end() :]


def indent(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    index = rng.randrange(len(lines))
    lines[index] = rng.choice([" ", "   ", "\t", "- "]) + lines[index]
    return "".join(lines)


def garble(text: str, rng: random.Random) -> str:
    index = rng.randrange(len(text))
    return text[:index] + rng.choice(":{}[],&*#?|-<>=!%@\\\"'`\t\n\x00\x85 é$") + text[index + rng.randrange(2) :]


def cut(text: str, rng: random.Random) -> str:
    first, second = sorted(rng.randrange(len(text)) for _ in range(2))
    return text[:first] if rng.random() < 0.3 else text[:first] + text[second:]


KINDS: list[Callable[[str, random.Random], str]] = [drop, duplicate, swap, rename, retype, indent, garble, cut]


def mutated(seed: int) -> bytes:
    rng = random.Random(seed)
    text = BASES[seed % len(BASES)]
    for _ in range(rng.randint(1, 3)):
        text = rng.choice(KINDS)(text, rng) or "\n"
    data = bytearray(text.encode())
    if rng.random() < 0.15:
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def refusal(data: bytes) -> ClusterFileError | None:
    """None if the file is a cluster; any other exception is a bug and passes through."""
    try:
        loaded = parse(data)
    except ClusterFileError as error:
        return error
    if not isinstance(loaded.cluster, Cluster) or not loaded.cluster.hosts:
        raise AssertionError("neither a cluster nor a refusal")
    return None


def outcome(data: bytes, secrets: tuple[str, ...] = ()) -> bool:
    """Whether the file is a cluster; fails on anything but a cluster or a good refusal."""
    refused = refusal(data)
    problems = refused.problems if refused else parse(data).warnings
    for problem in problems:
        assert problem.line is not None
        assert 1 <= problem.line <= len(data.split(b"\n"))
        assert problem.column is None or problem.column >= 1
        assert problem.message
        str(problem).encode()
        assert not any(secret in str(problem) for secret in secrets)
    if refused:
        assert any(problem.severity == "error" for problem in problems)
        assert not any(secret in str(refused) for secret in secrets)
    return refused is None


@pytest.mark.parametrize("first", range(0, MUTATIONS, 100))
def test_mutated_files(first: int) -> None:
    for seed in range(first, first + 100):
        data = mutated(seed)
        try:
            outcome(data, (SECRET, OTHER_SECRET))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error


def test_the_mutations_are_worth_it() -> None:
    """They must hit both sides: mostly refused, some still fine, with many different complaints."""
    fine = sum(outcome(mutated(seed)) for seed in range(200))
    assert 5 < fine < 150
    refusals = [refusal(mutated(seed)) for seed in range(200)]
    messages = {problem.message for refused in refusals if refused for problem in refused.problems}
    assert len(messages) > 30


QUICK = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    outcome(data)


@QUICK
@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    outcome(text.encode("utf-8", "surrogatepass"))


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "name",
    "hosts",
    "ssh",
    "etcd",
    "pki",
    "address",
    "jump",
    "extra",
    "labels",
    "release",
    "quota",
    "password",
    "port",
]


@QUICK
@given(
    st.dictionaries(
        st.sampled_from(KEYS), TREES | st.dictionaries(st.sampled_from(KEYS), TREES, max_size=4), max_size=5
    )
)
def test_any_values_under_known_keys(data: dict[str, object]) -> None:
    outcome(yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass"))
    whole = {**yaml.safe_load(MINIMAL), **data}
    outcome(yaml.safe_dump(whole, allow_unicode=True).encode("utf-8", "surrogatepass"))


@QUICK
@given(
    st.lists(
        st.from_regex(r"[a-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True), min_size=1, max_size=7, unique_by=str.lower
    )
)
def test_every_legal_name_makes_a_cluster(names: list[str]) -> None:
    hosts = [{"name": name, "address": f"10.0.0.{index + 1}"} for index, name in enumerate(names)]
    built = parse(yaml.safe_dump({"name": "p", "hosts": hosts}, default_style='"')).cluster
    assert [host.name for host in built.hosts] == names
    assert built.initial_cluster.count("=") == len(names)


@QUICK
@given(st.ip_addresses())
def test_ip_addresses_keep_their_meaning(address: object) -> None:
    data = yaml.safe_dump({"name": "p", "hosts": [{"name": "a", "address": str(address)}]}, default_style='"').encode()
    if outcome(data):
        assert parse(data).cluster.hosts[0].listen_address == str(address)
