"""What is refused or warned about, and how it is said."""

from __future__ import annotations

import re

import pytest

from tests.unit.cluster.files import MINIMAL, parse, problems, with_hosts

ONE = "name: a, address: 10.0.0.1"


def test_everything_is_reported_at_once_with_its_place() -> None:
    text = """\
nam: prod-a
hosts:
  - {name: etcd-01, adress: 10.0.0.11}
  - {name: etcd-02, address: 10.0.0.300}
  - {name: ETCD-02, address: 10.0.0.13}
ssh: {user: ubuntu, jump: {port: 99999}}
etcd:
  election_ms: 300
"""
    found = {(problem.line, problem.key, problem.message.split(":")[0]) for problem in problems(text)}
    assert found == {
        (1, "name", "is missing"),
        (1, "nam", "unknown key"),
        (3, "hosts[0].adress", "unknown key"),
        (3, "hosts[0].address", "is missing"),
        (4, "hosts[1].address", "10.0.0.300 is neither an IP address nor a host name"),
        (5, "hosts[2].name", "the same name (case aside) as hosts[1] on line 4"),
        (6, "ssh.jump.address", "is missing"),
        (6, "ssh.jump.port", "must be less than or equal to 65535"),
        (8, "etcd.election_ms", "300 ms is less than five heartbeats of 100 ms; etcd would not start"),
    }


