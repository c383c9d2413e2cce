"""Quorum is lost and there may be no snapshot: what survivors hold, or their files alone, is restored.

One story on five hosts. Each test takes the cluster as the one before left it.
"""

from __future__ import annotations

import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeProduct
from tests.e2e.product import CLI, KILLED, Done, Product, assert_healthy, cluster_id, etcdctl, leftovers
from tests.e2e.restoring import HOLD, UNDER_WAY, data_dir, revision
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import wait_until


@dataclass
class Five:
    """Five hosts and a store that is on none of them."""

    product: Product
    hosts: list[LabHost]

    @property
    def store(self) -> Path:
        return self.product.directory / "backups"

    def describe(self) -> None:
        """Write the cluster file, with the hosts' keys as they are now."""
        stores = [{"name": "local", "directory": str(self.store)}]
        self.product.describe(self.hosts, snapshots={"stores": stores}, ssh={"connect_timeout": 3})

    def restore(self, *words: str, code: int = 0, **options: Any) -> Done:
        done = self.product.run("disaster-restore", "--confirm", "prod-a", *words, **options)
        assert done.code == code, done.output
        return done

    def kept(self) -> list[tuple[str, str]]:
        """Kind and source of all stored snapshots, in order."""
        found = [json.loads(path.read_text())["manifest"] for path in self.store.rglob("manifests/*.json")]
        return [(one["kind"], one["source"]) for one in sorted(found, key=lambda one: str(one["id"]))]


def each(act: Any, hosts: list[LabHost]) -> None:
    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(act, hosts))


@pytest.fixture(scope="module")
def five(lab: Lab, make_product: MakeProduct) -> Five:
    made = Five(make_product(), lab.fresh(5))
    made.describe()
    made.product.bootstrap()
    return made


def write(host: LabHost, value: str, *others: LabHost) -> None:
    """The write after it has all members note on their disks that it is agreed upon, as etcd does no sooner."""
    wait_until("it can be written to", lambda: etcdctl(host, f"put kept {value}", check=False) == "OK\n", 60)
    for other in others:
        assert etcdctl(other, "get kept --print-value-only").strip() == value
    etcdctl(host, "put later 1")
    for other in others:
        etcdctl(other, "get later")


def assert_back(hosts: list[LabHost], value: str) -> None:
    """These are one cluster that serves it, with raised revisions, and nothing is left half-done."""
    assert_healthy(hosts)
    members = json.loads(etcdctl(hosts[0], "member list -w json"))["members"]
    assert sorted(member["name"] for member in members) == [host.name for host in hosts]
    for host in hosts:
        assert etcdctl(host, "get kept --print-value-only").strip() == value, host.name
        assert revision(host) > 1_000_000_000
        assert host.exec("grep -ril force-new-cluster /etc/etcd /etc/systemd/system; true") == ""
        assert host.exec(f"ls -d {UNDER_WAY} {HOLD} /etc/systemd/system/etcd.service.d 2>/dev/null; true") == ""
        assert leftovers(host) == []


def leader(host: LabHost) -> int:
    """Which member leads, as this one knows; 0 for none."""
    (status,) = json.loads(etcdctl(host, "endpoint status -w json"))
    return int(status["Status"].get("leader", 0))


def off(host: LabHost) -> None:
    """Its etcd is dead and does not come back by itself."""
    host.exec("systemctl kill -s KILL etcd; systemctl stop etcd")


def test_one_of_five_is_left_and_answers(five: Five) -> None:
    """The other four are new, bare machines. Killed while the members are held, it goes on from the stored snapshot."""
    last, lost = five.hosts[0], five.hosts[1:]
    write(last, "first")

    def swap(host: LabHost) -> None:
        host.reset()
        host.boot()

    each(swap, lost)
    five.describe()
    planned = five.product.must("disaster-restore", "--from-survivors", "--plan").json["plan"]
    assert any(f"restored is what {last.name} holds: term" in note for note in planned["notes"]), planned["notes"]
    assert any("the 4 other members are lost" in note for note in planned["notes"]), planned["notes"]
    assert any("no way back" in note for note in planned["notes"]), planned["notes"]
    five.restore("--from-survivors", program=(*KILLED, f"done/{lost[1].name}/hold"), code=-signal.SIGKILL)
    assert five.kept() == [("safety", last.name)]
    five.restore()
    assert five.kept() == [("safety", last.name)], "stored once"
    assert_back(five.hosts, "first")


def test_two_of_five_answer_and_one_is_ahead(five: Five) -> None:
    """Three are off for good; of the two that are left one has missed the last write."""
    ahead, behind, gone = five.hosts[0], five.hosts[1], five.hosts[2:]
    behind.cut_from(ahead, *gone)
    write(ahead, "second")
    each(LabHost.power_cut, gone)
    # A leader that has lost its quorum still brings the others up to date until it notices.
    wait_until("it leads no more", lambda: leader(ahead) == 0, 60)
    behind.reconnect()
    assert revision(behind) < revision(ahead)
    dead = [word for host in gone for word in ("--dead", host.name, "--fenced", host.name)]
    done = five.restore("--from-survivors", *dead).json
    assert any(
        f"restored is what {ahead.name} holds" in note and f"the others: {behind.name} term" in note
        for note in done["plan"]["notes"]
    ), done["plan"]["notes"]
    assert five.kept()[1:] == [("safety", ahead.name)]
    assert_back([ahead, behind], "second")


