"""Logging in with a password and through the ssh-agent; a CA key with a passphrase, copied to the members on demand."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.product import Product, assert_healthy
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab

Fresh = Callable[[int], list[LabHost]]
PASSWORD = "correct-horse-4417"
PASSPHRASE = "long-passphrase-8823"


def test_with_a_password(fresh_hosts: Fresh, product: Product) -> None:
    (host,) = fresh_hosts(1)
    host.add_user("typist", sudo="password", password=PASSWORD, key=False)
    host.sshd_option("PasswordAuthentication yes")
    content = product.describe([host])
    refs = {"password": "env:LOGIN_PASSWORD", "sudo_password": "env:LOGIN_PASSWORD"}
    content["hosts"] = [host.ssh_spec("typist", key=None, agent=False, **refs)]
    product.write(content)
    wrong = product.run("bootstrap-cluster", LOGIN_PASSWORD="wrong")
    assert wrong.code == 1
    assert wrong.errors[0]["host"] == host.name
    assert "wrong" not in wrong.errors[0]["message"]
    done = product.bootstrap(LOGIN_PASSWORD=PASSWORD)
    assert PASSWORD not in done.output
    assert_healthy([host])


@pytest.fixture
def agent(lab: Lab, tmp_path: Path) -> Iterator[str]:
    """An ssh-agent that holds the lab's key; its socket."""
    socket = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        env = {**os.environ, "SSH_AUTH_SOCK": socket}
        for _ in range(50):
            if subprocess.run(["ssh-add", "-q", str(lab.client_key)], env=env, check=False).returncode == 0:
                break
        yield socket
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def test_through_the_agent(fresh_hosts: Fresh, product: Product, agent: str) -> None:
    (host,) = fresh_hosts(1)
    content = product.describe([host])
    content["hosts"] = [host.ssh_spec(key=None)]
    product.write(content)
    without = product.run("bootstrap-cluster", "--plan")
    assert without.code == 1
    assert without.errors[0]["remedy"]
    product.bootstrap("--plan", SSH_AUTH_SOCK=agent)


def test_a_ca_key_with_a_passphrase_copied_to_the_members(fresh_hosts: Fresh, product: Product) -> None:
    (host,) = fresh_hosts(1)
    content = product.describe([host])
    content["pki"] |= {"ca_key": "hosts", "passphrase": "env:CA_PASSPHRASE"}
    product.write(content)
    product.bootstrap(CA_PASSPHRASE=PASSPHRASE)
    assert_healthy([host])
    assert "ENCRYPTED" in (product.state / "ca.key").read_text()
    assert host.exec("stat -c '%U:%G %a' /etc/etcd/pki/ca.key").strip() == "root:root 600"
    assert product.bootstrap("--plan").json["plan"]["empty"], "a plan needs no passphrase"
    content["pki"]["extra_sans"] = ["etcd.example.com"]
    product.write(content)
    wrong = product.run("bootstrap-cluster", CA_PASSPHRASE="not-it-5519")
    assert wrong.code == 1
    assert "passphrase" in wrong.errors[0]["message"]
    for done in (wrong, product.bootstrap(CA_PASSPHRASE=PASSPHRASE)):
        assert PASSPHRASE not in done.output
        assert "not-it-5519" not in done.output
