"""The table of interruptions that runs have survived, kept as a file. Imports nothing of the product."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPORTS = Path(__file__).parents[2] / "build/reports"
PROPERTY = "interruption"
_WHOLE = "/every_"
WHAT = {
    "killed": "the run is killed with SIGKILL",
    "cut": "the host's SSH sessions are cut, new ones are let in",
    "lost": "the host's SSH sessions are cut, new ones are refused until the run has ended",
    "power cut": "the host loses its power, and is booted when the run has ended",
}


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Args:
        flow: That was interrupted.
        step: ``host/step``, after its phase where the step occurs in several.
        kind: What was done in the middle of it.
        said: How the interrupted run ended.
        rerun: How the next one ended.
        seconds: That both took, boot included.
    """

    flow: str
    step: str
    kind: str
    said: str
    rerun: str
    seconds: float


def write_report(reporter: Any) -> list[str]:
    """Write down what all tests have recorded, whichever process they ran in; returns lines for the terminal."""
    reports = [report for name in ("passed", "failed") for report in reporter.stats.get(name, [])]
    kept = [(report, value) for report in reports for name, value in report.user_properties if name == PROPERTY]
    failed = sum(PROPERTY in dict(report.user_properties) for report in reporter.stats.get("failed", []))
    # A report of its own for each phase of a test carries the same properties; only that of its end counts.
    rows = {tuple(value.items()): (Row(**value), _WHOLE in report.nodeid) for report, value in kept}
    lines = []
    for flow, whole in sorted({(row.flow, whole) for row, whole in rows.values()}):
        mine = [row for row, of_whole in rows.values() if (row.flow, of_whole) == (flow, whole)]
        path = REPORTS / f"interruptions-{flow}{'' if whole else '-sample'}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_table(flow, mine, whole, failed))
        lines.append(f"{flow}: {_figures(mine, failed)}; see {path}")
    return lines


def _figures(rows: list[Row], failed: int) -> str:
    counts = Counter(row.kind for row in rows)
    by_kind = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    alone = sum(row.said.startswith("done") for row in rows)
    bad = f"; {failed} TESTS FAILED" if failed else ""
    return f"{len(rows)} interruptions ({by_kind}), {alone} survived without another run{bad}"


def _table(flow: str, rows: list[Row], whole: bool, failed: int) -> str:
    scope = "Steps of the plan, each by itself" if whole else "A sample (`make interruptions` does every step)"
    lines = [f"# Interruptions of {flow}", "", f"{scope}: {_figures(rows, failed)}.", ""]
    lines += [f"- {name}: {what}" for name, what in WHAT.items()]
    lines += ["", "Each came in the middle of the step; the next run had to end with one healthy cluster.", ""]
    lines += ["| step | interruption | how that run ended | the next run | seconds |", "|---|---|---|---|---:|"]
    for row in rows:
        said = row.said.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {row.step} | {row.kind} | {said} | {row.rerun} | {row.seconds:.0f} |")
    return "\n".join(lines) + "\n"
