"""Every step of a bootstrap, and of a change of settings, with every kind of interruption: ``make interruptions``.

Too long for every day (well over half an hour); :mod:`tests.e2e.test_interrupted` has a sample of it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.conftest import MakeProduct
from tests.e2e.interruptions import (
    CUT,
    KILLED,
    KINDS,
    LOST,
    PASSED,
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
from tests.e2e.product import Product
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab

Fresh = Callable[[int], list[LabHost]]


@pytest.fixture(scope="module")
def formed(lab: Lab, make_product: MakeProduct) -> Formed:
    return form(make_product(), lab.fresh(3))


def change(formed: Formed, where: str, kind: Kind, note: Record, *, bad: bool = False) -> None:
    """Interrupt a change of settings at a point, run again, and see that it is in force on all members."""
    formed.change(bad=bad)
    run = interrupt(formed.product, formed.hosts, [(where, kind)])
    if kind is not POWER:
        quiet(formed.hosts)
    if bad:
        formed.change()
    done = then_converges(run, formed.product, note, where.partition("|")[0])
    formed.assert_changed()
    assert_converged(done, formed.hosts, formed.shapes)


#: A change goes from member to member; the last is the leader.
CHANGES = [(member, kind) for member in range(3) for kind in (KILLED, CUT, POWER) if kind is KILLED or member == 2]


@pytest.mark.parametrize("step", ["config", "restart", "gate"])
@pytest.mark.parametrize(("member", "kind"), CHANGES, ids=lambda value: getattr(value, "name", str(value)))
def test_a_change_of_settings(formed: Formed, record_property: Record, member: int, step: str, kind: Kind) -> None:
    name = formed.order_of_change()[member]
    change(formed, f"change {name}|{point(name, step)}", kind, record_property)


@pytest.mark.parametrize("step", ["undo", "restart", "gate"])
def test_a_change_that_is_taken_back(formed: Formed, record_property: Record, step: str) -> None:
    name = formed.order_of_change()[0]
    change(formed, f"take back|{point(name, step)}", KILLED, record_property, bad=True)


#: The last kind differs from a power cut only in what goes on on the host: one host has to do for it.
STEPS = [(step, kind) for step in bare_steps() for kind in KINDS if kind is not LOST or step.startswith("etcd-02/")]


@pytest.mark.parametrize(("step", "kind"), STEPS, ids=lambda value: getattr(value, "name", value))
def test_a_bootstrap(
    formed: Formed, fresh_hosts: Fresh, product: Product, record_property: Record, step: str, kind: Kind
) -> None:
    hosts = fresh_hosts(3)
    product.describe(hosts)
    run = interrupt(product, hosts, [(point(*step.split("/")), kind)])
    before = identities(hosts)
    if kind is not POWER:
        quiet(hosts)
    done = then_converges(run, product, record_property)
    assert_converged(done, hosts, formed.shapes, before)


def test_a_bootstrap_after_its_last_step(
    formed: Formed, fresh_hosts: Fresh, product: Product, record_property: Record
) -> None:
    """Everything is done on all hosts; what the run had yet to do is for the operator."""
    hosts = fresh_hosts(3)
    product.describe(hosts)
    run = interrupt(product, hosts, [("done/*/formed", kind) for kind in (PASSED, PASSED, KILLED)])
    done = then_converges(run, product, record_property)
    assert done.json["plan"]["empty"]
    assert_converged(done, hosts, formed.shapes)
