"""Every step of a replacement, and of a restore that the others join, killed just before it and just after it.

``pytest tests/e2e/every_replace.py``: too long for every day; :mod:`tests.e2e.test_replace` and
:mod:`tests.e2e.test_rejoin` have a sample with each kind of step.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.etcd.identity import Identity
from tasks.etcd.members import Membership
from tasks.members.plan import Joining, plan_replacement
from tasks.members.record import Replacement
from tasks.members.rejoin import plan_joins, plan_settle
from tasks.members.standing import Standing
from tasks.restore.plan import plan_restore
from tests import etcd_specs as specs
from tests.e2e.conftest import MakeProduct
from tests.e2e.replacing import Trio, assert_rebuilt, form, lose_data
from tests.e2e.restoring import Scene, assert_restored, killed, prepare, refresh
from tests.lab.lab import Lab
from tests.unit.flows.simulation import bare
from tests.unit.restore.scene import record


def _points(steps: list[str]) -> list[str]:
    return [f"{kind}/{step}" for step in dict.fromkeys(steps) for kind in ("start", "done")]


def replacement() -> list[str]:
    """All steps by which etcd-02 is replaced, from the product's own planning."""
    cluster = specs.cluster()
    host, via = cluster.hosts[1], cluster.hosts[0]
    known = Replacement("0" * 16, cluster.name, "uuid", "token", host.name, "2", (), 1.0)
    members = tuple(
        Membership(str(n), one.name, (one.peer_url,), (one.client_url,), False)
        for n, one in enumerate(cluster.hosts, 1)
    )
    seen = Standing(members, ("etcd-01", "etcd-03"), (), (cluster.release.version,), 1)
    joining = Joining(cluster, host, via, Identity("uuid", "token"), "unused", known.data_dir(host))
    return [step.key for step in plan_replacement(joining, bare(cluster, host), known, seen).steps]


def rejoining() -> list[str]:
    """All steps of a restore of etcd-01, which the others join."""
    cluster = specs.cluster()
    facts = {host.name: bare(cluster, host) for host in cluster.hosts}
    known = replace(record(cluster), first="etcd-01")
    joins, settle = plan_joins(cluster, facts, known), plan_settle(cluster, known)
    return [step.key for step in plan_restore(cluster, facts, known, Path("/s.db"), joins=joins, settle=settle).steps]


@pytest.fixture(scope="module")
def trio(lab: Lab, make_product: MakeProduct) -> Trio:
    return form(make_product(), lab.fresh(3))


@pytest.mark.parametrize("point", _points(replacement()))
def test_replacement_killed_at(trio: Trio, point: str) -> None:
    host, before = trio.hosts[1], trio.ids()
    lose_data(host)
    trio.killed(host, point)
    trio.replace(host)
    assert_rebuilt(trio, host, before)


@pytest.fixture(scope="module")
def scene(lab: Lab, make_product: MakeProduct) -> Scene:
    return prepare(make_product(), lab.fresh(3))


@pytest.mark.parametrize("point", _points(rejoining()))
def test_rejoining_killed_at(scene: Scene, point: str) -> None:
    refresh(scene)
    killed(scene, point, "--rejoin")
    scene.restore()
    assert_restored(scene, converged=point == _points(rejoining())[-1])
