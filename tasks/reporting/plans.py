"""A plan as text, Markdown and JSON."""

from __future__ import annotations

from typing import Any

from tasks.plan import Phase, Plan, Step
from tasks.reporting.human import plural
from tasks.reporting.tables import Table, table
from tasks.reporting.tables import as_markdown as as_table


def as_text(plan: Plan) -> str:
    """The plan for a terminal: what, where, why, and what changes."""
    if plan.empty:
        return "\n".join([f"{plan.cluster}: nothing to do, the hosts are as the cluster file says.", *notes(plan)])
    count = f"{plural(len(plan.steps), 'step')} on {plural(len({step.host for step in plan.steps}), 'host')}"
    lines = [f"{plan.flow} {plan.cluster}: {count} (plan {plan.digest[:12]})", *notes(plan)]
    for number, phase in enumerate(plan.phases, 1):
        together = len(phase.hosts) > 1
        lines.append(f"{number}. {phase.name}" + (f"  [{len(phase.hosts)} hosts at once]" if together else ""))
        for step in phase.steps:
            lines.extend(_step_lines(step))
        if phase.undo:
            lines.append("   if it does not get healthy, its former settings are put back and the run stops")
    return "\n".join(lines)


def notes(plan: Plan) -> list[str]:
    """What people should know of it, a line each."""
    return [f"note: {note}" for note in plan.notes]


def _step_lines(step: Step) -> list[str]:
    why = f"  ({step.why})" if step.why else ""
    return [f"   {step.host}: {step.summary}{why}", *(f"      {change}" for change in step.changes)]


def as_markdown(plan: Plan, place: str = "host") -> str:
    """The plan for Prefect's artifact view.

    Args:
        place: What its steps are on.
    """
    if plan.empty:
        return "\n".join([f"{plan.cluster}: nothing to do", *notes(plan)]) if place != "host" else as_text(plan)
    lines = [f"# {plan.flow} {plan.cluster}", "", *(f"* {note}" for note in plan.notes), ""]
    for number, phase in enumerate(plan.phases, 1):
        lines += ["", f"## {number}. {phase.name}", "", as_table(_steps(phase, place))]
        changes = [f"{step.host}: {change}" for step in phase.steps for change in step.changes]
        if changes:
            lines += ["", "```diff", *changes, "```"]
    return "\n".join([*lines, "", f"Plan digest `{plan.digest}`"])


def _steps(phase: Phase, place: str) -> Table:
    """Without reasons where no step has one: the view is narrow."""
    if any(step.why for step in phase.steps):
        return table((place, "step", "why"), [(step.host, step.summary, step.why) for step in phase.steps])
    return table((place, "step"), [(step.host, step.summary) for step in phase.steps])


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan for machines; keys are stable."""
    return {
        "flow": plan.flow,
        "cluster": plan.cluster,
        "digest": plan.digest,
        "empty": plan.empty,
        "notes": list(plan.notes),
        "phases": [
            {
                "name": phase.name,
                "steps": [
                    {
                        "host": step.host,
                        "name": step.name,
                        "summary": step.summary,
                        "why": step.why,
                        "changes": list(step.changes),
                    }
                    for step in phase.steps
                ],
            }
            for phase in plan.phases
        ],
    }
