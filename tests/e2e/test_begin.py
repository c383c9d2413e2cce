"""Everything is gone but the store, a key and a pin: a new cluster begins with the snapshot's data, on other hosts.

One story on six hosts, told in order: ``prod-a`` on three of them is lost with its operator's machine; it comes back on
the other three; then a copy of it is made on a host of its own.
"""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.etcd.client import connect
from tests.e2e.conftest import MakeProduct
from tests.e2e.product import CLI, KILLED, Done, Product, assert_healthy, cluster_id, etcdctl, leftovers, main_pid
from tests.e2e.restoring import HOLD, UNDER_WAY, revision
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import wait_until

BEGIN = ("bootstrap-cluster", "--from-snapshot", "latest")
OFF = ("--accept", "old-members-off")


@dataclass
class World:
    """What there is.

    Args:
        store: A directory that is neither on the hosts nor on the operator's machine.
        old: That machine, while it is there.
        hosts: Three that will be lost, and three others.
        kept: A client of the cluster, elsewhere: its certificate, its key, and the CA that it trusts.
        uuid: The cluster's own identity.
        signer: The public key that snapshots are signed for, as somebody has noted it down.
        new: The operator's new machine.
    """

    store: Path
    old: Product
    hosts: list[LabHost]
    kept: Path
    uuid: str
    signer: str
    new: Product = field(init=False)

    def describe(self, product: Product, hosts: list[LabHost], name: str = "prod-a", **keys: Any) -> None:
        product.environ["BACKUP_PASS"] = "correct horse battery staple"
        snapshots = {
            "stores": [{"name": "offsite", "directory": str(self.store)}],
            "encryption": {"passphrase": "env:BACKUP_PASS"},
        }
        product.describe(hosts, name=name, snapshots=snapshots, **keys)


def cli(product: Product, *words: str) -> str:
    """A command whose first argument is not the cluster file; has to succeed."""
    done = Done.of(product.start(*CLI, *words))
    assert done.code == 0, done.output
    return done.stdout


def identity(host: LabHost) -> dict[str, str]:
    found: dict[str, str] = json.loads(host.read("/var/lib/etcd-flows/identity.json"))
    return found


def values(host: LabHost) -> list[str]:
    return sorted(etcdctl(host, "get key/ --prefix --print-value-only").split())


def killed(product: Product, hosts: list[LabHost], point: str) -> None:
    done = product.run(*BEGIN, *OFF, program=(*KILLED, point))
    assert done.code == -signal.SIGKILL, f"{point}: {done.output}"
    wait_until(
        "the remote scripts have ended",
        lambda: not any(left.startswith("/proc/") for host in hosts for left in leftovers(host)),
        30,
    )


@pytest.fixture(scope="module")
def world(lab: Lab, make_product: MakeProduct, tmp_path_factory: pytest.TempPathFactory) -> World:
    hosts, old = lab.fresh(6), make_product()
    world = World(tmp_path_factory.mktemp("offsite"), old, hosts, tmp_path_factory.mktemp("client"), "", "")
    world.describe(old, hosts[:3])
    old.bootstrap()
    hosts[0].exec("for i in $(seq 30); do etcdctl put key/$i $i; done; for i in 1 2 3; do etcdctl put key/1 a$i; done")
    old.must("snapshot-backup")
    for name in ("client.crt", "client.key", "ca.crt"):
        shutil.copy(old.state / name, world.kept / name)
    world.uuid = identity(hosts[0])["uuid"]
    world.signer = cli(old, "snapshots", "key", str(old.file)).split()[-1]
    return world


#: In steps that the ordinary bootstrap has not; `record` and `finish` were tried once, too.
POINTS = [
    "start/etcd-04/unpack",
    "done/etcd-06/hold",
    "done/etcd-04/gate",
]


