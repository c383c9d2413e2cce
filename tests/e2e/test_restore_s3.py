"""A cluster whose only store is a bucket behind a bad network: it comes back, or nothing is touched.

One member, and a second host that takes its place when all else is gone. Each test goes on where the last ended.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import MakeProduct
from tests.e2e.product import CLI, KILLED, Done, Product, assert_healthy, etcdctl
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import wait_until
from tests.outputs import assert_as_published
from tests.s3.fixtures import running_s3
from tests.s3.proxy import FaultProxy, fault_proxy
from tests.s3.server import S3Server

__all__ = ["running_s3"]

PREFIX = "deep/er"


@dataclass
class Afar:
    """The member, the bucket, and what lies between the two."""

    product: Product
    hosts: list[LabHost]
    s3: S3Server
    bucket: str
    proxy: FaultProxy

    @property
    def host(self) -> LabHost:
        return self.hosts[0]

    def restore(self, *words: str, code: int = 0, **options: Any) -> Done:
        done = self.product.run("disaster-restore", "--confirm", "prod-a", *words, **options)
        assert done.code == code, done.output
        return done

    def cli(self, *words: str) -> str:
        """A command whose first argument is not the cluster file; has to succeed."""
        done = Done.of(self.product.start(*CLI, *words))
        assert done.code == 0, done.output
        return done.stdout


@pytest.fixture(scope="module")
def afar(lab: Lab, make_product: MakeProduct, running_s3: S3Server) -> Iterator[Afar]:
    product, hosts, user = make_product(), lab.fresh(2), running_s3.owner
    product.environ |= {
        "BACKUP_PASS": "correct horse battery staple",
        "AWS_ACCESS_KEY_ID": user.access_key,
        "AWS_SECRET_ACCESS_KEY": user.secret_key,
    }
    with fault_proxy(running_s3.endpoint, user) as proxy:
        made = Afar(product, hosts, running_s3, running_s3.make_bucket(), proxy)
        store = {"name": "offsite", "s3": {"bucket": made.bucket, "prefix": PREFIX, "endpoint": proxy.endpoint}}
        product.describe(
            hosts[:1], snapshots={"stores": [store], "encryption": {"passphrase": "env:BACKUP_PASS"}}, ssh={}
        )
        product.bootstrap()
        hosts[0].exec("for i in $(seq 30); do etcdctl put key/$i $i; done; head -c 900000 /dev/urandom >/root/value")
        for number in range(6):
            etcdctl(hosts[0], f"put big/{number} </root/value")
        product.must("snapshot-backup")
        yield made


def test_a_drill_on_a_machine_of_its_own(afar: Afar) -> None:
    """Not root there, and nothing is left; of one whose worker was killed neither, though nobody comes back for it."""
    other, top = afar.hosts[1], "/srv/drills"
    other.add_user("drill", sudo="none")
    other.exec(f"mkdir {top}; chown drill {top}")
    content = yaml.safe_load(afar.product.file.read_text())
    there = {"machine": other.address, "ssh": other.ssh_spec("drill")["ssh"], "directory": top}
    afar.product.write(content | {"drill": there})
    killed = afar.product.run("restore-drill", program=(*KILLED, "done/None/None"))
    assert killed.code == -signal.SIGKILL, killed.output
    (left,) = other.exec(f"ls {top}").split()
    assert other.exec(f"stat -c '%U %a' {top}/{left}").split() == ["drill", "700"]
    other.exec(f"touch -d '-1 hour' {top}/{left}/beat")
    wait_until("the watchman has removed it", lambda: other.exec(f"ls {top}") == "", 60)
    done = afar.product.must("restore-drill").json
    assert (done["machine"], done["good"], done["recorded"]) == (other.address, True, True)
    assert (done["keys"], done["keys_read"]) == (36, 36)
    assert [phase["phase"] for phase in done["phases"]][1:3] == [
        "fetch, decrypt, compare",
        f"bring it to {other.address}",
    ]
    assert other.exec(f"ls {top}; pidof etcd; true") == ""
    afar.product.write(content)


def lose(host: LabHost, *more: str) -> None:
    """All data, and what else is named."""
    host.exec(f"systemctl kill -s KILL etcd; systemctl stop etcd; rm -rf /var/lib/etcd/* {' '.join(more)}; true")


def assert_back(host: LabHost) -> None:
    assert_healthy([host])
    etcdctl(host, "del probe")
    assert sorted(map(int, etcdctl(host, "get key/ --prefix --print-value-only").split())) == list(range(1, 31))


def test_faults_that_pass_are_sat_out(afar: Afar) -> None:
    """Throttled, cut off in the middle, and unanswered; killed, and the host's disk is lost then: the bucket knows."""
    host, proxy = afar.host, afar.proxy
    lose(host)
    proxy.add(method="GET", contains="list-type", reset=0, times=1)
    proxy.add(method="GET", contains="manifests/", status=503, times=1)
    proxy.add(method="GET", contains="data/", reset=2_000_000, times=2)
    proxy.add(method="PUT", contains="restores/", status=503, times=1)
    proxy.add(method="PUT", contains="restores/", lose=True, times=1)
    afar.restore(code=-signal.SIGKILL, program=(*KILLED, "done/etcd-01/hold"))
    first = json.loads(host.read("/var/lib/etcd-flows/restore/record.json"))
    assert len(proxy.asked("GET", "data/")) >= 3
    assert len(proxy.asked("PUT", "restores/")) >= 2
    proxy.clear()
    lose(host, "/var/lib/etcd-flows")
    said = afar.restore(as_json=False).output
    assert f"restore {first['id'][:8]} of {first['snapshot']} was begun and has not ended" in said
    assert_back(host)
    listed = assert_as_published("restores-list", afar.cli("restores", "list", str(afar.product.file), "--json"))[
        "restores"
    ]
    assert [(one["snapshot"], one["state"]) for one in listed] == [
        (first["snapshot"], "done"),
        (first["snapshot"], "not ended"),
    ]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"contains": "data/", "corrupt": True}, "changed"),
        ({"contains": "manifests/", "corrupt": True}, "manifests/"),
        ({"status": 503}, "spared"),
    ],
    ids=["wrong bytes", "wrong manifests", "always throttled"],
)
def test_faults_that_stay_stop_nothing(afar: Afar, fault: dict[str, Any], said: str) -> None:
    host, proxy = afar.host, afar.proxy
    pid = host.exec("pidof etcd")
    proxy.add(method="GET", **fault)
    try:
        failed = afar.restore("--again", code=1)
    finally:
        proxy.clear()
    assert said in failed.output
    assert host.exec("pidof etcd") == pid
    assert host.exec("ls -d /var/lib/etcd-flows/restore /var/lib/etcd-flows/hold 2>/dev/null; true") == ""
    assert etcdctl(host, "get key/1 --print-value-only").strip() == "1"


