"""Ways to the hosts: users, sudo, a bastion, host keys; and what is said when the way is closed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.conftest import PrefectServer
from tests.e2e.product import Product, assert_healthy, footprint
from tests.lab.hosts import LabHost

Fresh = Callable[[int], list[LabHost]]
PASSWORD = "correct-horse-7351"
WRONG = "wrong-battery-9264"


def with_user(product: Product, hosts: list[LabHost], user: str, **ssh: object) -> None:
    """The cluster file, with another login for all hosts."""
    content = product.describe(hosts)
    content["hosts"] = [host.ssh_spec(user, **ssh) for host in hosts]
    product.write(content)


def refused_in_one_line(product: Product, host: LabHost) -> str:
    """A bootstrap that must fail on this host and leave it alone; returns what is said and what should be done."""
    before = footprint(host)
    began = time.monotonic()
    done = product.run("bootstrap-cluster")
    assert done.code == 1, done.output
    assert time.monotonic() - began < 60, "what can't pass by itself is not tried again"
    (error,) = done.errors
    assert error["host"] == host.name
    assert error["remedy"]
    assert footprint(host) == before
    return f"{error['message']}\n{error['remedy']}\n{done.stderr}"


def test_sudo_with_a_password(fresh_hosts: Fresh, product: Product, prefect_server: PrefectServer) -> None:
    (host,) = fresh_hosts(1)
    host.add_user("careful", sudo="password", password=PASSWORD)
    with_user(product, [host], "careful", sudo_password="env:SUDO_PASSWORD")
    product.environ["SUDO_PASSWORD"] = WRONG
    said = refused_in_one_line(product, host)
    assert "sudo refused the password of careful" in said
    assert "ssh.sudo_password" in said
    assert WRONG not in said
    watch = "while :; do for p in /proc/[0-9]*; do cat $p/cmdline $p/environ; done 2>/dev/null; sleep 0.05; done"
    host.exec(f"systemd-run -q --unit=watch --property=StandardOutput=truncate:/root/seen sh -c {watch!r}")
    product.environ["SUDO_PASSWORD"] = PASSWORD
    done = product.bootstrap("--verbose")
    host.exec("systemctl stop watch")
    assert_healthy([host])
    assert "etcd-flows-" in host.exec("tr '\\0' ' ' </root/seen | grep -o 'etcd-flows-[0-9a-f]*' | head -1"), "it saw"
    for word in (PASSWORD, WRONG):
        assert word not in done.output
        assert host.exec_result(f"grep -aq {word} /root/seen").returncode == 1
        assert host.exec_result(f"journalctl --no-pager | grep -q {word}").returncode == 1
        for place in (product.directory, prefect_server.home):
            assert not [path for path in place.rglob("*") if holds(path, word)], "in what Prefect keeps"


def holds(path: Path, word: str) -> bool:
    return path.is_file() and word.encode() in path.read_bytes()


def test_sudo_without_a_password(fresh_hosts: Fresh, product: Product) -> None:
    (host,) = fresh_hosts(1)
    host.add_user("admin", sudo="nopasswd")
    with_user(product, [host], "admin")
    product.bootstrap()
    assert_healthy([host])
    assert product.bootstrap().json["plan"]["empty"] is True


def test_a_user_who_may_not_become_root(fresh_hosts: Fresh, product: Product) -> None:
    (host,) = fresh_hosts(1)
    host.add_user("guest", sudo="none")
    with_user(product, [host], "guest")
    assert "sudo" in refused_in_one_line(product, host)


def test_through_a_bastion(fresh_hosts: Fresh, product: Product) -> None:
    member, bastion = fresh_hosts(2)
    member.ssh_only_from(bastion)
    content = product.describe([member])
    content["hosts"] = [member.ssh_spec(jump=bastion.jump_spec())]
    product.write(content)
    product.bootstrap()
    assert_healthy([member])
    assert bastion.exec_result("test -e /opt/bin").returncode == 1, "nothing is installed on the bastion"


def test_an_unknown_host_is_refused_until_told(fresh_hosts: Fresh, product: Product) -> None:
    (host,) = fresh_hosts(1)
    known = product.known_hosts
    with_user(product, [host], "root", host_key=None, known_hosts=str(known))
    said = refused_in_one_line(product, host)
    assert "is not known" in said
    assert "ssh-keyscan" in said
    assert host.host_key in said, "the key that was shown, to be compared and pinned"
    assert not known.exists()
    with_user(product, [host], "root", host_key=None, known_hosts=str(known), host_keys="accept-new")
    product.bootstrap("--plan")
    assert known.read_text().split() == [host.address, *host.host_key.split()]
    host.new_host_key()
    said = refused_in_one_line(product, host)
    assert "not the expected one" in said
    assert "ssh-keygen -R" in said


def test_another_machine_at_the_address_is_refused(fresh_hosts: Fresh, product: Product) -> None:
    """Nothing is sent to it: no login is tried."""
    good, impostor = fresh_hosts(2)
    product.describe([good, impostor])
    impostor.new_host_key()
    before = footprint(good)
    said = refused_in_one_line(product, impostor)
    assert "not the expected one" in said
    assert "Accepted" not in impostor.exec("journalctl -u ssh --no-pager")
    assert footprint(good) == before, "no host is changed when one can't be reached"


def test_a_host_that_is_down(fresh_hosts: Fresh, product: Product) -> None:
    """Tried again, since it may be booting; then named."""
    up, down = fresh_hosts(2)
    product.describe([up, down], ssh={"connect_timeout": 2})
    before = footprint(up)
    down.power_cut()
    done = product.run("bootstrap-cluster")
    assert done.code == 1
    assert [error["host"] for error in done.errors] == [down.name]
    assert down.address in done.errors[0]["message"]
    assert done.errors[0]["remedy"]
    assert footprint(up) == before
