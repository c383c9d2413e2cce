"""What verify-snapshots returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tasks.errors import EtcdFlowsError
from tasks.reporting import tables
from tasks.reporting.human import duration, plural, size
from tasks.reporting.tables import Table, table
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.due import Due
from tasks.snapshots.verify import Verified


@dataclass(frozen=True)
class Look:
    """What became of one copy; of `found` and `error` there is at most one, neither if it was removed meanwhile."""

    entry: CatalogEntry
    found: Verified | None = None
    error: EtcdFlowsError | None = None

    @property
    def wrong(self) -> bool:
        """Whether it is bad, or could not be looked at."""
        return self.error is not None or bool(self.found and self.found.bad)

    @property
    def words(self) -> str:
        """For people."""
        if self.error is not None:
            return f"not opened: {self.error.message}"
        if self.found is None:
            return "removed meanwhile"
        contents = self.found.contents
        if self.found.bad or contents is None:
            return f"BAD: {self.found.bad}"
        keys = "keys not counted" if contents.keys is None else plural(contents.keys, "key")
        return f"opened: revision {contents.revision}, {keys}"

    @property
    def remedy(self) -> str:
        """What to do; empty if nothing."""
        if self.error is not None:
            return self.error.remedy or ""
        return self.found.remedy if self.found else ""

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        found = self.found
        return {
            "snapshot": self.entry.id,
            "store": self.entry.store,
            "ok": found is not None and not found.bad,
            "bad": found.bad if found else "",
            "error": self.error.message if self.error else "",
            "remedy": self.remedy,
            "contents": asdict(found.contents) if found and found.contents else None,
            "seconds": round(found.seconds, 3) if found else 0.0,
        }


@dataclass(frozen=True)
class VerifyResult:
    """Result of verify-snapshots.

    Args:
        due: What there was to open.
        looks: What was looked at, in that order; none for plan-only runs.
        applied: Whether the plan was carried out.
        failed: Stores that could not be read.
        seconds: All in all.
    """

    cluster: str
    due: Due
    looks: tuple[Look, ...] = ()
    applied: bool = True
    failed: Mapping[str, EtcdFlowsError] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """1 if a copy is bad or could not be looked at, or a store could not be read."""
        return 1 if self.failed or any(look.wrong for look in self.looks) else 0

    @property
    def left(self) -> int:
        """Copies that a later run opens."""
        return len(self.due.chosen) + len(self.due.waiting) - len(self.looks)

    def table(self) -> Table:
        """One row a copy: what became of it, or in a plan that it is to be opened."""
        if not self.applied:
            rows = [(entry.id, entry.store, size(entry.manifest.db_bytes), "to open") for entry in self.due.chosen]
            return table(("snapshot", "store", "database", "result"), rows)
        rows = [
            (look.entry.id, look.entry.store, size(look.entry.manifest.db_bytes), look.words) for look in self.looks
        ]
        return table(("snapshot", "store", "database", "result"), rows)

    def as_text(self) -> str:
        """For people."""
        shown = self.table()
        lines = [tables.as_text(shown), ""] if shown.rows else []
        lines += [
            f"{look.entry.id} in {look.entry.store}: {look.words}\n  what to do: {look.remedy}"
            for look in self.looks
            if look.wrong and look.remedy
        ]
        lines += [f"FAILED: {name}: {error}" for name, error in self.failed.items()]
        if self.due.locked:
            lines.append(f"note: no key at hand opens {plural(len(self.due.locked), 'other')}")
        return "\n".join([*lines, self._verdict()])

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        return {
            "cluster": self.cluster,
            "applied": self.applied,
            "chosen": [{"snapshot": entry.id, "store": entry.store} for entry in self.due.chosen],
            "verified": [look.as_json() for look in self.looks],
            "left": self.left,
            "locked": len(self.due.locked),
            "failed": {name: error.message for name, error in self.failed.items()},
            "seconds": round(self.seconds, 3),
        }

    def _verdict(self) -> str:
        if not self.applied:
            later = f", {len(self.due.waiting)} for later runs" if self.due.waiting else ""
            count = len(self.due.chosen)
            return f"{self.cluster}: {_copies(count)} to open{later}" if count else f"{self.cluster}: nothing to do"
        if not self.looks:
            return f"{self.cluster}: nothing to do{': no store was read' if self.failed else ''}"
        wrong = sum(look.wrong for look in self.looks)
        good = sum(look.found is not None and not look.wrong for look in self.looks)
        left = f"; {_copies(self.left)} left for later runs" if self.left else ""
        return f"{self.cluster}: {_copies(good)} good, {wrong} not, in {duration(self.seconds)}{left}"


def _copies(count: int) -> str:
    return "1 copy" if count == 1 else f"{count} copies"
