"""Carrying out a restore's plan: the phases in order, a last look before each start, the proof, the clock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from flows.carry_out import Materials, run_plan
from flows.fan_out import on_all
from flows.restore_course import Course
from flows.restore_hooks import run_hooks
from tasks.cluster.spec import Cluster
from tasks.etcd.bootstrap import PEER_HASH_SECONDS, PassGate
from tasks.plan import Phase, Plan
from tasks.reporting.progress import emit
from tasks.restore.actions import Hold, LiftAndStart, Prove, RunHook
from tasks.restore.guard import Seen, refuse_other_data, refuse_restored_data
from tasks.restore.proof import Proof, comparable, demand, next_revision
from tasks.restore.record import Record
from tasks.restore.tasks import look_at_member, prove_member

__all__ = ["Course", "carry_out", "prove"]


def carry_out(plan: Plan, record: Record, materials: Materials, course: Course, *, back: bool = False) -> None:
    """Carry out a plan of a restore, or of its way back.

    Args:
        course: Filled as the run goes on.
        back: Which of the two.

    Raises:
        Refused: A member may run the wrong data; none was started.
        GateFailed: A member does not get well, or the proof fails.
        EtcdFlowsError: What failed, and where.
    """
    for phase in plan.phases:
        began = time.monotonic()
        actions = [step.action for step in phase.steps]
        if any(isinstance(action, Hold) for action in actions) and course.stopped_at is None:
            course.stopped_at = began
        if any(isinstance(action, LiftAndStart) for action in actions):
            _look_first(materials.cluster, record, back=back)
        if any(isinstance(action, RunHook) for action in actions):
            run_hooks(phase, materials, course, "" if back else record.id)
        elif any(isinstance(action, Prove) for action in actions):
            course.proofs = prove(phase, record, materials)
            course.proven_at = time.monotonic()
        else:
            run_plan(replace(plan, phases=(phase,), notes=()), materials)
        ended = time.monotonic()
        if any(isinstance(action, PassGate) for action in actions) and course.writable_at is None:
            course.writable_at = ended
        course.phases.append((phase.name, ended - began))


def _look_first(cluster: Cluster, record: Record, *, back: bool) -> None:
    names = [host.name for host in cluster.hosts]
    seen: Mapping[str, Seen] = on_all(
        names, lambda name: look_at_member.submit(cluster.host(name)), "looking at the members"
    )
    (refuse_restored_data if back else refuse_other_data)(cluster, record, seen)


def prove(phase: Phase, record: Record, materials: Materials) -> tuple[Proof, ...]:
    """Read and write through each member; compare what all hold.

    Raises:
        GateFailed: They are not one cluster with the snapshot's data.
    """
    cluster = materials.cluster
    materials.lock.check()
    emit("phase", phase.name)
    seconds = cluster.etcd.start_timeout + PEER_HASH_SECONDS * (len(cluster.hosts) - 1)
    began = time.monotonic()
    for step in phase.steps:
        emit("start", step.summary, host=step.host, step=step.name)
    revision, proofs = record.base_revision, _ask(cluster, seconds, record.base_revision)
    for _ in range(3):
        if comparable(proofs):
            break
        # Clients have compacted beyond it already: a later revision shows as well that all hold the same.
        revision = next_revision(proofs)
        emit("info", f"clients have compacted beyond revision {record.base_revision}: compared is {revision}")
        proofs = _ask(cluster, seconds, revision)
    demand(record, proofs)
    for step in phase.steps:
        emit("done", step.summary, host=step.host, step=step.name, seconds=time.monotonic() - began)
    return proofs


def _ask(cluster: Cluster, seconds: float, revision: int) -> tuple[Proof, ...]:
    names = [host.name for host in cluster.hosts]
    found = on_all(names, lambda n: prove_member.submit(cluster.host(n), seconds, revision), "proving the members")
    return tuple(found[name] for name in names)
