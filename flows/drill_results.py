"""What restore-drill returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tasks.reporting import tables
from tasks.reporting.human import duration, plural, size
from tasks.reporting.tables import Table, table
from tasks.reporting.trend import Point, draw
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.drill import Drilled
from tasks.snapshots.marks import Mark

_SHOWN = 10
_DRAWN = 100


@dataclass(frozen=True)
class Past:
    """A drill that is on record."""

    at: datetime
    snapshot: str
    db_bytes: int
    mark: Mark


@dataclass(frozen=True)
class DrillResult:
    """Result of restore-drill.

    Args:
        unrecorded: Why it is not written down; empty if it is.
        past: Earlier drills, the newest first.
        rto: Seconds that a restore may take, None where that is not set.
        at: When it ended, UTC.
        untold: Why Prometheus was not told of it; empty if it was, or is not to be.
    """

    cluster: str
    entry: CatalogEntry
    drilled: Drilled
    unrecorded: str
    past: tuple[Past, ...] = ()
    rto: float | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    untold: str = ""

    @property
    def exit_code(self) -> int:
        """1 if the snapshot is bad."""
        return 1 if self.drilled.bad else 0

    def as_text(self) -> str:
        """For people."""
        drilled = self.drilled
        took = table(("phase", "took"), [(name, duration(seconds)) for name, seconds in drilled.phases])
        head = f"{self.cluster}: snapshot {drilled.snapshot} of {drilled.store} "
        if drilled.bad:
            return f"{head}is BAD: {drilled.bad}\n  what to do: {drilled.remedy}"
        place = f" on {drilled.machine}" if drilled.machine else ""
        lines = [f"{head}was restored{place} and is good, in {duration(drilled.seconds)}", "", tables.as_text(took), ""]
        if drilled.contents:
            keys = "its keys can't be counted (users and passwords are on)"
            if drilled.contents.keys is not None:
                keys = f"{plural(drilled.contents.keys, 'key')}, {drilled.read} of them read with their values"
            lines.append(f"  revision {drilled.contents.revision}, hash {drilled.contents.hash}; {keys}")
        if self.rto is not None:
            kept = "within" if drilled.seconds <= self.rto else "LONGER THAN"
            lines.append(f"  {kept} the {duration(self.rto)} that a restore may take")
        if self.untold:
            lines.append(f"  warning: Prometheus was not told: {self.untold}")
        if self.past:
            lines += ["", "earlier drills:", tables.as_text(self.history(), indent="  ")]
        return "\n".join(lines)

    def picture(self) -> str:
        """How long this drill took, and those before it, a hundred at most, as SVG."""
        points = [Point(past.at, past.mark.seconds, past.mark.ok, past.snapshot) for past in self.past[: _DRAWN - 1]]
        points.append(Point(self.at, self.drilled.seconds, not self.drilled.bad, self.drilled.snapshot))
        return draw(points, f"Restore drills of {self.cluster}: from the first byte to the proof", self.rto)

    def drills(self) -> Table:
        """The present one and those before it, the newest first."""
        drilled, manifest = self.drilled, self.entry.manifest
        result = f"BAD: {drilled.bad}" if drilled.bad else "good"
        bytes_of = size(manifest.db_bytes) if manifest else ""
        now = (f"{self.at:%Y-%m-%d %H:%M}", drilled.snapshot, bytes_of, duration(drilled.seconds), result)
        earlier = self.history()
        return table(earlier.headings, [now, *earlier.rows])

    def history(self) -> Table:
        """Earlier drills, the newest first, at most ten."""
        rows = [
            (
                f"{past.at:%Y-%m-%d %H:%M}",
                past.snapshot,
                size(past.db_bytes),
                duration(past.mark.seconds),
                "good" if past.mark.ok else f"BAD: {past.mark.reason}",
            )
            for past in self.past[:_SHOWN]
        ]
        return table(("when (UTC)", "snapshot", "size", "took", "result"), rows)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        drilled = self.drilled
        contents = drilled.contents
        return {
            "cluster": self.cluster,
            "snapshot": drilled.snapshot,
            "store": drilled.store,
            "machine": drilled.machine,
            "good": not drilled.bad,
            "bad": drilled.bad,
            "remedy": drilled.remedy,
            "revision": contents.revision if contents else None,
            "hash": contents.hash if contents else None,
            "keys": contents.keys if contents else None,
            "keys_read": drilled.read,
            "seconds": round(drilled.seconds, 3),
            "phases": [{"phase": name, "seconds": round(seconds, 3)} for name, seconds in drilled.phases],
            "recorded": not self.unrecorded,
            "rto_seconds": self.rto,
            "untold": self.untold,
        }
