"""What an alert rule is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True)
class Rule:
    """One alert.

    Args:
        alert: Its name; rules of the same name differ in severity. The heading of its text in ``docs/alerts.md``.
        expr: PromQL; fires for every series that it gives.
        held: How long that has to be so, in Prometheus's notation: ``2m``.
        severity: ``critical``: clients suffer, or data is at risk, now. ``warning``: they will unless somebody acts.
            ``info``: worth knowing on a working day.
        summary: One line; labels as ``{{ $labels.member }}``.
        description: What is known, with the numbers.
    """

    alert: str
    expr: str
    held: str
    severity: Severity
    summary: str
    description: str

    def as_data(self, runbooks: str, patience: float = 1.0) -> dict[str, Any]:
        """The rule as Prometheus reads it.

        Args:
            runbooks: Where the text about all alerts is to be found.
            patience: What :attr:`held` is multiplied by.
        """
        return {
            "alert": self.alert,
            "expr": self.expr,
            "for": self.held if patience == 1 else times(self.held, patience),
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbooks}#{self.alert.lower()}",
            },
        }


_SECONDS = {"s": 1, "m": 60, "h": 3600}


def times(held: str, patience: float) -> str:
    """A multiple of a duration, in whole milliseconds, as Prometheus reads it."""
    return f"{round(int(held[:-1]) * _SECONDS[held[-1]] * patience * 1000)}ms"


#: The job under which members are scraped.
JOB = "etcd"
#: The job under which what the flows know is scraped: node_exporter's textfile collector.
OWN_JOB = "etcd-flows"


def selector(cluster: str, *matchers: str, job: str = JOB) -> str:
    """Braces with what selects the series of that cluster's members; names hold nothing that PromQL would escape."""
    return "{" + ", ".join((f'job="{job}"', f'cluster="{cluster}"', *matchers)) + "}"


def own(cluster: str, name: str, *matchers: str) -> str:
    """What the flows tell of that cluster.

    Args:
        name: Of a metric in :mod:`tasks.monitoring.own_families`, without the prefix.
    """
    return f"etcd_flows_{name}{selector(cluster, *matchers, job=OWN_JOB)}"
