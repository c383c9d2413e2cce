"""What enable-monitoring returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flows.results import PlannedResult
from tasks.monitoring.proof import Target
from tasks.reporting import plans, tables
from tasks.reporting.tables import Table, table


@dataclass(frozen=True)
class MonitoringResult(PlannedResult):
    """Result of enable-monitoring.

    Args:
        host: The monitoring host; empty for plan-only runs.
        targets: The members as Prometheus sees them at the end.
    """

    host: str = ""
    targets: tuple[Target, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 if a member is not scraped; what else went wrong was raised."""
        return 1 if any(target.state != "up" for target in self.targets) else 0

    @property
    def table(self) -> Table:
        """The members."""
        return table(("member", "metrics", "state"), [(one.member, one.url, one.state) for one in self.targets])

    def as_text(self) -> str:
        """For people."""
        if not self.host:
            return plans.as_text(self.plan)
        head = "done" if self.applied else f"nothing to do: {self.host} already is as the cluster file says"
        return f"{self.plan.cluster}: {head}\n\n{tables.as_text(self.table)}"

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        seen = [{"member": one.member, "url": one.url, "state": one.state} for one in self.targets]
        return {**super().as_json(), "host": self.host, "targets": seen}
