"""What enable-monitoring returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from flows.results import PlannedResult
from tasks.cluster.secrets import Secret
from tasks.monitoring.proof import Target
from tasks.reporting import plans, tables
from tasks.reporting.tables import Table, table


class Grafana:
    """What whoever looks at Grafana has to know. Not a dataclass on purpose: Prefect looks into those.

    Args:
        url: Where it is reached on the monitoring host.
        password_file: Where on the worker the password is kept.
        password: Only of the run that made it; it is shown this once, and to people alone.
    """

    __slots__ = ("_password", "password_file", "url", "user")

    def __init__(self, url: str, user: str, password_file: str, password: Secret | None) -> None:
        self.url, self.user, self.password_file = url, user, password_file
        self._password = password

    def as_text(self) -> str:
        """For people, without the password: of a deployed run this is stored."""
        return f"Grafana is at {self.url} on that host; log in as {self.user}, the password is in {self.password_file}"

    @property
    def shown_once(self) -> str:
        """The password, of the run that made it."""
        return f"its password, shown this once: {self._password.reveal()}" if self._password else ""

    def as_json(self) -> dict[str, str]:
        """Without the password, as that output is often kept."""
        return {"url": self.url, "user": self.user, "password_file": self.password_file}


@dataclass(frozen=True)
class MonitoringResult(PlannedResult):
    """Result of enable-monitoring.

    Args:
        host: The monitoring host; empty for plan-only runs.
        targets: The members as Prometheus sees them at the end.
        grafana: None where none is asked for.
    """

    host: str = ""
    targets: tuple[Target, ...] = ()
    grafana: Grafana | None = None

    @property
    def exit_code(self) -> int:
        """1 if a member is not scraped or not healthy; what else went wrong was raised."""
        return 0 if all(target.good for target in self.targets) else 1

    @property
    def table(self) -> Table:
        """The members."""
        rows = [(one.member, one.url, one.state, one.health or "not asked") for one in self.targets]
        return table(("member", "metrics", "state", "health"), rows)

    @property
    def shown_once(self) -> str:
        """What only the terminal gets to see, and only now; empty if there is nothing like that."""
        return self.grafana.shown_once if self.grafana else ""

    def as_text(self) -> str:
        """For people."""
        if not self.host:
            return f"{self.plan.cluster}: not watched any more" if self.applied else plans.as_text(self.plan)
        head = "done" if self.applied else f"nothing to do: {self.host} already is as the cluster file says"
        shown = f"\n\n{self.grafana.as_text()}" if self.grafana else ""
        text = f"{self.plan.cluster}: {head}\n\n{tables.as_text(self.table)}{shown}"
        return "\n".join([text, *plans.notes(self.plan)])

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        seen = [asdict(one) for one in self.targets]
        grafana = self.grafana.as_json() if self.grafana else None
        return {**super().as_json(), "host": self.host, "targets": seen, "grafana": grafana}