def test_all_is_gone_but_the_bucket(afar: Afar, make_product: MakeProduct) -> None:
    """The bundle comes out of it too. A second cluster of the same identity is not made beside the first one."""
    old, (lost, fresh) = afar.product, afar.hosts
    signer = afar.cli("snapshots", "key", str(old.file)).split()[-1]
    new = make_product()
    new.environ |= old.environ
    words = ("--from", f"s3://{afar.bucket}/{PREFIX}", "--endpoint", afar.s3.tls_endpoint, "--ca", str(afar.s3.ca))
    keys = ("--signer", signer, "--passphrase", "env:BACKUP_PASS", "--host", f"{fresh.name}={fresh.address}")
    afar.product = new
    told = afar.cli("snapshots", "bundle", "prod-a", "found", *words, *keys)
    assert "signed by the trusted key" in told
    found = new.directory / "found"
    content = json.loads(afar.cli("validate", str(found / "cluster.yaml"), "--json"))
    assert content["ok"], content
    described = yaml.safe_load((found / "cluster.yaml").read_text())
    assert described["snapshots"]["stores"][0]["name"] == "recovered"
    new.write(described | {"hosts": [fresh.ssh_spec()], "pki": {"state_dir": str(found / "state")}})
    begin = ("bootstrap-cluster", "--from-snapshot", "latest")
    alive = new.run(*begin, "--accept", "old-members-off")
    assert alive.code == 3, alive.output
    assert f"{lost.name} at https://{lost.address}:2379" in alive.output
    assert "alive elsewhere" in alive.output
    lost.power_cut()
    unseen = new.run(*begin)
    assert unseen.code == 3, unseen.output
    assert "could still be serving" in unseen.output
    assert "--accept old-members-off" in unseen.output
    assert fresh.exec("ls -d /etc/etcd /var/lib/etcd* 2>/dev/null; true") == ""
    done = new.must(*begin, "--accept", "old-members-off").json
    assert any("must stay off for good" in note for note in done["plan"]["notes"])
    assert_back(fresh)