def test_a_problem_reads_like_a_compiler_s() -> None:
    (problem,) = problems(MINIMAL + "sssh: {user: x}\n")
    assert str(problem) == "/srv/clusters/prod-a.yaml:6:1: error: sssh: unknown key\n    hint: did you mean `ssh`?"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("", "", "the file is empty"),
        ("# nothing\n", "", "the file is empty"),
        ("- a\n", "", "keys with values were expected"),
        ("just text\n", "", "keys with values were expected"),
        ("name: a\n\thosts: []\n", "", "a tab where YAML wants spaces"),
        ("name: [a\n", "", "not valid YAML: expected ',' or ']', but got '<stream end>'"),
        (MINIMAL + "---\nname: b\n", "", "second YAML document"),
        (MINIMAL + "name: b\n", "name", "already on line 1"),
        (MINIMAL + "ssh: *base\n", "", "anchor that is not in the file"),
        (MINIMAL + "ssh: &a {jump: *a}\n", "", "contains itself"),
        (MINIMAL + "ssh: !!python/object/apply:os.system ['true']\n", "", "a YAML tag"),
        (MINIMAL + "ssh: {<<: 5}\n", "ssh", "<< must name a mapping"),
        (MINIMAL + "? [a]\n: b\n", "", "a key must be a single word"),
        (MINIMAL + "ssh: " + "[" * 500 + "]" * 500 + "\n", "", "levels deep"),
        (MINIMAL + 'ssh: {user: "\\UFFFFFFFF"}\n', "", "not valid YAML"),
        (MINIMAL + 'ssh: {user: "\\ud800"}\n', "ssh.user", "surrogate"),
        (MINIMAL + "ssh: {user: \x07}\n", "", "control character"),
        ("name: prod-a\nhosts: []\n", "hosts", "at least one host"),
        ("name: prod-a\nhosts: {a: 1}\n", "hosts", "a list was expected"),
        ("name: prod-a\nhosts: [null]\n", "hosts[0]", "keys with values were expected"),
        ("name: Prod A\nhosts: []\n", "name", "a cluster's name"),
        (MINIMAL + "ssh: {port: 0022}\n", "ssh.port", "whole number"),
        (MINIMAL + "ssh: {port: 22:22}\n", "ssh.port", "whole number"),
        (MINIMAL + "ssh: {port: 22.0}\n", "ssh.port", "whole number"),
        (MINIMAL + "ssh: {port: true}\n", "ssh.port", "whole number"),
        (MINIMAL + "ssh: {port: '22'}\n", "ssh.port", "whole number"),
        (MINIMAL + "ssh: {connect_timeout: .inf}\n", "ssh.connect_timeout", "a number was expected"),
        (MINIMAL + "ssh: {agent: maybe}\n", "ssh.agent", "true or false"),
        (
            MINIMAL + "ssh: {user: ${NOT_SET}}\n".replace("{user: ", "\n  user: ").replace("}}", "}"),
            "ssh.user",
            "NOT_SET",
        ),
        (MINIMAL + "ssh: {user: '${a b}'}\n", "ssh.user", "not a reference"),
        (MINIMAL + "ssh: {user: '${A'}\n", "ssh.user", "not a reference"),
        (MINIMAL + "ssh: {host_keys: accept_new}\n", "ssh.host_keys", "accept-new was expected"),
        (MINIMAL + "ssh: {host_key: ssh-ed25519 AAAA}\n", "ssh.host_key", "cut off"),
        (MINIMAL + "ssh: {host_key: SHA256:abc}\n", "ssh.host_key", "not a public host key"),
        (MINIMAL + "ssh: {agent: false}\n", "hosts[0]", "no way to log in"),
        (MINIMAL + "ssh: {user: ops, sudo: none}\n", "hosts[0]", "needs root"),
        (MINIMAL + "ssh: {address: 10.0.0.1}\n", "ssh.address", "one login address"),
        (MINIMAL + "etcd: {version: 3.6}\n", "etcd.version", "patch level"),
        (MINIMAL + "etcd: {version: 3.4.30}\n", "etcd.version", "3.4 is not supported"),
        (MINIMAL + "etcd: {version: latest}\n", "etcd.version", "not an etcd version"),
        (MINIMAL + "etcd: {quota: 8G}\n", "etcd.quota", "two ways"),
        (MINIMAL + "etcd: {quota: 1KiB}\n", "etcd.quota", "out of range"),
        (MINIMAL + "etcd: {data_dir: /var/lib}\n", "etcd.data_dir", "directory of the system"),
        (MINIMAL + "etcd: {data_dir: /etc/etcd/data}\n", "etcd.data_dir", "must not lie in each other"),
        (MINIMAL + "etcd: {data_dir: data}\n", "etcd.data_dir", "must be absolute"),
        (MINIMAL + "etcd: {data_dir: /a/../b}\n", "etcd.data_dir", "no . or .."),
        (MINIMAL + "etcd: {data_dir: '/a b'}\n", "etcd.data_dir", "has only letters"),
        (MINIMAL + "etcd: {auto_compaction: {retention: 1d}}\n", "etcd.auto_compaction.retention", "neither"),
        (MINIMAL + "etcd: {auto_compaction: {retention: 8}}\n", "etcd.auto_compaction.retention", "needs a unit"),
        (MINIMAL + "etcd: {auto_compaction: {mode: revision}}\n", "etcd.auto_compaction", "number of revisions"),
        (MINIMAL + "etcd: {release: {source: 'https://u:p@m/x'}}\n", "etcd.release.source", "with a password"),
        (MINIMAL + "etcd: {release: {source: 'ftp://m/x'}}\n", "etcd.release.source", "http"),
        (MINIMAL + "etcd: {extra: {GOGC: 1}}\n", "etcd.extra.GOGC", "starts with ETCD_"),
        (MINIMAL + "etcd: {extra: {ETCD_NAME: x}}\n", "etcd.extra.ETCD_NAME", "made by another key"),
        (
            MINIMAL + "etcd: {extra: {ETCD_FORCE_NEW_CLUSTER: true}}\n",
            "etcd.extra.ETCD_FORCE_NEW_CLUSTER",
            "another key",
        ),
        (MINIMAL + "etcd: {extra: {ETCD_MY_TOKEN: 'env:X'}}\n", "etcd.extra.ETCD_MY_TOKEN", "looks like a secret"),
        (
            MINIMAL + "etcd: {version: 3.7.0, extra: {ETCD_EXPERIMENTAL_X: 1}}\n",
            "etcd.extra.ETCD_EXPERIMENTAL_X",
            "would not start",
        ),
        (with_hosts(*(f"name: m{i}, address: m{i}" for i in range(51))), "hosts", "more than 50 entries"),
        (MINIMAL + "pki: {ca_days: 30}\n", "pki", "longer than the CA's"),
        (
            MINIMAL + "snapshots: {stores: [{name: a, directory: /x}, {name: b, directory: /y/../x/}]}\n",
            "snapshots.stores[1]",
            "the same place as the store a",
        ),
        (
            MINIMAL + "snapshots: {stores: [{name: a, s3: {bucket: xyz}}, {name: b, s3: {bucket: xyz}}]}\n",
            "snapshots.stores[1]",
            "the same place as the store a",
        ),
        (MINIMAL + "pki: {extra_sans: [a_b]}\n", "pki.extra_sans[0]", "neither"),
        (with_hosts(ONE, ONE.replace("a,", "b,")), "hosts[1].address", "the same address"),
        (with_hosts(ONE, "name: b, address: 010.0.0.1"), "hosts[1].address", "neither"),
        (with_hosts("name: -a, address: 10.0.0.1"), "hosts[0].name", "starts with"),
        (with_hosts("name: no, address: 10.0.0.1"), "hosts[0].name", "text was expected"),
        (with_hosts("name: 010, address: 10.0.0.1"), "hosts[0].name", "text was expected"),
        (with_hosts("name: 2026-01-01, address: 10.0.0.1"), "hosts[0].name", "text was expected"),
        (with_hosts("name: a, address: 1:2:3:4:5:6:7:8"), "hosts[0].address", "text was expected"),
        (with_hosts("name: a, address: 'fe80::1'"), "hosts[0].address", "link-local"),
        (with_hosts("name: a, address: 0.0.0.0"), "hosts[0].address", "cannot connect|others can connect"),
        (with_hosts(ONE + ", listen_address: localhost"), "hosts[0].listen_address", "not an IP address"),
        (with_hosts(ONE + ", peer_port: 2379"), "hosts[0].peer_port", "used twice"),
        (with_hosts(ONE + ", prefix: /srv/x"), "hosts[0].prefix", "below a prefix"),
        (with_hosts(ONE, "name: b, address: 127.0.0.1"), "hosts[1].address", "loopback"),
        (
            with_hosts(ONE, "name: b, address: 10.0.0.2, peer_address: 10.0.0.1"),
            "hosts[1].peer_address",
            "the same peer",
        ),
        (
            with_hosts(
                "name: a, address: 127.0.0.1, connection: local", "name: b, address: 127.0.0.2, connection: local"
            ),
            "hosts[1]",
            "the same machine",
        ),
        (
            with_hosts(ONE, "name: b, address: 10.0.0.2, ssh: {address: 10.0.0.1}"),
            "hosts[1]",
            "the same ssh address",
        ),
        (
            with_hosts(
                "name: a, address: a, connection: local, service: supervisor, prefix: /a",
                "name: b, address: b, connection: local, service: supervisor, prefix: /b, client_port: 1, peer_port: 2",
            ),
            "hosts[1]",
            "port 2381 is taken",
        ),
    ],
)
def test_refused(text: str, key: str, words: str) -> None:
    found = problems(text)
    assert any(problem.key.startswith(key) and re.search(words, problem.message) for problem in found), found


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("https://10.0.0.1", "without http"),
        ("10.0.0.1:2379", "without the port"),
        ("'[fd00::1]'", "without brackets"),
        ("10.0.0.1/24", "length"),
        ("10.0.0.300", "0 to 255"),
        ("etcd_1.example.com", "RFC 1123"),
        ("bücher.example", "xn--"),
    ],
)
def test_hints_for_addresses(address: str, hint: str) -> None:
    (problem,) = problems(with_hosts(f"name: a, address: {address}"))
    assert hint in str(problem.hint)


