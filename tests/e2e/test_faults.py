"""What goes wrong on real sites: each fault is named with its host and its remedy, and leaves everything as it was.

Here are faults of the material (release, CA), of ways to the hosts, and those that are lived with; those of the hosts
themselves are in :mod:`tests.e2e.test_faults_of_hosts`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.pki.authority import create_authority
from tests import etcd_specs as specs
from tests.e2e.conftest import MakeProduct
from tests.e2e.interruptions import Kind, interrupt, shape
from tests.e2e.product import Done, Product, assert_healthy, footprint, main_pid
from tests.lab import releases
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import wait_until

Fresh = Callable[[int], list[LabHost]]
VERSION = releases.VERSIONS[0]


@dataclass
class Bare:
    """Hosts on which nothing was ever done, for runs that must not do anything either."""

    product: Product
    hosts: list[LabHost]

    def refused(self, code: int) -> dict[str, Any]:
        """A bootstrap that must end so with one error, and leave all hosts as they are; the error."""
        before = [footprint(host) for host in self.hosts]
        done = self.product.run("bootstrap-cluster")
        assert done.code == code, done.output
        (error,) = done.errors
        assert error["remedy"]
        assert [footprint(host) for host in self.hosts] == before
        return error


@pytest.fixture(scope="module")
def bare(lab: Lab, make_product: MakeProduct) -> Bare:
    return Bare(make_product(), lab.fresh(2))


# --- the release ------------------------------------------------------------------------------------------------------


def release(product: Product, tmp_path: Path, source: str, **more: str) -> dict[str, Any]:
    """The cluster file's ``etcd``, with a source and a cache that knows nothing yet."""
    return {"version": VERSION, "release": {"source": source, "cache": str(tmp_path / "cache"), **more}}


