"""A secret in every place where one can be given, of every kind of reference; and none of them anywhere else.

Looked at: all output, logs at the most talkative level, Prefect's database and files, artifacts and parameters (they
are in that database), processes on hosts and worker, journals, and every file that was written anywhere, with its mode.
"""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.canaries import SAMPLES, Canaries, Leak, WorkerSampler, on_disk, on_host, sampled
from tests.e2e.conftest import PrefectServer
from tests.e2e.product import Done, Product, assert_healthy
from tests.lab.hosts import LabHost

PKI = "etc/etcd/pki"
#: A block, a log line, an artifact and a parameter, each the way to Prefect's database.
SAVE_BLOCK = "import sys; from prefect.blocks.system import Secret; Secret(value=sys.stdin.read()).save(sys.argv[1])"
LEAKY_FLOW = """
import sys
from prefect import flow
from prefect.artifacts import create_markdown_artifact
@flow
def leaky(word: str):
    create_markdown_artifact(word, key="leak")
leaky(sys.stdin.read())
"""


class Operator:
    """Someone who keeps each secret elsewhere."""

    def __init__(self, product: Product, canaries: Canaries) -> None:
        self.product = product
        self.canaries = canaries
        self.values: dict[str, str] = {}
        self.environ = {"PREFECT_LOGGING_LEVEL": "DEBUG", "TMPDIR": str(product.directory / "tmp")}
        for name in ("secrets", "tmp"):
            (product.directory / name).mkdir(mode=0o700)

    def env(self, name: str) -> str:
        """A secret in the environment; returns the reference."""
        variable = name.upper().replace("-", "_")
        reference = f"env:{variable}"
        self.environ[variable] = self.values[reference] = self.canaries.new(name)
        return reference

    def file(self, name: str) -> str:
        """A secret in a file."""
        reference = f"file:secrets/{name}"
        path = self.product.directory / "secrets" / name
        path.touch(0o600)
        path.write_text(self.canaries.new(name))
        self.values[reference] = path.read_text()
        return reference

    def block(self, name: str) -> str:
        """A secret in a Prefect block."""
        reference = f"block:{name}"
        self.values[reference] = self.canaries.new(name)
        self.python(SAVE_BLOCK, self.values[reference], name)
        return reference

    def ssh_key(self, name: str, passphrase: str) -> tuple[Path, str]:
        """An SSH key under the passphrase behind a reference; its file and its public half."""
        path, word = self.product.directory / "secrets" / name, self.values[passphrase]
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", word, "-f", path], check=True)
        self.canaries.key(name, path.read_bytes(), word)
        return path, path.with_suffix(".pub").read_text()

    def python(self, code: str, word: str, *words: str) -> None:
        """Run Python against the operator's Prefect, with a secret on its standard input."""
        argv, env = [sys.executable, "-c", code, *words], self.product.environment()
        subprocess.run(argv, input=word, env=env, check=True, text=True, timeout=60, capture_output=True)

    def run(self, *words: str, as_json: bool = True, **environ: str) -> Done:
        """A run that logs all it can."""
        options: dict[str, Any] = {**self.environ, **environ}
        return self.product.run(*words, "--verbose", as_json=as_json, **options)


def described(operator: Operator, hosts: list[LabHost]) -> None:
    """Two members: one is entered with a password, the other with a key, through a bastion, and has a sudo password."""
    first, second, bastion = hosts
    login, passphrase = operator.env("login-password"), operator.env("key-passphrase")
    jump, sudo = operator.file("jump-password"), operator.block("sudo-password")
    for host, user, password in ((first, "typist", login), (bastion, "passer", jump)):
        host.add_user(user, password=operator.values[password], key=False)
        host.sshd_option("PasswordAuthentication yes")
    second.ssh_only_from(bastion)
    second.add_user("careful", sudo="password", password=operator.values[sudo])
    key, public = operator.ssh_key("ssh-key", passphrase)
    second.write("/home/careful/.ssh/authorized_keys", public)
    content = operator.product.describe(hosts[:2], name="prod-canary")
    way = bastion.jump_spec("passer", key=None, password=jump)
    login_by_key = {"key": str(key), "key_passphrase": passphrase, "sudo_password": sudo, "jump": way}
    content["hosts"] = [
        first.ssh_spec("typist", key=None, agent=False, password=login),
        second.ssh_spec("careful", agent=False, **login_by_key),
    ]
    content["pki"]["passphrase"] = operator.file("ca-passphrase")
    operator.product.write(content)