@pytest.mark.parametrize(
    ("key", "hint"),
    [("adress", "did you mean `address`?"), ("user", "`user` belongs under"), ("zzz", "known here: name, address")],
)
def test_hints_for_unknown_keys(key: str, hint: str) -> None:
    (problem,) = problems(with_hosts(f"{ONE}, {key}: 1"))
    assert hint in str(problem.hint)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (2, "any one failure stops the cluster"),
        (4, "4 members tolerate the loss of 1, no more than 3 would, while every write waits for 3 instead of 2"),
        (6, "tolerate the loss of 2, no more than 5"),
        (9, "every write waits for 5"),
    ],
)
def test_sizes_that_cost_something_are_warned_about(members: int, words: str) -> None:
    loaded = parse(with_hosts(*(f"name: m{i}, address: 10.0.0.{i}" for i in range(1, members + 1))))
    (warning,) = loaded.warnings
    assert words in warning.message
    assert (warning.severity, warning.line) == ("warning", 3)


@pytest.mark.parametrize("members", [1, 3, 5, 7])
def test_odd_sizes_are_not(members: int) -> None:
    assert not parse(with_hosts(*(f"name: m{i}, address: 10.0.0.{i}" for i in range(1, members + 1)))).warnings


@pytest.mark.parametrize(
    ("rest", "key"),
    [
        ("etcd: {election_ms: 700}", "etcd.election_ms"),
        ("etcd: {quota: 16GiB}", "etcd.quota"),
        ("etcd: {version: 3.6.4}", "etcd.version"),
        ("etcd: {version: 3.6.8}", "etcd.version"),
        ("etcd: {version: 3.5.22}", "etcd.version"),
        ("etcd: {version: 3.7.0-rc.1}", "etcd.version"),
        ("etcd: {release: {source: 'http://mirror/etcd'}}", "etcd.release.source"),
    ],
)
def test_risky_settings_are_warned_about(rest: str, key: str) -> None:
    (warning,) = parse(MINIMAL + rest + "\n").warnings
    assert (warning.severity, warning.key, warning.line) == ("warning", key, 6)