def test_a_member_that_was_left_out_comes_back(five: Five) -> None:
    """Its etcd starts on the old data when it boots, and disturbs nobody; then it becomes a member again."""
    there, back = five.hosts[:2], five.hosts[2]
    before = cluster_id(there[0])
    back.boot()
    wait_until("the old member runs", lambda: back.exec("pidof etcd; true").strip() != "", 60)
    assert_healthy(there)
    findings = five.product.run("check-cluster").json["findings"]
    assert [one["host"] for one in findings if one["check"] == "broken"] == [back.name], findings
    five.product.must("replace-member", back.name, "--confirm", "prod-a")
    assert_back([*there, back], "second")
    assert cluster_id(back) == before
    assert five.product.run("replace-member", back.name, "--confirm", "prod-a").json["plan"]["empty"]


def test_nobody_answers_but_a_data_directory_is_there(five: Five) -> None:
    """Named on a host, with its log: what only the log has is there again. Two others are still off."""
    hosts, gone = five.hosts[:3], five.hosts[3:]
    dead = [word for host in gone for word in ("--dead", host.name)]
    write(hosts[0], "third")
    named = f"{hosts[1].name}:{data_dir(hosts[1])}"
    five.product.must("snapshot-backup")
    write(hosts[0], "fourth", hosts[1])
    each(off, hosts)
    done = five.restore("--from-data-dir", named, *dead).json
    assert five.kept()[-1] == ("safety", named)
    assert any("restored is what" in note for note in done["plan"]["notes"])
    assert_back(hosts, "fourth")


def test_a_database_alone(five: Five) -> None:
    """A copy of member/snap/db on a host; then a copied data directory on the operator's machine."""
    hosts, gone = five.hosts[:3], five.hosts[3:]
    dead = [word for host in gone for word in ("--dead", host.name)]
    write(hosts[0], "fifth", hosts[2])
    each(off, hosts)
    place = data_dir_of_stopped(hosts[2])
    hosts[2].exec(f"mkdir -p /root/old/member/snap; cp {place}/member/snap/db /root/old/member/snap/")
    named = f"{hosts[2].name}:/root/old/member/snap/db"
    assert "no-checksum" in five.restore("--from-data-dir", named, *dead, code=3).errors[0]["remedy"]
    five.restore("--from-data-dir", named, *dead, "--accept", "no-checksum")
    assert five.kept()[-1][0] == "imported"
    assert etcdctl(hosts[0], "get kept --print-value-only").strip() in ("fourth", "fifth")
    write(hosts[0], "sixth")
    each(off, hosts)
    copied = five.product.directory / "copied"
    shutil.copytree(hosts[0].root / data_dir_of_stopped(hosts[0]).lstrip("/"), copied)
    five.restore("--from-data-dir", str(copied), *dead)
    assert_back(hosts, "sixth")


def data_dir_of_stopped(host: LabHost) -> str:
    return host.exec("sed -n s/^ETCD_DATA_DIR=//p /etc/etcd/etcd.env").strip()


def test_keys_come_back_into_the_running_cluster(five: Five) -> None:
    """From the operator's machine: what was deleted, and nothing that somebody else has written meanwhile."""
    hosts = five.hosts[:3]
    hosts[0].exec("for i in $(seq 20); do etcdctl put app/$i old$i; done >/dev/null")
    five.product.must("snapshot-backup")
    hosts[0].exec("for i in 1 2 3; do etcdctl del app/$i; done >/dev/null; etcdctl put app/4 new; etcdctl put other 1")
    diff = ("diff", "latest", "now", "--prefix", "app/")
    since = five.product.must(*diff, program=(*CLI, "snapshots")).json
    assert [since[what] for what in ("added", "changed", "removed", "unchanged")] == [0, 1, 3, 16]
    planned = five.product.must("restore-keys", "--from", "latest", "--prefix", "app/").json
    assert {what: found["keys"] for what, found in planned["counts"].items() if found["keys"]} == {
        "add": 3,
        "unchanged": 16,
        "conflict": 1,
    }
    etcdctl(hosts[1], "put app/3 meanwhile")
    pids = [host.exec("pidof etcd") for host in hosts]
    done = five.product.run("restore-keys", "--apply", planned["plan"], "--confirm", "prod-a")
    assert done.code == 1, done.output
    assert (done.json["done"]["add"], done.json["left"]) == (2, 1)
    assert five.kept()[-1][0] == "safety"
    for host in hosts:
        values = etcdctl(host, "get app/ --prefix --print-value-only").split()
        assert sorted(values) == sorted(["old1", "old2", "meanwhile", "new", *(f"old{n}" for n in range(5, 21))])
        assert etcdctl(host, "get other --print-value-only").strip() == "1"
    assert [host.exec("pidof etcd") for host in hosts] == pids
    # Where only SSH gets there, it goes through that; what the first run has done is found as wanted.
    only_ssh = "iptables -w {} INPUT -s 198.18.0.1 -p tcp --dport 2379 -j REJECT --reject-with tcp-reset"
    for host in hosts:
        host.exec(only_ssh.format("-I"))
    try:
        again = five.product.run("restore-keys", "--apply", planned["plan"], "--confirm", "prod-a")
    finally:
        for host in hosts:
            host.exec(only_ssh.format("-D"))
    assert again.code == 1, again.output
    assert (again.json["done"]["add"], again.json["already"], again.json["left"]) == (0, 2, 1)