def keys_on(canaries: Canaries, host: LabHost) -> set[Leak]:
    """From now on the host's private keys are canaries too. They belong where they are, and nowhere else."""
    places = set()
    for path in sorted((host.root / PKI).glob("*.key")):
        name = f"{path.stem} of {host.name}"
        canaries.key(name, path.read_bytes())
        places.add(Leak(name, f"{PKI}/{path.name}", 0o640 if path.stem in ("server", "peer") else 0o600))
    return places


def test_canaries(fresh_hosts: Callable[[int], list[LabHost]], product: Product, prefect_server: PrefectServer) -> None:
    hosts, canaries = fresh_hosts(3), Canaries()
    product.forked = False  # all that a run shows of itself in /proc is looked at
    operator = Operator(product, canaries)
    described(operator, hosts)
    with sampled(hosts), WorkerSampler() as worker:
        wrong = operator.run("bootstrap-cluster", LOGIN_PASSWORD=canaries.new("wrong-password"))
        runs = [
            wrong,
            operator.run("bootstrap-cluster", as_json=False),
            operator.run("check-cluster"),
            operator.run("destroy-cluster", "--plan"),
        ]
    assert [run.code for run in runs] == [1, 0, 0, 0], runs
    assert_healthy(hosts[:2])
    assert "DEBUG" in runs[1].stderr, "Prefect and paramiko said all they can"

    home = {name: Leak(name, f"secrets/{name}", 0o600) for name in ("jump-password", "ca-passphrase")}
    ca_key = (product.state / "ca.key").read_bytes()
    canaries.key("ca-key", ca_key, operator.values["file:secrets/ca-passphrase"])
    assert (product.state / "ca.key").stat().st_mode & 0o777 == 0o600
    canaries.key("operator-key", (product.state / "client.key").read_bytes())
    places = {host.name: keys_on(canaries, host) for host in hosts}
    assert [len(found) for found in places.values()] == [5, 5, 0]

    for run in runs:
        assert canaries.seen_in(run.output.encode()) == set()
    assert worker.leaks(canaries) == set()
    for host in hosts:
        ours = host.exec_result(f"grep -aq 'etcd-flows-[0-9a-f]' {SAMPLES}").returncode == 0
        assert ours == (host in hosts[:2]), "the sampler saw our commands, of which there are none on the bastion"
        assert on_host(canaries, host) == places[host.name]
    assert on_disk(canaries, prefect_server.home) == set()
    assert on_disk(canaries, product.directory) == {*home.values(), Leak("operator-key", "state/client.key", 0o600)}

    planted(operator, hosts[0], prefect_server)


def planted(operator: Operator, host: LabHost, prefect_server: PrefectServer) -> None:
    """The hunt finds what is there: in a process, a journal, a file, Prefect's database."""
    word = operator.values
    with sampled([host]), WorkerSampler() as worker:
        host.exec("sh -c 'sleep 0.4; :' sh \"$(cat)\"", stdin=word["env:LOGIN_PASSWORD"])
        subprocess.run(["sh", "-c", "sleep 0.3; :", "sh", word["env:KEY_PASSPHRASE"]], check=True)
    host.exec("systemd-cat cat", stdin=word["file:secrets/jump-password"])
    host.write("/etc/leak", base64.b64encode(b"x" + word["file:secrets/ca-passphrase"].encode()).decode(), 0o644)
    operator.python(LEAKY_FLOW, word["block:sudo-password"])
    found = on_host(operator.canaries, host)
    assert Leak("login-password", SAMPLES[1:], 0o644) in found
    assert Leak("jump-password", "the journal") in found
    assert Leak("ca-passphrase", "etc/leak", 0o644) in found
    assert Leak("key-passphrase", "a command line") in worker.leaks(operator.canaries)
    in_database = {leak.secret for leak in on_disk(operator.canaries, prefect_server.home)}
    assert in_database == {"sudo-password"}
