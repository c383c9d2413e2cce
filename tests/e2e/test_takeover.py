"""A running cluster that etcdadm made is taken over: data, identity and certificates stay, and no write is lost."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import etcdadm
from tests.e2e.conftest import MakeProduct
from tests.e2e.product import KILLED, Product, assert_healthy, etcdctl, footprint, leftovers, main_pid
from tests.e2e.test_changes import start_writer, stop_writer
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab

VERSION, TOKEN = "3.5.35", "3f2a9c01"
BEFORE = "/opt/bin/etcdctl.sh"  # as etcdadm's users call etcdctl
PAIRS = (*etcdadm.LEAVES, "ca")

Binaries = Callable[[str], Path]


def etcdadm_cluster(hosts: list[LabHost], programs: Path) -> etcdadm.Authority:
    """``etcdadm init`` on the first host, ``etcdadm join`` on the others, one after the other; some keys are put."""
    ca = etcdadm.Authority()
    there: list[tuple[str, str]] = []
    for host in hosts:
        there.append((host.name, host.address))
        for path, (content, mode) in etcdadm.files(
            ca, host.name, host.address, there, TOKEN if len(there) == 1 else None
        ).items():
            host.write(path, content.decode(), mode)
        for name in ("etcd", "etcdctl"):
            shutil.copy(programs / name, host.root / "opt/bin" / name)
        if len(there) > 1:
            add = f"{BEFORE} member add {host.name} --peer-urls=https://{host.address}:2380"
            hosts[0].exec(f"for n in 1 2 3 4; do {add} && exit; sleep 2; done; {add}")  # etcdadm tries five times too
        host.exec("systemctl daemon-reload && systemctl enable --now etcd")
    for number in range(20):
        hosts[0].exec(f"{BEFORE} put old/{number} value-{number}")
    return ca


def ids(host: LabHost, ctl: str) -> dict[str, str]:
    """Cluster id, member ids by name, as etcd has them."""
    listed = host.exec(f"{ctl} member list -w simple")
    members = {line.split(", ")[2]: line.split(", ")[0] for line in listed.splitlines()}
    status = host.exec(f"{ctl} endpoint status -w fields")
    return members | dict(re.findall(r'"(ClusterID)" : (\d+)', status))


def certificates(hosts: list[LabHost]) -> list[str]:
    """Checksums of what etcdadm issued."""
    names = " ".join(f"{etcdadm.PKI}/{name}.{kind}" for name in PAIRS for kind in ("crt", "key"))
    return [host.exec(f"sha256sum {names} {etcdadm.WRAPPER}") for host in hosts]


def users(hosts: list[LabHost]) -> list[str]:
    """Whom etcd runs as, and whom its data belongs to."""
    script = "stat -c %U /proc/$(pidof etcd); find /var/lib/etcd -printf '%u\\n'"
    return [" ".join(sorted(set(host.exec(script).split()))) for host in hosts]


def assert_old_keys(host: LabHost) -> None:
    """What was put before is there."""
    read = etcdctl(host, "get old/ --prefix --print-value-only").split()
    assert sorted(read) == sorted(f"value-{number}" for number in range(20))


@dataclass
class Taken:
    product: Product
    hosts: list[LabHost]
    ids: dict[str, str]
    certificates: list[str]
    planned: dict[str, Any]


@pytest.fixture(scope="module")
def running(lab: Lab, make_product: MakeProduct, etcd_binaries: Binaries) -> Taken:
    """A cluster of etcdadm's that was only planned for."""
    product, hosts = make_product(), lab.fresh(3)
    etcdadm_cluster(hosts, etcd_binaries(VERSION))
    identity, kept = ids(hosts[0], BEFORE), certificates(hosts)
    product.describe(hosts, version=VERSION)
    before = [(footprint(host), main_pid(host)) for host in hosts]
    planned = product.bootstrap("--plan").json["plan"]
    assert [(footprint(host), main_pid(host)) for host in hosts] == before
    return Taken(product, hosts, identity, kept, planned)


def test_the_plan_says_what_stays_and_what_changes(running: Taken) -> None:
    plan = running.planned
    text = " ".join(plan["notes"])
    assert "taking over a cluster that this tool did not make" in text
    assert "root -> etcd" in text
    assert all(running.ids[host.name] in text for host in running.hosts)
    assert "metrics-etcd-client is not issued" in text
    assert f"copy ca.crt and ca.key from etcd-01:{etcdadm.PKI}" in text
    prepare, _, *changes = plan["phases"]
    assert {step["name"] for step in prepare["steps"]} == {"account", "release", "pki"}
    assert not any("issue" in step["summary"] for step in prepare["steps"])
    assert [phase["name"].split(",")[0].split()[0] for phase in changes] == ["change"] * 3
    config, restart, _, formed = changes[0]["steps"]
    assert formed["name"] == "formed"
    assert "+ ETCD_QUOTA_BACKEND_BYTES=8589934592" in config["changes"]
    assert "give /var/lib/etcd to etcd" in restart["summary"]
    assert "unit: + User=etcd" in restart["changes"]


