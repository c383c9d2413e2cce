"""Every step of a restore, killed or without power in the middle of it, on each host: part of ``make interruptions``.

Too long for every day (about half an hour); :mod:`tests.e2e.test_restore` has a sample with each kind of step.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tasks.restore.plan import plan_restore
from tests import etcd_specs as specs
from tests.e2e.conftest import MakeProduct
from tests.e2e.interruptions import KILLED, POWER, Interrupted, Kind, Record, interrupt
from tests.e2e.product import Done, assert_healthy, cluster_id, etcdctl
from tests.e2e.restoring import UNDER_WAY, Scene, assert_restored, data_dir, prepare, refresh, settled
from tests.lab.lab import Lab
from tests.unit.flows.simulation import bare
from tests.unit.restore.scene import record

#: Where in a step: when half of its data has arrived, or when its first script runs. What has neither is between steps.
WHERE = {
    "record": ("half",),
    "push": ("half",),
    "unpack": ("sent",),
    "hold": ("half", "sent"),
    "switch": ("sent", "half"),
    "start": ("sent",),
    "gate": ("sent",),
    "prove": ("start",),
    "formed": ("half",),
    "finish": ("sent",),
}


def steps() -> list[str]:
    """``HOST/STEP`` of every step of a restore onto three hosts, from the product's own planning."""
    cluster = specs.cluster()
    facts = {host.name: bare(cluster, host) for host in cluster.hosts}
    return [step.key for step in plan_restore(cluster, facts, record(cluster), Path("/snapshot.db")).steps]


POINTS = [f"{kind}/{step}" for step in steps() for kind in WHERE[step.partition("/")[2]]]


@pytest.fixture(scope="module")
def scene(lab: Lab, make_product: MakeProduct) -> Scene:
    return prepare(make_product(), lab.fresh(3), ssh={"connect_timeout": 3})


def begin_anew(scene: Scene) -> None:
    """Have something to lose again; remove the data of earlier restores, for which there is no room in the end."""
    for host in scene.hosts:
        host.exec(f"find /var/lib/etcd -maxdepth 1 -name 'restored-*' ! -path {data_dir(host)} -exec rm -r {{}} +")
    refresh(scene)


def then_restored(run: Interrupted, scene: Scene, note: Record) -> None:
    """Run again, which must end in one healthy cluster with the snapshot's data."""
    began = time.monotonic()
    done = scene.restore(check=False)
    run.note(note, ending(done), time.monotonic() - began)
    assert done.code == 0, done.output
    assert_restored(scene, converged=False)


def ending(done: Done) -> str:
    """How the next run ended, in words."""
    if done.code != 0:
        return f"EXIT {done.code}"
    left = sum(len(phase["steps"]) for phase in done.json["plan"]["phases"])
    return f"restored after {left} steps"


@pytest.mark.parametrize("kind", [KILLED, POWER], ids=lambda kind: str(kind.name))
@pytest.mark.parametrize("point", POINTS)
def test_interrupted_at(scene: Scene, record_property: Record, point: str, kind: Kind) -> None:
    begin_anew(scene)
    words = ("--file", str(scene.file), "--confirm", "prod-a", "--accept", "no-safety-snapshot", "--again")
    run = interrupt(scene.product, scene.hosts, [(point, kind)], *words, flow="disaster-restore")
    if kind is KILLED:
        assert run.done.code == -signal.SIGKILL
        settled(scene)
    then_restored(run, scene, record_property)


def test_every_step_is_known(scene: Scene) -> None:
    """What is enumerated without hosts is what a plan for real ones says, beyond what bare hosts need beside."""
    words = ("--file", str(scene.file), "--plan", "--again")
    plan = scene.product.must("disaster-restore", *words).json["plan"]
    assert [f"{step['host']}/{step['name']}" for phase in plan["phases"] for step in phase["steps"]] == steps()


def test_the_way_back_afterwards(scene: Scene) -> None:
    """Typed, and not without a snapshot of what would be lost, unless that is accepted."""
    begin_anew(scene)
    before = cluster_id(scene.hosts[0])
    scene.restore()
    assert cluster_id(scene.hosts[0]) != before
    assert_restored(scene)
    etcdctl(scene.hosts[0], "put written-since 1")
    back = ("disaster-restore", "--go-back")
    assert scene.product.run(*back).code == 3
    assert "could not be stored" in scene.product.run(*back, "--confirm", "prod-a").output
    scene.product.must(*back, "--confirm", "prod-a", "--accept", "no-safety-snapshot")
    assert_healthy(scene.hosts)
    assert cluster_id(scene.hosts[0]) == before
    assert etcdctl(scene.hosts[0], "get written-since") == ""
    assert scene.hosts[0].exec(f"ls -d {UNDER_WAY} 2>/dev/null; true") == ""
