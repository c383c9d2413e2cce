"""The way back from a restore: the members get their former settings and data again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from flows import restore_notes
from flows.approval import ask
from flows.carry_out import Materials
from flows.locking import Locked, cluster_lock
from flows.members import answering, publish_members, watch_members
from flows.observe import observe_all, observe_certificates
from flows.report import publish_plan
from flows.restore_draft import Request
from flows.restore_report import back_ended_badly, command_of, look_beside, publish_restore
from flows.restore_results import RestoreResult
from flows.restore_safety import safety_snapshot
from flows.restoring import Course, carry_out
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, LockLost, Refused
from tasks.hosts.facts import HostFacts
from tasks.plan import Plan
from tasks.reporting.progress import emit
from tasks.restore.back import plan_back, record_to_take_back
from tasks.restore.record import Record
from tasks.restore.stand import may_have_served, stands


@dataclass(frozen=True)
class _Way:
    """The way back as hosts were found.

    Args:
        served: Whether clients may have written to what was restored.
    """

    record: Record
    served: bool
    plan: Plan

    def same(self, other: _Way) -> bool:
        """Whether that is what was shown."""
        return (self.record.id, self.served, self.plan.digest) == (other.record.id, other.served, other.plan.digest)


def take_back(cluster: Cluster, facts: Mapping[str, HostFacts], request: Request, *, plan_only: bool) -> RestoreResult:
    """Take the restore that is under way, or the last one, back. If it may have served, that is stored first.

    Where a person has to say yes, hours may pass: a way back that has become another one is asked about again.

    Raises:
        Refused: There is none, or no way back; or the hosts have changed since the plan was shown.
    """
    shown, why_again = _draw_up(cluster, facts), ""
    publish_plan(shown.plan)
    if plan_only:
        return RestoreResult(shown.plan, applied=False)
    claimed = (request.requested_by, request.reason)
    while True:
        if request.asking is not None:
            given = ask(shown.plan, request.asking, why_again)
            claimed = (given.requested_by or request.requested_by, given.reason)
        with cluster_lock(cluster, "disaster-restore") as locked:
            now = _draw_up(cluster, locked.facts)
            if now.same(shown):
                return _carry_out(cluster, now, locked, request.accept, claimed)
        publish_plan(now.plan)
        if request.asking is None:
            raise Refused(
                "the hosts have changed since the plan was shown", state="nothing was changed", remedy="run it again"
            )
        shown, why_again = now, "The hosts have changed since the plan was approved, and so has the plan."


def _draw_up(cluster: Cluster, facts: Mapping[str, HostFacts]) -> _Way:
    record = record_to_take_back(cluster, facts)
    served = may_have_served(record, stands(cluster, facts, record))
    notes = [f"restore {record.id[:8]} of {record.snapshot} is taken back: the former data serves again"]
    if served:
        notes.append("what was written since the restore is lost to clients; it is stored as a snapshot first")
    return _Way(record, served, plan_back(cluster, facts, record, notes))


def _carry_out(
    cluster: Cluster, way: _Way, locked: Locked, accept: Collection[str], claimed: tuple[str, str]
) -> RestoreResult:
    record, course = way.record, Course()
    answers = way.served and bool(answering(cluster, locked.facts))
    safety = safety_snapshot(cluster, locked, accept) if answers else ""
    try:
        carry_out(way.plan, record, Materials(cluster, {}, None, locked.lock), course, back=True)
    except EtcdFlowsError as error:
        back_ended_badly(error, course, record, command_of(cluster, "--go-back", accept=accept))
        restore_notes.failed(cluster, record, error)
        raise
    restore_notes.ended(cluster, record, "taken back", None, claimed=claimed)
    seen = observe_certificates(cluster)
    members = watch_members(cluster)
    table = publish_members(cluster, members, seen)
    beside = look_beside(cluster, seen)
    result = RestoreResult(way.plan, True, record, True, course, members, table, safety, beside)
    publish_restore(result)
    return result


def went_back(error: EtcdFlowsError, course: Course, record: Record, materials: Materials) -> bool:
    """Take a restore back that failed after members were stopped and before any client could have written to it.

    Only where the old members could decide before, and all can be reached; what came of it is said in the error.

    Returns:
        Whether the members run on their former data again.
    """
    cluster = materials.cluster
    if isinstance(error, LockLost) or course.stopped_at is None or not record.had_quorum:
        return False
    try:
        facts = observe_all(cluster)
        if may_have_served(record, stands(cluster, facts, record)):
            return False
        emit("warning", f"the restore fails ({error}) and is taken back: nobody can have written to it yet")
        way = Course()
        carry_out(plan_back(cluster, facts, record), record, materials, way, back=True)
    except EtcdFlowsError as second:
        emit("warning", f"it could not be taken back: {second}")
        return False
    restore_notes.ended(cluster, record, "taken back", None)
    error.state = "the restore was taken back: the members run on their former data, as before"
    for name, why in way.hooks_failed.items():
        emit("warning", f"hook {name} failed {why}; run it by hand")
    return True
