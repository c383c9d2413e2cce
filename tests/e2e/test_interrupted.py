"""Interrupted anywhere, run again: one healthy cluster with one identity, and nothing half-done is left.

Here are samples with each kind of step and each kind of interruption, several to a run, or one after the other on the
same hosts. :mod:`tests.e2e.every_interruption` takes every step by itself, on hosts of its own.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.e2e.conftest import MakeProduct
from tests.e2e.interruptions import (
    CUT,
    KILLED,
    LOST,
    POWER,
    Formed,
    Kind,
    Record,
    assert_converged,
    bare_steps,
    form,
    identities,
    interrupt,
    point,
    quiet,
    then_converges,
)
from tests.e2e.product import Product, assert_healthy
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab

Fresh = Callable[[int], list[LabHost]]
#: Steps of a host in the order of the plan.
STEPS = ("account", "release", "pki", "config", "start", "gate", "formed")


@pytest.fixture(scope="module")
def formed(lab: Lab, make_product: MakeProduct) -> Formed:
    return form(make_product(), lab.fresh(3))


# --- a change of settings, on one cluster -----------------------------------------------------------------------------


def test_a_change_that_is_killed_again_and_again(formed: Formed, record_property: Record) -> None:
    """In the middle of each kind of step, on whichever member that is."""
    formed.change()
    for step in ("config", "restart", "gate"):
        run = interrupt(formed.product, formed.hosts, [(f"change|{point('*', step)}", KILLED)])
        assert run.done.code == -signal.SIGKILL
        quiet(formed.hosts)
        if step == "gate":
            done = then_converges(run, formed.product, record_property, "change")
        else:
            run.note(record_property, "killed again", 0, "change")
    formed.assert_changed()
    assert_converged(done, formed.hosts, formed.shapes)


def test_a_change_that_is_cut_goes_on_until_it_loses_the_leader(formed: Formed, record_property: Record) -> None:
    """Connections to the first member are cut in each kind of step; the leader's power in the middle of its restart."""
    formed.change()
    first, _, leader = formed.order_of_change()
    points = [(f"change {first}|{point(first, step)}", CUT) for step in ("config", "restart", "gate")]
    points.append((f"change {leader}|{point(leader, 'restart')}", POWER))
    run = interrupt(formed.product, formed.hosts, points)
    assert run.done.code == 1, run.done.output
    assert {error["host"] for error in run.done.errors} == {leader}
    assert f"putting {leader}'s former settings back failed" in run.done.errors[0]["state"]
    assert f"bring {leader} back" in run.done.errors[0]["remedy"]
    done = then_converges(run, formed.product, record_property, "change")
    formed.assert_changed()
    assert_converged(done, formed.hosts, formed.shapes)


def test_a_change_that_is_killed_while_it_is_taken_back(formed: Formed, record_property: Record) -> None:
    formed.change(bad=True)
    run = interrupt(formed.product, formed.hosts, [(f"take back|{point('*', 'undo')}", KILLED)])
    assert run.done.code == -signal.SIGKILL
    quiet(formed.hosts)
    formed.change()
    done = then_converges(run, formed.product, record_property, "take back")
    formed.assert_changed()
    assert_converged(done, formed.hosts, formed.shapes)


# --- a bootstrap ------------------------------------------------------------------------------------------------------


def test_every_step_is_known(fresh_hosts: Fresh, product: Product) -> None:
    """What is enumerated without hosts is what the plan for real ones says."""
    product.describe(fresh_hosts(3))
    plan = product.bootstrap("--plan").json["plan"]
    assert [f"{step['host']}/{step['name']}" for phase in plan["phases"] for step in phase["steps"]] == bare_steps()
    assert {step.partition("/")[2] for step in bare_steps()} == set(STEPS)


def test_cut_in_every_step_it_goes_on_by_itself(
    formed: Formed, fresh_hosts: Fresh, product: Product, record_property: Record
) -> None:
    hosts = fresh_hosts(3)
    product.describe(hosts)
    run = interrupt(product, hosts, [(point("*", step), CUT) for step in STEPS])
    assert run.done.code == 0, run.done.output
    assert {hit.step.partition("/")[2] for hit in run.hits} == set(STEPS)
    done = then_converges(run, product, record_property)
    assert done.json["plan"]["empty"]
    assert_converged(done, hosts, formed.shapes)


def test_killed_in_every_step(formed: Formed, fresh_hosts: Fresh, product: Product, record_property: Record) -> None:
    """Each run takes over from the one killed before it, and is killed a step later, on the first host there."""
    hosts, before = fresh_hosts(3), []
    product.describe(hosts)
    for step in STEPS:
        run = interrupt(product, hosts, [(point("*", step), KILLED)])
        assert run.done.code == -signal.SIGKILL
        quiet(hosts)
        before += identities(hosts)
        if step != STEPS[-1]:
            run.note(record_property, "killed a step later", 0)
    done = then_converges(run, product, record_property)
    assert_converged(done, hosts, formed.shapes, before)


#: For each run on the same hosts, what is done to the first host, and to the second, that is in the middle of a step.
TOGETHER: tuple[tuple[tuple[str, Kind], ...], ...] = (
    (("account", POWER), ("release", POWER), ("pki", POWER)),
    (("config", POWER), ("config", LOST)),
    (("start", POWER), ("start", LOST)),
    (("gate", LOST), ("gate", POWER)),
    (("formed", POWER), ("formed", LOST)),
)


def test_hosts_that_go_away_in_every_step(
    formed: Formed, fresh_hosts: Fresh, product: Product, record_property: Record
) -> None:
    """Each run loses two or three hosts, is told which, and has them back before the next one."""
    hosts, before = fresh_hosts(3), []
    product.describe(hosts)
    for number, lost in enumerate(TOGETHER, 1):
        run = interrupt(product, hosts, [(point("*", step), kind) for step, kind in lost])
        assert run.done.code == 1, run.done.output
        # A gate may have answered before its connection was cut, and has passed then.
        sure = {hit.host.name for hit in run.hits if hit.kind is not LOST or not hit.step.endswith("/gate")}
        assert sure <= {error["host"] for error in run.done.errors}
        before += identities(hosts)
        if number < len(TOGETHER):
            run.note(record_property, "loses hosts a step later", 0)
    done = then_converges(run, product, record_property)
    assert_converged(done, hosts, formed.shapes, before)


def test_a_member_that_could_not_start_is_no_lost_one(fresh_hosts: Fresh, product: Product) -> None:
    """Something keeps it down: the run fails and names it; when that is gone, the same command ends what was begun."""
    hosts = fresh_hosts(3)
    product.describe(hosts, etcd={"start_timeout": 20})
    broken = "/etc/systemd/system/etcd.service.d/broken.conf"
    hosts[2].write(broken, "[Service]\nExecStartPre=/bin/false\n")
    failed = product.run("bootstrap-cluster")
    assert failed.code == 1, failed.output
    (error,) = failed.errors
    assert error["host"] == "etcd-03"
    assert "does not stay up" in error["message"]
    assert all(host.exec_result("test -e /var/lib/etcd-flows/formed.json").returncode == 1 for host in hosts)
    hosts[2].exec(f"rm -r $(dirname {broken}) && systemctl daemon-reload")
    product.bootstrap()
    assert_healthy(hosts)