def test_it_comes_back_on_other_hosts(world: World, make_product: MakeProduct) -> None:
    """The hosts and the operator's machine are gone. Killed in every kind of step on the way."""
    new, hosts = make_product(), world.hosts[3:]
    world.new = new
    shutil.rmtree(world.old.directory)
    for host in world.hosts[:3]:
        host.power_cut()
    new.environ["BACKUP_PASS"] = "correct horse battery staple"
    place = ("--from", str(world.store), "--signer", world.signer, "--passphrase", "env:BACKUP_PASS")
    told = cli(new, "snapshots", "bundle", "prod-a", "found", *place, "--host", f"{hosts[0].name}={hosts[0].address}")
    assert "signed by the trusted key" in told
    found = yaml.safe_load((new.directory / "found/cluster.yaml").read_text())
    assert [host["name"] for host in found["hosts"]] == ["etcd-04"]
    new.write(
        found | {"hosts": [host.ssh_spec() for host in hosts], "pki": {"state_dir": str(new.directory / "found/state")}}
    )
    # --- nothing but this directory is at hand from here on
    unseen = new.run(*BEGIN, "--plan")
    assert unseen.code == 3, unseen.output
    assert "3 of the 3 members that this cluster had are not among these hosts" in unseen.output
    planned = new.must(*BEGIN, *OFF, "--plan").json["plan"]
    assert [phase["name"] for phase in planned["phases"]][2:5] == [
        "bring the snapshot to all members and unpack it",
        "hold all members",
        "switch to the restored data",
    ]
    for host in hosts:
        assert host.exec("ls -d /etc/etcd /var/lib/etcd* 2>/dev/null; true") == ""
    for point in POINTS:
        killed(new, hosts, point)
        if point == "done/etcd-06/hold":
            refused = new.run("bootstrap-cluster")
            assert refused.code == 3, "members that are held are not for the ordinary bootstrap"
            assert "--from-snapshot" in refused.output
    new.must(*BEGIN)
    assert_served(world, hosts)
    again = new.must(*BEGIN).json
    assert (again["applied"], again["plan"]["empty"]) == (False, True)


def assert_served(world: World, hosts: list[LabHost]) -> None:
    """All of the data, by the same cluster as before, for the clients that trusted it; nothing half-done is left."""
    for host in hosts:
        assert values(host) == sorted(["a3", *map(str, range(2, 31))])
        assert revision(host) > 1_000_000_000
        assert identity(host)["uuid"] == world.uuid
        assert host.exec(f"ls -d {UNDER_WAY} {HOLD} /etc/systemd/system/etcd.service.d 2>/dev/null; true") == ""
        assert leftovers(host) == []
    assert_healthy(hosts)
    ca, cert, key = (world.kept / name for name in ("ca.crt", "client.crt", "client.key"))
    with connect(f"https://{hosts[0].address}:2379", ca, cert, key) as old:
        found = old.get(b"key/30")
        assert found is not None
        assert found.value == b"30"


def test_a_copy_becomes_another_cluster(world: World, make_product: MakeProduct) -> None:
    """For staging, say: the same data, another identity, another CA; the original does not notice."""
    copy, host = make_product(), world.hosts[0]
    host.reset()
    host.boot()
    before = cluster_id(world.hosts[3]), main_pid(world.hosts[3])
    world.describe(copy, [host], name="staging")
    begin = (*BEGIN, "--from-cluster", str(world.new.file))
    refused = copy.run(*begin)
    assert refused.code == 3, refused.output
    assert "is of the cluster 'prod-a'" in refused.output
    assert "alive elsewhere" not in refused.output, "it would have another name"
    done = copy.must(*begin, "--clone").json
    assert done["restore"]["clone"] is True
    assert done["restore"]["of_uuid"] == world.uuid != identity(host)["uuid"]
    assert json.loads(host.read("/var/lib/etcd-flows/restored.json"))["of_cluster"] == "prod-a"
    assert values(host) == values(world.hosts[3])
    assert revision(host) < 1000, "not raised"
    assert_healthy([host])
    assert (cluster_id(world.hosts[3]), main_pid(world.hosts[3])) == before
    assert cluster_id(host) != before[0]
    assert copy.must(*begin, "--clone").json["plan"]["empty"]
    assert copy.run(*begin).code == 3, "it is a clone"


def test_hosts_with_data_are_not_begun_with(world: World) -> None:
    host, before = world.hosts[3], main_pid(world.hosts[3])
    file = world.new.directory / "other.db"
    host.exec("rm -f /root/other.db; etcdctl snapshot save /root/other.db")
    file.write_bytes((host.root / "root/other.db").read_bytes())
    host.exec("mv /var/lib/etcd-flows/restored.json /root")  # as of a cluster that was made without a snapshot
    for other in world.hosts[4:]:
        other.exec("rm /var/lib/etcd-flows/restored.json")
    refused = world.new.run("bootstrap-cluster", "--from-snapshot", str(file))
    assert refused.code == 3, refused.output
    assert "is not empty" in refused.output
    assert main_pid(host) == before
