"""A cluster is brought back: from a healthy one with the wrong data, from nothing, and after anything cut it off.

All on the same hosts, one restore after the other: each test takes the cluster as the one before left it.
"""

from __future__ import annotations

import json
import time

import pytest

from tests.e2e.conftest import MakeProduct
from tests.e2e.product import CLI, Done, assert_healthy, cluster_id, etcdctl, token, tree
from tests.e2e.restoring import HOLD, UNDER_WAY, Scene, assert_restored, data_dir, killed, prepare, refresh, revision
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab


@pytest.fixture(scope="module")
def scene(lab: Lab, make_product: MakeProduct) -> Scene:
    return prepare(make_product(), lab.fresh(3), ssh={"connect_timeout": 3})


def untouched(scene: Scene) -> list[str]:
    """What a restore changes, and which processes run."""
    paths = ("/etc/etcd", "/etc/systemd/system", "/opt", "/var/lib/etcd-flows/identity.json")
    look = "pidof etcd; ls -A /var/lib/etcd /var/lib/etcd-flows"
    return [tree(host, *paths) + host.exec(look) for host in scene.hosts]


def test_a_plan_and_refusals_change_nothing(scene: Scene) -> None:
    before = untouched(scene)
    product, file = scene.product, str(scene.file)
    planned = product.must("disaster-restore", "--file", file, "--plan").json["plan"]
    names = [phase["name"] for phase in planned["phases"]]
    (after,) = (note for note in planned["notes"] if note.startswith("members afterwards: "))
    assert "etcd-01, etcd-02, etcd-03, of etcd 3.6.16; each needs 25" in after
    assert names[-9:-6] == [
        "bring the snapshot to all members and unpack it beside their data",
        "stop and hold all members",
        "switch to the restored data",
    ]
    assert [len(phase["steps"]) for phase in planned["phases"] if phase["name"].startswith("start ")] == [2, 2, 2]
    kinds = {step["name"] for phase in planned["phases"] for step in phase["steps"]}
    assert kinds == {point.rpartition("/")[2] for point in POINTS}, "each kind of step is killed below"

    def refused(*words: str, code: int = 3) -> str:
        done = product.run("disaster-restore", *words)
        assert done.code == code, done.output
        return done.output

    assert "called 'prod-a'" in refused("--file", file, "--confirm", "prod-b")
    sure = ("--confirm", "prod-a", "--accept", "no-safety-snapshot")
    assert "could not be stored" in refused("--file", file, "--confirm", "prod-a")
    assert "it answers" in refused("--file", file, *sure, "--dead", "etcd-03")
    tampered = scene.product.directory / "tampered.db"
    content = bytearray(scene.file.read_bytes())
    content[len(content) // 2] ^= 1
    tampered.write_bytes(content)
    assert "checksum does not fit" in refused("--file", str(tampered), *sure, code=1)
    scene.hosts[2].cut_ssh()
    try:
        assert "etcd-03" in refused("--file", file, *sure, code=1)
    finally:
        scene.hosts[2].open_ssh()
    assert untouched(scene) == before
    assert_healthy(scene.hosts)


def test_a_restore_that_fails_early_is_taken_back_by_itself(scene: Scene) -> None:
    """The first member does not come up on the restored data: nobody can have written to it yet."""
    before = cluster_id(scene.hosts[0]), [data_dir(host) for host in scene.hosts]
    broken = "/etc/systemd/system/etcd.service.d/broken.conf"
    refuse = "case $ETCD_DATA_DIR in */restored-*) exit 1 ;; esac"
    scene.hosts[0].write(broken, f"[Service]\nExecStartPre=/bin/sh -c '{refuse}'\nRestartSec=1s\n")
    try:
        failed = scene.restore(check=False)
    finally:
        scene.hosts[0].exec(f"rm -r $(dirname {broken}); systemctl daemon-reload")
    assert failed.code == 1, failed.output
    (error,) = failed.errors
    assert error["host"] == "etcd-01"
    assert "was taken back" in error["state"]
    assert_healthy(scene.hosts)
    etcdctl(scene.hosts[0], "del probe")
    assert (cluster_id(scene.hosts[0]), [data_dir(host) for host in scene.hosts]) == before
    assert etcdctl(scene.hosts[0], "get later --print-value-only").strip() == "1"
    assert scene.hosts[0].exec(f"ls -d {UNDER_WAY} {HOLD} 2>/dev/null; true") == ""
    assert scene.product.bootstrap().json["plan"]["empty"]


class Watcher:
    """A client that watches a key across a restore and, cut off, goes on from what it saw last, as informers do."""

    def __init__(self, host: LabHost) -> None:
        self._host = host
        mine = "sed -n 's/^\"Revision\" : //p'"
        host.exec(
            f"rm -f /root/watch.err; at=$(etcdctl get kept -w fields | {mine});"
            " (until grep -q compacted /root/watch.err; do"
            " timeout 20 etcdctl watch kept --rev=$at >/dev/null 2>>/root/watch.err; sleep 0.3; done)"
            " </dev/null >/dev/null 2>&1 &"
        )

    def told(self) -> str:
        """How it was told that it can't go on."""
        deadline = time.monotonic() + 30
        while "compacted" not in (said := self._host.read("/root/watch.err")) and time.monotonic() < deadline:
            time.sleep(0.2)
        return said


def test_a_healthy_cluster_goes_back_to_a_snapshot_under_writes(scene: Scene) -> None:
    """A client watches and others write all the time; the watch is told that it has to begin anew."""
    writer = scene.hosts[1]
    writer.exec(
        "(while [ ! -e /root/stop ]; do etcdctl put stream $(date +%N); sleep 0.05; done) </dev/null >/dev/null 2>&1 &"
    )
    watcher = Watcher(scene.hosts[0])
    old = revision(scene.hosts[0])
    done = scene.restore()
    writer.exec("touch /root/stop; sleep 0.5; etcdctl del stream")
    assert_restored(scene)
    answer = done.json
    assert answer["applied"] is True
    assert 0 < answer["seconds_until_writable"] < answer["seconds_until_proven"]
    assert {proof["keys"] for proof in answer["proof"]} == {22}
    assert len({(proof["hash"], proof["compact_revision"]) for proof in answer["proof"]}) == 1
    assert answer["restore"]["base_revision"] > 1_000_000_000 > old
    assert "required revision has been compacted" in watcher.told()
    beside = {tuple(line.split()[:2]) for line in answer["old_data"]}
    assert {(f"{host.name}:", "/var/lib/etcd/member") for host in scene.hosts} <= beside


def test_all_data_is_gone_on_all_hosts(scene: Scene) -> None:
    for host in scene.hosts:
        host.exec("systemctl kill -s KILL etcd; systemctl stop etcd; rm -rf /var/lib/etcd")
    scene.restore()
    assert_restored(scene)


#: One point in each kind of step; each run is killed there, and the next one goes on and is killed a step later.
POINTS = [
    "done/etcd-02/record",
    "done/etcd-03/push",
    "start/etcd-02/unpack",
    "done/etcd-01/unpack",
    "done/etcd-02/hold",
    "done/etcd-03/switch",
    "start/etcd-01/gate",
    "done/etcd-02/start",
    "start/etcd-03/start",
    "start/etcd-02/prove",
    "done/etcd-01/formed",
    "done/etcd-03/finish",
]


def test_killed_in_every_kind_of_step(scene: Scene) -> None:
    """One restore in many runs: the record stays the same, and the members never form two clusters."""
    refresh(scene)
    tokens = set()
    for point in POINTS:
        killed(scene, point)
        for host in scene.hosts:
            text = host.exec(f"cat {UNDER_WAY}/record.json 2>/dev/null; true")
            tokens |= {json.loads(text)["token"]} if text else set()
    assert len(tokens) == 1
    scene.restore() if any(host.exec(f"ls -d {UNDER_WAY} 2>/dev/null; true") for host in scene.hosts) else None
    assert_restored(scene)
    assert {token(host) for host in scene.hosts} == tokens


def test_a_host_loses_its_power_while_it_is_held(scene: Scene) -> None:
    """It boots, and stays down, until the restore that goes on starts it."""
    refresh(scene)
    killed(scene, "done/etcd-02/hold")
    scene.hosts[1].power_cycle()
    assert scene.hosts[1].exec("systemctl is-enabled etcd").strip() == "enabled"
    assert scene.hosts[1].exec("systemctl is-active etcd; pidof etcd; true").strip() == "inactive"
    refused = scene.product.run("bootstrap-cluster")
    assert refused.code == 3, refused.output
    assert "a restore of this cluster is under way" in refused.output
    scene.restore()
    assert_restored(scene)
    assert scene.hosts[1].exec(f"ls {HOLD} 2>/dev/null; true") == ""


def test_the_way_back_before_anybody_could_write(scene: Scene) -> None:
    """Killed with one member started: the other two go back with it to what they were."""
    refresh(scene)
    before = cluster_id(scene.hosts[0]), [data_dir(host) for host in scene.hosts]
    killed(scene, "done/etcd-01/gate")
    assert scene.hosts[1].exec("pidof etcd; true") == ""
    scene.product.must("disaster-restore", "--go-back", "--confirm", "prod-a")
    assert_healthy(scene.hosts)
    assert (cluster_id(scene.hosts[0]), [data_dir(host) for host in scene.hosts]) == before
    assert etcdctl(scene.hosts[0], "get later --print-value-only").strip() == "1"
    assert scene.product.bootstrap().json["plan"]["empty"]


def test_two_at_once(scene: Scene) -> None:
    """One wins; the other is refused by the lock, by the record, or finds that the hosts have changed."""
    refresh(scene)
    words = ("disaster-restore", str(scene.product.file), "--file", str(scene.file), "--confirm", "prod-a")
    runs = [scene.product.start(*CLI, *words, "--accept", "no-safety-snapshot", "--again") for _ in range(2)]
    said = sorted((Done.of(run) for run in runs), key=lambda done: done.code)
    assert said[0].code == 0, said
    assert said[1].code in (0, 3), said
    assert_restored(scene)


def test_a_dead_member_is_left_out(scene: Scene) -> None:
    """And two of three that can't be seen could still be serving: that has to be typed."""
    refresh(scene)
    scene.hosts[2].power_cut()
    try:
        unseen = scene.restore(check=False)
        assert unseen.code != 0
        assert "etcd-03" in unseen.output
        scene.hosts[1].power_cut()
        split = scene.restore("--dead", "etcd-02", "--dead", "etcd-03", check=False)
        assert split.code == 3, split.output
        assert "could still be serving" in split.output
        scene.hosts[1].boot()
        done = scene.restore("--dead", "etcd-03").json
        assert done["restore"]["dead"] == ["etcd-03"]
        members = json.loads(etcdctl(scene.hosts[0], "member list -w json"))["members"]
        assert sorted(member["name"] for member in members) == ["etcd-01", "etcd-02"]
        for host in scene.hosts[:2]:
            assert etcdctl(host, "get kept --print-value-only").strip() == "before"
    finally:
        for host in scene.hosts[1:]:
            if not host.running:
                host.boot()
