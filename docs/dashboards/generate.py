"""Writes the dashboards that are shipped: ``python -m docs.dashboards.generate``; a test compares."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from docs.dashboards import backup, latency, member, overview
from docs.dashboards.panels import SOURCE, Panel
from tasks.monitoring.rule import JOB, selector

PLACE = Path(__file__).resolve().parents[2] / "tasks" / "monitoring" / "dashboards"
_TAG = "etcd-flows"


@dataclass(frozen=True)
class Board:
    """A dashboard.

    Args:
        name: Of its file, and its address in Grafana.
        sections: Headings and what stands below them.
        choose: Members that can be chosen: none, one, or some of them.
    """

    name: str
    title: str
    description: str
    sections: Sequence[tuple[str, Sequence[Panel]]]
    choose: str = "none"


def boards() -> tuple[Board, ...]:
    """All dashboards."""
    return (
        Board("etcd-cluster", "etcd: cluster", "A cluster at a glance.", overview.sections()),
        Board("etcd-member", "etcd: member", "One member in detail.", member.sections(), "one"),
        Board("etcd-latency", "etcd: disk and network", "How fast disks and network are.", latency.sections(), "some"),
        Board(
            "etcd-backup",
            "etcd: backup and recovery",
            "What would be lost, and how long a restore would take, as the flows tell.",
            backup.sections(),
        ),
    )


def _choice(name: str, label: str, chooser: str, *, several: bool = False) -> builders.QueryVariable:
    words = f"label_values(up{chooser}, {name})"
    variable = (
        builders.QueryVariable(name)
        .label(label)
        .description(f"the {name}s that Prometheus scrapes")
        .datasource(SOURCE)
        .query({"qryType": 1, "query": words, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(several)
        .include_all(several)
    )
    return variable.current(models.VariableOption(True, ["All"], ["$__all"])) if several else variable


def _rendered(board: Board) -> str:
    made = (
        builders.Dashboard(board.title)
        .uid(board.name)
        .description(board.description)
        .tags(["etcd", _TAG])
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            builders.DashboardLink("etcd")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_choice("cluster", "Cluster", f'{{job="{JOB}"}}'))
    )
    if board.choose != "none":
        made = made.with_variable(_choice("member", "Member", selector("$cluster"), several=board.choose == "some"))
    for heading, panels in board.sections:
        made = made.with_row(builders.Row(heading))
        for panel in panels:
            made = made.with_panel(panel)
    built = made.build()
    for number, placed in enumerate(built.panels or [], 1):
        placed.id_val = number
    # What the library says of intervals in every variable is unknown to Grafana's own schema.
    for variable in (built.templating and built.templating.list_val) or []:
        variable.auto = variable.auto_min = variable.auto_count = None
    return json.dumps(built, cls=JSONEncoder, indent=1, ensure_ascii=False) + "\n"


def files() -> dict[str, str]:
    """All dashboards as Grafana reads them, by file name."""
    return {f"{board.name}.json": _rendered(board) for board in boards()}


def main() -> None:
    """Write what is shipped."""
    PLACE.mkdir(exist_ok=True)
    for name, text in files().items():
        (PLACE / name).write_text(text)


if __name__ == "__main__":
    main()