def test_another_version_is_refused(running: Taken) -> None:
    good = running.product.file.read_text()
    content = yaml.safe_load(good)
    content["etcd"]["version"] = "3.6.16"
    running.product.write(content)
    done = running.product.run("bootstrap-cluster")
    running.product.file.write_text(good)
    assert done.code == 3, done.output
    assert f'say `version: "{VERSION}"`' in done.output.replace('\\"', '"')


def test_it_is_taken_over_under_writes(running: Taken) -> None:
    product, hosts = running.product, running.hosts
    hosts[0].exec(f"ln -s {BEFORE} /usr/local/bin/etcdctl")  # the writer's name for it, until ours takes its place
    start_writer(hosts[0], hosts)
    product.bootstrap()
    acknowledged, stall = stop_writer(hosts[0])

    written = set(etcdctl(hosts[1], "get written/ --prefix --keys-only").split())
    assert len(acknowledged) > 20, "the writer hardly wrote"
    assert {f"written/{number}" for number in acknowledged} <= written
    print(f"{len(acknowledged)} writes acknowledged during the takeover, the longest stall was {stall} ms")
    assert_healthy(hosts)
    assert_old_keys(hosts[2])
    assert ids(hosts[0], "etcdctl") == running.ids
    assert certificates(hosts) == running.certificates
    assert users(hosts) == ["etcd"] * 3
    for host in hosts:
        assert not leftovers(host)
        assert host.exec_result(f"{BEFORE} endpoint health").returncode == 0
    assert (product.state / "ca.crt").read_bytes() == hosts[0].read(f"{etcdadm.PKI}/ca.crt").encode()
    assert not (product.state / "ca.key").exists()


def test_afterwards_it_is_a_cluster_like_any_other(running: Taken) -> None:
    product, hosts = running.product, running.hosts
    assert product.bootstrap("--plan").json["plan"]["empty"]
    checked = product.must("check-cluster").json
    assert not [finding for finding in checked["findings"] if finding["level"] == "error"]
    product.must("destroy-cluster", "--confirm", "prod-a")
    for host in hosts:
        assert host.exec_result("pidof etcd").returncode == 1
        assert host.exec_result("test -d /var/lib/etcd/member/wal").returncode == 0


def test_a_bad_setting_is_taken_back_and_a_cut_is_made_good(
    fresh_hosts: Callable[[int], list[LabHost]], product: Product, etcd_binaries: Binaries
) -> None:
    """With the CA's key at hand: what is missing is issued, what is there stays."""
    hosts = fresh_hosts(3)
    ca = etcdadm_cluster(hosts, etcd_binaries(VERSION))
    identity, kept = ids(hosts[0], BEFORE), certificates(hosts)
    product.state.mkdir(mode=0o700)
    for name, pem in (("ca.crt", ca.cert), ("ca.key", ca.key)):
        (product.state / name).write_bytes(pem)
        (product.state / name).chmod(0o600)
    product.describe(hosts, version=VERSION, etcd={"extra": {"ETCD_MAX_REQUEST_BYTES": "not-a-number"}})
    done = product.run("bootstrap-cluster")
    assert done.code == 1, done.output
    assert "has its former settings again and is healthy" in done.errors[0]["state"]
    assert [host.read(etcdadm.UNIT_FILE) for host in hosts] == [etcdadm.UNIT] * 3
    assert [host.exec("stat -c %U /proc/$(pidof etcd)").strip() for host in hosts] == ["root"] * 3
    assert ids(hosts[0], BEFORE) == identity

    product.describe(hosts, version=VERSION)
    planned = product.bootstrap("--plan").json["plan"]
    last = planned["phases"][-1]["steps"][0]["host"]
    killed = product.run("bootstrap-cluster", program=(*KILLED, f"start/{last}/restart"))
    assert killed.code == -signal.SIGKILL, killed.output
    # As if the power had failed while its data changed hands.
    member = next(host for host in hosts if host.name == last)
    member.exec("systemctl stop etcd; cd /var/lib/etcd && chown -R etcd:etcd member/wal")
    member.power_cycle()

    product.bootstrap()
    assert_healthy(hosts)
    assert_old_keys(hosts[2])
    assert ids(hosts[0], "etcdctl") == identity
    assert certificates(hosts) == kept
    assert users(hosts) == ["etcd"] * 3
    assert all(host.exec_result(f"test -s {etcdadm.PKI}/metrics-etcd-client.crt").returncode == 0 for host in hosts)
    assert product.bootstrap("--plan").json["plan"]["empty"]
