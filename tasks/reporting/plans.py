"""A plan as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tasks.plan import Phase, Plan, Step
from tasks.reporting.human import plural
from tasks.reporting.markdown import bullets, code, joined


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
    """The plan for Prefect's artifact view: lists, whose lines break where the view ends.

    Args:
        place: What its steps are on.
    """
    head = f"# {plan.flow} {plan.cluster}"
    if plan.empty:
        as_wanted = ": the hosts are as the cluster file says" if place == "host" else ""
        return joined(head, f"Nothing to do{as_wanted}.", bullets(plan.notes))
    count = f"{plural(len(plan.steps), 'step')} on {plural(len({step.host for step in plan.steps}), place)}."
    phases = [part for number, phase in enumerate(plan.phases, 1) for part in _phase(number, phase, place)]
    return joined(head, count, bullets(plan.notes), *phases, f"Plan digest {code(plan.digest)}")


def _phase(number: int, phase: Phase, place: str) -> Iterator[str]:
    count = len(phase.hosts)
    yield f"## {number}. {phase.name}" + (f" ({plural(count, place)} at once)" if count > 1 else "")
    alike: dict[tuple[tuple[str, str, tuple[str, ...]], ...], list[str]] = {}
    for host in phase.hosts:
        todo = tuple((step.summary, step.why, tuple(step.changes)) for step in phase.of(host))
        alike.setdefault(todo, []).append(host)
    for todo, hosts in alike.items():
        yield "\n".join(_of_hosts(", ".join(hosts), todo))
    if phase.undo:
        yield "If it does not get healthy, its former settings are put back and the run stops."


def _of_hosts(hosts: str, todo: Sequence[tuple[str, str, tuple[str, ...]]]) -> Iterator[str]:
    """What is done on hosts on which the same is done."""
    alone = len(todo) == 1
    if not alone:
        yield f"* **{hosts}**"
    for number, (summary, why, changes) in enumerate(todo, 1):
        yield (f"* **{hosts}**: " if alone else f"  {number}. ") + summary + (f" *({why})*" if why else "")
        yield from (f"{'  ' if alone else '     '}* {code(change)}" for change in changes)


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