SECRET = "S3cr3t-hunter2"


@pytest.mark.parametrize(
    "rest",
    [
        f"ssh: {{password: {SECRET}}}",
        f"ssh: {{password: '{SECRET} {SECRET}'}}",
        f"ssh: {{password: *{SECRET}}}",
        f"ssh: {{password: !{SECRET}}}",
        f"ssh: {{password: '${{{SECRET}}}'}}",
        f"ssh: {{password: 'env:{SECRET}'}}",
        f"ssh: {{password: [{SECRET}]}}",
        f"ssh: {{password: {{{SECRET}: x}}}}",
        f"ssh: {{pasword: {SECRET}}}",
        f"ssh: {{passwort {SECRET}: x}}",
        f"ssh: {{user: 'x {SECRET}'}}",
        f"ssh: {{host_key: {SECRET}}}",
        f"ssh: {{port: {SECRET}}}",
        f"ssh: {{sudo: {SECRET}}}",
        f"ssh: {{jump: {{address: x, password: {SECRET}}}}}",
        f"pki: {{passphrase: {SECRET}}}",
        f"etcd: {{extra: {{ETCD_SOME_PASSWORD: {SECRET}}}}}",
        f"etcd: {{release: {{source: 'https://u:{SECRET}@mirror/'}}}}",
        f"etcd: {{quota: {SECRET}, version: {SECRET}, data_dir: {SECRET}}}",
        f"ssh:\n  password: {SECRET}\n broken: [",
        'ssh: {password: "${PW}"}',
        'ssh: {port: "${PW}", address: "${PW}/"}',
        f"ssh:\n  key: |\n    -----BEGIN OPENSSH PRIVATE KEY-----\n    {SECRET}\n    -----END OPENSSH PRIVATE KEY-----",
        f"# -----BEGIN PRIVATE KEY-----\n# {SECRET}",
    ],
)
def test_no_secret_is_accepted_or_repeated(rest: str) -> None:
    for problem in problems(f"{MINIMAL}{rest}\n", {"PW": SECRET}):
        assert SECRET not in str(problem)


def test_a_plain_secret_comes_with_advice() -> None:
    (problem,) = problems(f"{MINIMAL}ssh: {{password: {SECRET}}}\n")
    assert (problem.line, problem.key, problem.message) == (6, "ssh.password", "a secret written in plain")
    assert "env:NAME" in str(problem.hint)
    (problem,) = problems(f'{MINIMAL}ssh: {{password: "${{PW}}"}}\n', {"PW": SECRET})
    assert "looked up only when it is needed" in str(problem.hint)


def test_aliases_cannot_blow_up() -> None:
    levels = "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 9))
    found = problems(f"{MINIMAL}x0: &x0 [1, 2]\n{levels}")
    assert any("counting what aliases repeat" in problem.message for problem in found)
    merges = "a: &a {" + ", ".join(f"k{i}: 1" for i in range(2000)) + "}\nb: {<<: [" + ", ".join(["*a"] * 2000) + "]}\n"
    assert any("counting what aliases repeat" in problem.message for problem in problems(MINIMAL + merges))
