"""What replace-member returns, for people and for machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flows.results import PlannedResult, member_json
from tasks.etcd.members import MemberStatus
from tasks.members.record import Replacement
from tasks.reporting import plans, tables
from tasks.reporting.tables import Table, table


@dataclass(frozen=True)
class ReplaceResult(PlannedResult):
    """Result of replace-member.

    Args:
        member: Its name.
        record: Of the replacement; None for a plan alone.
        phases: Name and seconds of each.
        seconds: Of all, the lock included.
        members: At the end; empty for a plan alone.
        table: The members as people want to see them.
    """

    member: str = ""
    record: Replacement | None = None
    phases: tuple[tuple[str, float], ...] = ()
    seconds: float = 0.0
    members: tuple[MemberStatus, ...] = ()
    table: Table | None = None

    def as_text(self) -> str:
        """For people."""
        if not self.applied or self.table is None:
            return plans.as_text(self.plan)
        took = table(("phase", "seconds"), [(name, f"{seconds:.1f}") for name, seconds in self.phases])
        head = f"{self.plan.cluster}: {self.member} was rebuilt in {self.seconds:.1f} s and is a full member"
        return "\n".join([head, "", tables.as_text(self.table), "", tables.as_text(took)])

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        record = self.record
        return {
            **super().as_json(),
            "member": self.member,
            "replacement": None if record is None else {"id": record.id, "old_id": record.old_id},
            "members": [member_json(member) for member in self.members],
            "timeline": [{"phase": name, "seconds": round(seconds, 3)} for name, seconds in self.phases],
        }
