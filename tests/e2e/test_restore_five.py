"""Five members of etcd 3.7: some of them can't be seen, and the snapshot is older than what has been compacted."""

from __future__ import annotations

import json
import time

import pytest

from tests.e2e.conftest import MakeProduct
from tests.e2e.product import assert_healthy, cluster_id, etcdctl
from tests.e2e.restoring import HOLD, UNDER_WAY, Scene, assert_restored, prepare, refresh, revision
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import wait_until


@pytest.fixture(scope="module")
def scene(lab: Lab, make_product: MakeProduct) -> Scene:
    return prepare(make_product(), lab.fresh(5), version="3.7.3", ssh={"connect_timeout": 3})


def words(option: str, hosts: list[LabHost]) -> tuple[str, ...]:
    return tuple(word for host in hosts for word in (option, host.name))


def test_three_of_five_that_are_only_partitioned_away(scene: Scene) -> None:
    """They go on serving as the old cluster; so nothing is changed on the other two, whoever is declared dead."""
    here, away = scene.hosts[:2], scene.hosts[2:]
    for host in away:
        host.cut_from(*here)
        host.cut_ssh()
    try:
        wait_until("the three serve", lambda: etcdctl(away[0], "put away 1", check=False) == "OK\n", 20)
        dead = words("--dead", away)
        for more in ((), words("--fenced", away[:2])):
            refused = scene.restore(*dead, *more, check=False)
            assert refused.code == 3, refused.output
            assert "could still be serving" in refused.output
            assert all(f"--fenced {host.name}" in refused.output for host in away)
        unseen = scene.restore(*words("--dead", away[:2]), check=False)
        assert unseen.code == 1, unseen.output
        assert away[2].name in unseen.output
        for host in here:
            assert host.exec(f"pidof etcd >/dev/null; ls -d {UNDER_WAY} {HOLD} 2>/dev/null; true") == ""
    finally:
        for host in away:
            host.reconnect()
            host.open_ssh()
    health = "endpoint health --cluster"
    wait_until("all are together again", lambda: scene.hosts[0].exec_result(f"etcdctl {health}").returncode == 0, 90)
    assert_healthy(scene.hosts)
    etcdctl(scene.hosts[0], "del away probe")


def test_a_snapshot_older_than_what_has_been_compacted(scene: Scene) -> None:
    """No member has the snapshot's revision any more; what was compacted since is there again, under new revisions."""
    scene.hosts[0].exec("for i in $(seq 30); do etcdctl put kept later$i; done")
    newest = revision(scene.hosts[0])
    etcdctl(scene.hosts[0], f"compact {newest}")
    done = scene.restore().json
    assert done["restore"]["revision"] < newest < done["restore"]["base_revision"]
    assert_restored(scene)


def test_three_of_five_that_are_off_and_said_to_be(scene: Scene) -> None:
    """The remaining two become a cluster with the snapshot's data; when the three boot, none of them disturbs it."""
    refresh(scene)
    here, away = scene.hosts[:2], scene.hosts[2:]
    for host in away:
        host.power_cut()
    gone = (*words("--dead", away), *words("--fenced", away))
    done = scene.restore(*gone).json
    assert done["restore"]["dead"] == [host.name for host in away]
    restored = cluster_id(here[0])
    refused = scene.product.run("disaster-restore", "--go-back", "--confirm", "prod-a", *gone)
    assert refused.code == 3, refused.output
    assert "no way back" in refused.output
    for host in away:
        host.boot()
    time.sleep(3)  # for what they would do to it
    members = json.loads(etcdctl(here[0], "member list -w json"))["members"]
    assert sorted(member["name"] for member in members) == [host.name for host in here]
    for host in here:
        assert cluster_id(host) == restored
        assert etcdctl(host, "get kept --print-value-only").strip() == "before"
