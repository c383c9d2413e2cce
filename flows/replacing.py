"""Carrying out a plan that changes who the members are: phases in order, the quorum seen before each change."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from flows.carry_out import Materials, run_plan
from flows.fan_out import gather, on_all
from tasks.cluster.spec import Cluster, Host
from tasks.errors import GateFailed
from tasks.etcd.tasks import ask_member, view_member
from tasks.members.actions import ChangesMembership, Compare
from tasks.members.proof import Held, comparable, demand_same, same
from tasks.members.standing import standing
from tasks.members.tasks import hash_of_member
from tasks.plan import Phase, Plan
from tasks.reporting.progress import emit

#: How often hashes are asked again that can't be compared yet, and seconds in between.
_TRIES, _PAUSE = 10, 1.0


def carry_out(plan: Plan, member: Host, materials: Materials) -> list[tuple[str, float]]:
    """Carry out a replacement.

    Args:
        member: The host of the member that is replaced.

    Returns:
        Name and seconds of each phase.

    Raises:
        GateFailed: A member does not get well, or the members do not hold the same.
        EtcdFlowsError: What failed, and where.
    """
    took = []
    for phase in plan.phases:
        began = time.monotonic()
        run_phase(phase, plan, member, materials)
        took.append((phase.name, time.monotonic() - began))
    return took


def run_phase(phase: Phase, plan: Plan, member: Host, materials: Materials) -> None:
    """Carry out one phase of it."""
    actions = [step.action for step in phase.steps]
    if any(isinstance(action, ChangesMembership) for action in actions):
        materials.lock.check()
        demand_quorum(materials.cluster, member)
    if any(isinstance(action, Compare) for action in actions):
        materials.lock.check()
        compare(phase, materials.cluster)
    else:
        run_plan(replace(plan, phases=(phase,), notes=()), materials)


def demand_quorum(cluster: Cluster, member: Host) -> None:
    """See, right before a change, that the others have a quorum without the member.

    Raises:
        GateFailed: They have none.
    """
    names = [host.name for host in cluster.hosts if host.name != member.name]
    views, _ = gather({name: view_member.submit(cluster.host(name)) for name in names})
    seen = standing(cluster, views)
    if seen is None or len(seen.others(member)) < seen.quorum:
        raise GateFailed(
            f"the others have no quorum without {member.name} at this moment, so no member is removed or added",
            state="members stay as they are",
            remedy="see to the others (check-cluster); then run it again: it goes on from here",
        )


def compare(phase: Phase, cluster: Cluster) -> None:
    """Compare what the members of a phase hold.

    Raises:
        GateFailed: Not the same.
    """
    emit("phase", phase.name)
    began = time.monotonic()
    hosts = [cluster.host(step.host) for step in phase.steps]
    for step in phase.steps:
        emit("start", step.summary, host=step.host, step=step.name)
    demand_same(hashes(hosts))
    for step in phase.steps:
        emit("done", step.summary, host=step.host, step=step.name, seconds=time.monotonic() - began)


def hashes(hosts: Sequence[Host]) -> tuple[Held, ...]:
    """What members hold at the newest revision that all of them have; asked again as long as that can't be compared."""
    held: tuple[Held, ...] = ()
    by_name = {host.name: host for host in hosts}
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE)
        statuses = on_all(by_name, lambda name: ask_member.submit(by_name[name]), "asking the members")
        revision = min(status.revision for status in statuses.values())
        held = _at(by_name, revision)
        if comparable(held):
            break
    return held


def _at(hosts: Mapping[str, Host], revision: int) -> tuple[Held, ...]:
    found = on_all(hosts, lambda name: hash_of_member.submit(hosts[name], revision), "comparing the members")
    return tuple(found[name] for name in hosts)


def differs(member: Host, others: Sequence[Host]) -> bool:
    """Whether a member that answers holds other data than the others, which agree."""
    held = hashes([*others, member])
    return comparable(held) and not same(held) and same(held[:-1])
