"""One member is restored, and the others join it one at a time. One restore, killed on its way, then taken back."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import MakeProduct
from tests.e2e.product import assert_healthy, cluster_id, etcdctl
from tests.e2e.restoring import Scene, assert_restored, killed, prepare
from tests.lab.lab import Lab


@pytest.fixture(scope="module")
def scene(lab: Lab, make_product: MakeProduct) -> Scene:
    return prepare(make_product(), lab.fresh(3), ssh={"connect_timeout": 3})


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


def test_the_others_join(scene: Scene) -> None:
    first = scene.hosts[0]
    planned = scene.product.must("disaster-restore", "--file", str(scene.file), "--rejoin", "--plan").json["plan"]
    steps = [step for phase in planned["phases"] for step in phase["steps"]]
    assert [step["host"] for step in steps if step["name"] == "unpack"] == ["etcd-01"]
    assert sorted(step["host"] for step in steps if step["name"] == "hold") == ["etcd-01", "etcd-02", "etcd-03"]
    killed(scene, POINTS[0], "--rejoin")
    assert etcdctl(first, "get kept --print-value-only").strip() == "before", "clients can work"
    for point in POINTS[1:]:
        killed(scene, point)
    scene.restore()
    assert_restored(scene)
    members = json.loads(etcdctl(first, "member list -w json"))["members"]
    assert not any(member.get("isLearner") for member in members)


def test_the_way_back(scene: Scene) -> None:
    restored = cluster_id(scene.hosts[0])
    words = ("disaster-restore", "--go-back", "--confirm", "prod-a", "--accept", "no-safety-snapshot")
    scene.product.must(*words)
    assert_healthy(scene.hosts)
    assert cluster_id(scene.hosts[1]) == scene.old_id != restored
    assert etcdctl(scene.hosts[2], "get later --print-value-only").strip() == "1"
