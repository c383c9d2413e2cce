"""What disaster-restore returns, for people and for machines."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flows.members import IN_SHORT
from flows.restoring import Course
from flows.results import PlannedResult, member_json
from tasks.etcd.members import MemberStatus
from tasks.reporting import plans, tables
from tasks.reporting.human import age
from tasks.reporting.markdown import bullets, joined, narrow
from tasks.reporting.tables import Table, table
from tasks.restore.proof import Proof
from tasks.restore.record import BOOTSTRAP, Record
from tasks.restore.repeated import Ended


@dataclass(frozen=True)
class RestoreResult(PlannedResult):
    """Result of disaster-restore.

    Args:
        record: Of the restore.
        back: Whether it was taken back.
        course: When what happened; None for a plan alone.
        members: At the end; empty for a plan alone.
        table: The members as people want to see them.
        safety: Id of the snapshot that was taken of what the members held before; empty if none was.
        ended: The restore that ended before, of which this run would have been a repetition; None if it was none.
        old_dirs: Data that lies beside the present, as ``HOST: DIRECTORY (SIZE)``.
    """

    record: Record | None = None
    back: bool = False
    course: Course | None = None
    members: tuple[MemberStatus, ...] = ()
    table: Table | None = None
    safety: str = ""
    old_dirs: tuple[str, ...] = ()
    ended: Ended | None = None

    @property
    def exit_code(self) -> int:
        """1 if a hook failed after the cluster was proven; else 0, since what went wrong was raised."""
        return 1 if self.course is not None and self.course.hooks_failed else 0

    def as_text(self) -> str:
        """For people."""
        if self.ended is not None and self.table is not None:
            head = _already(self.plan.cluster, self.ended)
            return "\n".join([head, "", tables.as_text(self.table), "", *self._hooks(), _ONCE_MORE])
        if self.record is None or self.course is None or self.table is None:
            return plans.as_text(self.plan)
        head = f"{self.plan.cluster}: the restore was taken back" if self.back else restored(self.record)
        lines = [head, "", tables.as_text(self.table), "", tables.as_text(timeline(self.course))]
        rto = _rto(self.course, back=self.back, new=self.record.flow == BOOTSTRAP)
        lines += [said for said in (rto, *self._beside(), *self._hooks()) if said]
        return "\n".join(lines)

    def as_markdown(self) -> str:
        """The report of a restore that was carried out."""
        title = f"# Restore of {self.plan.cluster}"
        if self.record is None or self.course is None or self.table is None:
            return f"{title}\n\n{self.as_text()}\n"
        head = "the restore was taken back" if self.back else restored(self.record)
        rto = _rto(self.course, back=self.back, new=self.record.flow == BOOTSTRAP)
        who, why = self.record.requested_by or "somebody who gave no name", self.record.reason or "no reason given"
        asked = "" if self.back or self.record.flow == BOOTSTRAP else f"asked for by {who}: {why}"
        said = [line for line in (*head.splitlines(), asked, rto, *self._hooks()) if line]
        members, phases = narrow(self.table, *IN_SHORT), narrow(timeline(self.course))
        parts = [bullets(said), "## Members", members, "## Timeline", phases, bullets(self._beside())]
        return joined(title, *parts)

    def _hooks(self) -> list[str]:
        if self.course is None or not self.course.hooks_failed:
            return []
        failed = [f"hook {name} FAILED {why}" for name, why in self.course.hooks_failed.items()]
        then = "run it by hand" if self.back else "the same command runs what failed once more, and nothing else"
        return [*failed, f"the cluster serves all the same; {then}"]

    def _beside(self) -> list[str]:
        lines = [f"what was there before is stored as snapshot {self.safety}"] if self.safety else []
        if self.old_dirs:
            lines += ["data beside the present, untouched; remove it when it is surely not needed any more:"]
            lines += [f"  {line}" for line in self.old_dirs]
        return lines

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        record, course = self.record, self.course
        return {
            **super().as_json(),
            "taken_back": self.back,
            "already_restored": self.ended is not None,
            "restore": None if record is None else record_json(record),
            "members": [member_json(member) for member in self.members],
            "proof": [] if course is None else [proof_json(proof) for proof in course.proofs],
            "timeline": [] if course is None else [{"phase": n, "seconds": round(s, 3)} for n, s in course.phases],
            "seconds_until_writable": None if course is None else course.since_stop(course.writable_at),
            "seconds_until_proven": None if course is None else course.since_stop(course.proven_at),
            "safety_snapshot": self.safety,
            "hooks_failed": {} if course is None else dict(course.hooks_failed),
            "old_data": list(self.old_dirs),
        }


_ONCE_MORE = "to restore it once more, which loses what clients have written since: the same with --again"


def _already(cluster: str, ended: Ended) -> str:
    ago = age(max(0.0, time.time() - ended.at))
    return f"{cluster}: restored at {ended.when} ({ago} ago) from {ended.record.snapshot}, healthy since: nothing to do"


def record_json(record: Record) -> dict[str, Any]:
    """A record for ``--json``."""
    return {
        "id": record.id,
        "snapshot": record.snapshot,
        "sha256": record.sha256,
        "revision": record.revision,
        "bump": record.bump,
        "base_revision": record.base_revision,
        "keys": record.keys,
        "members": [name for name, _ in record.members],
        "dead": list(record.dead),
        "uuid": record.uuid,
        "of_cluster": record.of_cluster,
        "of_uuid": record.of_uuid,
        "clone": record.clone,
    }


def proof_json(proof: Proof) -> dict[str, Any]:
    """What one member said, for ``--json``."""
    return {
        "member": proof.name,
        "revision": proof.revision,
        "hash": proof.hash,
        "compact_revision": proof.compact_revision,
        "keys": proof.keys,
        "cluster_id": proof.status.cluster_id,
    }


def restored(record: Record) -> str:
    """What was restored, in two lines."""
    taken = f"{datetime.fromtimestamp(record.taken, UTC):%Y-%m-%d %H:%M:%S} UTC"
    left_out = f"; {', '.join(record.dead)} left out" if record.dead else ""
    raised = f", raised by {record.bump}: clients begin at {record.base_revision}" if record.bump else ", NOT raised"
    if record.clone:
        raised = f"; a clone of {record.of_cluster or 'unknown origin'}, with an identity of its own ({record.uuid})"
    what = "made" if record.flow == BOOTSTRAP else "restored"
    head = f"{record.cluster}: {what} from {record.snapshot} (taken {taken}){left_out}"
    return f"{head}\nrevision {record.revision}{raised}"


def timeline(course: Course) -> Table:
    """How long each phase took."""
    return table(("phase", "seconds"), [(name, f"{seconds:.1f}") for name, seconds in course.phases])


def _rto(course: Course, *, back: bool, new: bool) -> str:
    writable, proven = course.since_stop(course.writable_at), course.since_stop(course.proven_at)
    if writable is None:
        return ""
    since = "this run began" if new else "the stop began"
    said = f"clients could write {writable:.1f} s after {since}"
    return said if back or proven is None else f"{said}; proven after {proven:.1f} s"
