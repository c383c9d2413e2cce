"""What prune-snapshots returns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from tasks.errors import EtcdFlowsError
from tasks.plan import Plan
from tasks.reporting import plans, tables
from tasks.reporting.human import age, plural, size
from tasks.reporting.tables import Table, table
from tasks.snapshots.prune import Review
from tasks.snapshots.retention import Decision

#: Rows of a table for people; ``--json`` has all.
ROWS = 200
#: Columns for what is wrong with a snapshot; `snapshots show` tells all of it.
NOTE = 60

_WORDS = {"keep": "stays", "remove": "goes", "later": "locked"}


@dataclass(frozen=True)
class PruneResult:
    """Result of prune-snapshots.

    Args:
        plan: What was to go.
        reviews: Of all stores that answered.
        applied: Whether the plan was carried out.
        removed: Ids of what is gone, by store.
        swept: What uploads that were cut off had left, by store.
        failed: Stores that could not be looked at or worked on.
    """

    plan: Plan
    reviews: tuple[Review, ...]
    applied: bool
    removed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    swept: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failed: Mapping[str, EtcdFlowsError] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """1 if a store failed; the others were pruned all the same."""
        return 1 if self.failed else 0

    def as_text(self) -> str:
        """For people: what goes, what stays, and why."""
        lines = [f"note: {note}" for note in self.plan.notes]
        for review in self.reviews:
            lines += ["", f"{review.store} ({review.catalog.where}): {self._count(review)}"]
            shown = decisions_table(review, self.removed.get(review.store, ()))
            if shown.rows:
                lines.append(tables.as_text(shown, indent="  "))
            if len(review.decisions.all) > ROWS:
                lines.append(f"  ... and {len(review.decisions.all) - ROWS} older; --json shows all")
            lines += [
                f"  {step.summary} ({step.why})"
                for step in self.plan.steps
                if step.host == review.store and step.name in review.orphans
            ]
            lines += [f"  swept: {what}" for what in self.swept.get(review.store, ())]
        for store, error in self.failed.items():
            lines += ["", f"{store}: {error}"]
        return "\n".join([*lines, "", self._verdict()]).lstrip("\n")

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        return {
            "plan": plans.as_json(self.plan),
            "applied": self.applied,
            "stores": [
                {
                    "store": review.store,
                    "where": review.catalog.where,
                    "snapshots": [decision_json(review, decision) for decision in review.decisions.all],
                    "orphans": sorted(review.orphans),
                    "removed": list(self.removed.get(review.store, ())),
                    "swept": list(self.swept.get(review.store, ())),
                }
                for review in self.reviews
            ],
            "failed": {store: error.message for store, error in self.failed.items()},
        }

    def _count(self, review: Review) -> str:
        going = review.decisions.of("remove")
        freed = size(sum(review.sizes.get(decision.id, 0) for decision in going))
        will = "went" if self.applied else "to go"
        parts = [f"{len(going)} {will} ({freed})" if going else f"none {will}"]
        if later := review.decisions.of("later"):
            parts.append(f"{len(later)} locked, to go later")
        return f"{plural(len(review.decisions.all), 'snapshot')}, {', '.join(parts)}"

    def _verdict(self) -> str:
        cluster = self.plan.cluster
        if not self.applied:
            steps = self.plan.steps
            todo = (
                f"{plural(len(steps), 'thing')} to remove (plan {self.plan.digest[:12]})" if steps else "nothing to do"
            )
            return f"{cluster}: {todo}"
        gone = sum(len(ids) for ids in self.removed.values())
        return f"{cluster}: {plural(gone, 'removal')} done" + (
            f"; {', '.join(self.failed)} failed" if self.failed else ""
        )


def decisions_table(review: Review, removed: Collection[str] = ()) -> Table:
    """What happens to each snapshot of a store, the newest first.

    Args:
        removed: Ids of those that went.
    """
    rows = [
        (
            "gone" if d.id in removed else _WORDS[d.verdict],
            d.id,
            _age(review, d),
            size(review.sizes.get(d.id, 0)),
            _why(d),
        )
        for d in review.decisions.all[:ROWS]
    ]
    return table(("", "snapshot", "age", "size", "why"), rows)


def decision_json(review: Review, decision: Decision) -> dict[str, Any]:
    """One decision for ``--json``."""
    return {
        "id": decision.id,
        "taken": decision.candidate.taken.isoformat(),
        "verdict": decision.verdict,
        "reasons": list(decision.reasons),
        "locked_until": decision.until.isoformat() if decision.until else None,
        "bytes": review.sizes.get(decision.id, 0),
    }


def _why(decision: Decision) -> str:
    if decision.candidate.unsound and decision.verdict == "keep" and not decision.candidate.pinned:
        return f"goes only by name: {shorten(decision.candidate.unsound, NOTE, placeholder=' ...')}"
    locked = f"; locked until {decision.until:%Y-%m-%d %H:%M} UTC" if decision.until else ""
    return ", ".join(decision.reasons) + locked


def _age(review: Review, decision: Decision) -> str:
    return age((review.looked - decision.candidate.taken).total_seconds())
