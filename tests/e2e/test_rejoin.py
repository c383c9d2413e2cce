"""One member is restored, and the others join it one at a time. One restore, killed on its way, then taken back.

Clients are looked after meanwhile by hooks, on a machine that is no member.
"""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import MakeProduct
from tests.e2e.product import assert_healthy, cluster_id, etcdctl
from tests.e2e.restoring import Scene, assert_restored, killed, prepare
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab


@pytest.fixture(scope="module")
def machines(lab: Lab) -> list[LabHost]:
    """Three members' hosts, and one where clients are."""
    return lab.fresh(4)


@pytest.fixture(scope="module")
def scene(machines: list[LabHost], make_product: MakeProduct) -> Scene:
    *hosts, clients = machines
    there = {"machine": clients.address, "ssh": clients.ssh_spec("ops")["ssh"]}
    clients.add_user("ops")
    hooks = {
        "before_stop": [{"name": "stop-clients", "command": "echo before >>/hooks; id -un >>/hooks", **there}],
        "after_proof": [
            {"name": "start-clients", "command": "echo after >>/hooks; [ ! -e /broken ] || exit 7", **there}
        ],
    }
    return prepare(make_product(), hosts, ssh={"connect_timeout": 3}, restore=hooks)


#: Each run is killed there, and the next one goes on, without being told again that the others join.
POINTS = [
    "done/etcd-01/gate",
    "done/etcd-01/add-etcd-02",
    "done/etcd-02/switch",
    "done/etcd-02/start",
    "done/etcd-01/promote-etcd-02",
    "start/etcd-03/start",
    "done/etcd-03/catch-up",
    "done/etcd-03/settle",
]


def test_the_others_join(scene: Scene, machines: list[LabHost]) -> None:
    first, clients = scene.hosts[0], machines[-1]
    planned = scene.product.must("disaster-restore", "--file", str(scene.file), "--rejoin", "--plan").json["plan"]
    steps = [step for phase in planned["phases"] for step in phase["steps"]]
    assert [step["host"] for step in steps if step["name"] == "unpack"] == ["etcd-01"]
    assert sorted(step["host"] for step in steps if step["name"] == "hold") == ["etcd-01", "etcd-02", "etcd-03"]
    hooks = [(step["host"], step["name"]) for step in steps if step["name"].startswith("hook")]
    assert hooks == [(clients.address, "hook-stop-clients"), (clients.address, "hook-start-clients")]
    killed(scene, POINTS[0], "--rejoin")
    assert clients.read("/hooks").split() == ["before", "root"], "once, before any member was stopped"
    assert etcdctl(first, "get kept --print-value-only").strip() == "before", "clients can work"
    for point in POINTS[1:]:
        killed(scene, point)
    clients.exec("touch /broken")
    partly = scene.restore(check=False)
    assert partly.code == 1, partly.output
    assert list(partly.json["hooks_failed"]) == ["start-clients"]
    clients.exec("rm /broken")
    scene.product.must("disaster-restore", "--file", str(scene.file), "--confirm", "prod-a")
    assert clients.read("/hooks").split() == ["before", "root", "after", "after"]
    assert_restored(scene)
    members = json.loads(etcdctl(first, "member list -w json"))["members"]
    assert not any(member.get("isLearner") for member in members)


def test_the_way_back(scene: Scene, machines: list[LabHost]) -> None:
    restored = cluster_id(scene.hosts[0])
    words = ("disaster-restore", "--go-back", "--confirm", "prod-a", "--accept", "no-safety-snapshot")
    scene.product.must(*words)
    assert_healthy(scene.hosts)
    assert cluster_id(scene.hosts[1]) == scene.old_id != restored
    assert etcdctl(scene.hosts[2], "get later --print-value-only").strip() == "1"
    assert machines[-1].read("/hooks").split()[4:] == ["before", "root", "after"]