def damaged(mirror: Path, tmp_path: Path) -> Path:
    """A mirror whose tarball has one bit flipped in its middle."""
    shutil.copytree(mirror / f"v{VERSION}", tmp_path / "mirror" / f"v{VERSION}")
    tarball = tmp_path / "mirror" / f"v{VERSION}" / releases.tarball_name(VERSION)
    with tarball.open("r+b") as handle:
        handle.seek(tarball.stat().st_size // 2)
        byte = handle.read(1)[0]
        handle.seek(-1, 1)
        handle.write(bytes([byte ^ 1]))
    return tmp_path / "mirror"


def test_a_corrupted_download(bare: Bare, tmp_path: Path) -> None:
    with releases.served(damaged(bare.product.mirror, tmp_path)) as url:
        bare.product.describe(bare.hosts, etcd=release(bare.product, tmp_path, url))
        error = bare.refused(1)
    assert url in error["message"]
    assert "SHA-256" in error["message"]
    assert "host" in error["state"], "that no host was touched"
    assert not list((tmp_path / "cache").rglob("*.tar.gz")), "it is not kept"


def test_a_wrong_checksum(bare: Bare, tmp_path: Path) -> None:
    source = str(bare.product.mirror)
    bare.product.describe(bare.hosts, etcd=release(bare.product, tmp_path, source, sha256="0" * 64))
    error = bare.refused(1)
    assert "0" * 64 in error["message"]
    assert "etcd.release.sha256" in error["remedy"]


def test_a_tarball_of_another_architecture(bare: Bare, tmp_path: Path) -> None:
    """Programs of arm64 in a tarball that is called amd64, with a checksum that fits."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("etcd", "etcdctl", "etcdutl"):
        header = bytearray(64)
        header[:6], header[18:20] = b"\x7fELF\x02\x01", (183).to_bytes(2, "little")
        (programs / name).write_bytes(header)
    releases.pack(programs, tmp_path / "mirror" / f"v{VERSION}", VERSION)
    bare.product.describe(bare.hosts, etcd=release(bare.product, tmp_path, str(tmp_path / "mirror")))
    error = bare.refused(1)
    assert "built for arm64, the hosts are amd64" in error["message"]


# --- the CA -----------------------------------------------------------------------------------------------------------


def make_ca(directory: Path, *, days: int = 3650, ago: int = 0) -> bytes:
    """A CA of somebody's own, made some days ago; its certificate."""
    settings = replace(specs.cluster().pki, state_dir=directory, ca_days=days)
    return create_authority(settings, "elsewhere", datetime.now(UTC) - timedelta(days=ago)).cert_pem


@pytest.fixture
def own_state(bare: Bare) -> Iterator[Path]:
    """The operator's state directory, which is gone afterwards."""
    yield bare.product.state
    shutil.rmtree(bare.product.state, ignore_errors=True)


def test_an_expired_ca(bare: Bare, own_state: Path) -> None:
    make_ca(own_state, days=30, ago=60)
    bare.product.describe(bare.hosts)
    error = bare.refused(1)
    assert str(own_state / "ca.crt") in error["message"]
    assert "expired" in error["message"]


@pytest.mark.parametrize(("days", "ago"), [(3650, 0), (30, 60)], ids=["foreign", "expired"])
def test_a_host_with_a_ca_of_its_own(bare: Bare, own_state: Path, tmp_path: Path, days: int, ago: int) -> None:
    make_ca(own_state)
    theirs = make_ca(tmp_path / "theirs", days=days, ago=ago)
    bare.hosts[1].write("/etc/etcd/pki/ca.crt", theirs.decode())
    bare.product.describe(bare.hosts)
    error = bare.refused(3)
    bare.hosts[1].exec("rm -r /etc/etcd")
    assert error["host"] == "etcd-02"
    assert "/etc/etcd/pki/ca.crt" in error["message"]


# --- the way to the hosts ---------------------------------------------------------------------------------------------


def test_a_name_that_does_not_resolve(bare: Bare) -> None:
    content = bare.product.describe(bare.hosts)
    content["hosts"][1]["ssh"]["address"] = "etcd-02.example.invalid"
    bare.product.write(content)
    error = bare.refused(1)
    assert error["host"] == "etcd-02"
    assert "etcd-02.example.invalid" in error["message"]
    assert "cannot be resolved" in error["message"]
    assert "DNS" in error["remedy"]


def test_sudo_that_wants_a_terminal(bare: Bare) -> None:
    host = bare.hosts[1]
    host.add_user("modem", sudo="nopasswd")
    host.exec("sed -i '1i Defaults requiretty' /etc/sudoers && visudo -c")
    content = bare.product.describe(bare.hosts)
    content["hosts"][1] = host.ssh_spec("modem")
    bare.product.write(content)
    error = bare.refused(1)
    assert error["host"] == "etcd-02"
    assert "requiretty" in error["message"]
    assert "!requiretty" in error["remedy"]
    # What it says to do is what helps.
    host.exec(error["remedy"].partition("as root: ")[2] + " && visudo -c")
    assert bare.product.must("bootstrap-cluster", "--plan").json["plan"]["empty"] is False


def test_a_bastion_that_is_down(bare: Bare) -> None:
    """The host behind it is named, and so is the bastion."""
    member, bastion = bare.hosts
    content = bare.product.describe([member], ssh={"connect_timeout": 2})
    content["hosts"] = [member.ssh_spec(jump=bastion.jump_spec())]
    bare.product.write(content)
    before = footprint(member)
    bastion.power_cut()
    done = bare.product.run("bootstrap-cluster")
    looked = bare.product.run("preflight-cluster")
    bastion.boot()
    assert done.code == 1, done.output
    (error,) = done.errors
    assert error["host"] == "etcd-01"
    assert f"jump host {bastion.address}:22" in error["message"]
    assert error["remedy"]
    assert footprint(member) == before
    assert looked.code == 1, looked.output
    assert [(f["check"], f["host"]) for f in looked.json["findings"] if f["level"] == "error"] == [
        ("reachable", "etcd-01")
    ]


def test_a_bastion_that_drops_its_connections(fresh_hosts: Fresh, product: Product) -> None:
    """In the middle of the largest transfer: the run goes on by itself."""
    member, bastion = fresh_hosts(2)
    content = product.describe([member])
    content["hosts"] = [member.ssh_spec(jump=bastion.jump_spec())]
    product.write(content)
    drop = Kind("bastion cut", lambda pid, host: bastion.drop_ssh_sessions())
    points = [(f"half/etcd-01/{step}", drop) for step in ("release", "config")]
    run = interrupt(product, [member], [*points, ("sent/etcd-01/gate", drop)])
    assert run.done.code == 0, run.done.output
    assert_healthy([member])


# --- what is lived with -----------------------------------------------------------------------------------------------


@dataclass
class Odd:
    """A cluster of hosts that are each odd in another way, bootstrapped and then looked at again."""

    product: Product
    hosts: list[LabHost]
    done: Done


@pytest.fixture(scope="module")
def odd(lab: Lab, make_product: MakeProduct) -> Odd:
    product, hosts = make_product(), lab.fresh(3)
    single, idle, lost = hosts
    single.sshd_option("MaxSessions 1")
    # What useradd leaves when the power is cut in its middle, and what a site may have prepared.
    single.exec("useradd --system --user-group etcd && sed -i /^etcd:/d /etc/group /etc/gshadow && ! id -gn etcd")
    idle.exec("groupadd --system etcd")
    idle.sshd_option("UnusedConnectionTimeout 1")
    lost.exec("echo nameserver 198.18.0.99 >/etc/resolv.conf")  # nobody is there
    lost.add_user("admin", sudo="nopasswd")
    lost.write("/etc/sudoers.d/pty", "Defaults use_pty\n", 0o440)
    content = product.describe(hosts)
    content["hosts"][2] = lost.ssh_spec("admin")
    product.write(content)
    established = "ss -Htn state established '( sport = :22 )'"
    pause = Kind("pause", lambda pid, host: wait_until("it is closed", lambda: not idle.exec(established), 20))
    run = interrupt(product, hosts, [("start/etcd-02/config", pause)])
    assert run.done.code == 0, run.done.output
    assert_healthy(hosts)
    return Odd(product, hosts, run.done)


def retried(odd: Odd, host: LabHost) -> list[str]:
    """What is said of steps of a host that failed at first."""
    return [line for line in odd.done.stderr.splitlines() if line.startswith(" ! ") and host.name in line]


def test_one_session_at_a_time_is_enough(odd: Odd) -> None:
    assert "maxsessions 1" in odd.hosts[0].exec("sshd -T")
    assert retried(odd, odd.hosts[0]) == []


def test_an_idle_connection_that_is_closed_is_opened_again(odd: Odd) -> None:
    log = odd.hosts[1].exec("journalctl -u ssh --no-pager -o cat")
    assert "terminating inactive connection" in log
    assert retried(odd, odd.hosts[1]) == [], "that is no failure"


def test_no_name_service_and_a_pseudo_terminal_for_sudo(odd: Odd) -> None:
    assert "use_pty" in odd.hosts[2].exec("cat /etc/sudoers.d/pty")
    assert retried(odd, odd.hosts[2]) == []
    assert odd.product.bootstrap("--plan").json["plan"]["empty"]


def test_half_made_accounts_are_completed(odd: Odd) -> None:
    for host in odd.hosts:
        assert host.exec("id -un etcd; id -gn etcd; stat -c %G /etc/etcd/etcd.env").split() == ["etcd"] * 3


def test_another_operators_ca(odd: Odd, tmp_path: Path) -> None:
    """With the CA of elsewhere in the state directory nothing of the members is touched."""
    odd.product.state.rename(tmp_path / "kept")
    make_ca(odd.product.state)
    pids = [main_pid(host) for host in odd.hosts]
    before = [shape(host) for host in odd.hosts]
    done = odd.product.run("bootstrap-cluster")
    assert done.code == 3, done.output
    assert sorted(error["host"] for error in done.errors) == ["etcd-01", "etcd-02", "etcd-03"]
    for error in done.errors:
        assert "the host trusts CN=etcd,O=prod-a" in error["message"]
        assert "the operator's CA is CN=etcd,O=elsewhere" in error["message"]
        assert str(odd.product.state) in error["remedy"]
    assert [main_pid(host) for host in odd.hosts] == pids
    assert [shape(host) for host in odd.hosts] == before
    shutil.rmtree(odd.product.state)
    (tmp_path / "kept").rename(odd.product.state)
    assert odd.product.bootstrap("--plan").json["plan"]["empty"]
