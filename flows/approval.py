"""A person's yes in Prefect's UI: the run stands still with a form, and goes on only if the cluster's name was typed.

This is for runs of a deployment, which nobody has typed a confirmation for. No lock is held and no connection is open
while it waits (rule); whoever is asked may take an hour. Prefect's open-source server knows no users, so who says yes
and why is recorded as claimed.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.input import RunInput
from prefect.runtime import deployment, flow_run
from prefect.states import Running
from pydantic import Field, create_model

from flows.pausing import pause_for
from flows.report import artifact_key
from tasks.errors import Refused
from tasks.hosts.shell import close_all
from tasks.plan import Plan
from tasks.reporting.human import plural
from tasks.reporting.progress import emit


class Approval(RunInput):
    """The form."""

    cluster: str = Field(title="Cluster's name", description="Typed, it means yes. To say no, cancel the run.")
    reason: str = Field(min_length=1, title="Why")
    requested_by: str = Field(default="", title="Who you are")


@dataclass(frozen=True)
class Asking:
    """That a person has to be asked.

    Args:
        seconds: How long to wait for the answer, from each time on that a plan is shown; then it is no.
        requested_by: What the form begins with.
        reason: What the form begins with.
    """

    seconds: float
    requested_by: str
    reason: str


def asking(confirm: str, seconds: float, requested_by: str, reason: str) -> Asking | None:
    """Whether somebody has to be asked: a deployment runs, and no name was typed for it.

    Args:
        confirm: What was typed for the run.
        seconds: See :class:`Asking`.
    """
    if confirm or not deployment.id:
        return None
    return Asking(seconds, requested_by, reason)


def ask(plan: Plan, whom: Asking, why_again: str = "") -> Approval:
    """Show the plan and wait for the yes; another name than the cluster's is asked about again.

    Args:
        why_again: Said if this was asked before.

    Raises:
        Refused: Nobody said yes in time.
    """
    until = time.monotonic() + whom.seconds
    close_all()
    while True:
        given = _answer(plan, whom, until, why_again)
        if given.cluster.strip() == plan.cluster:
            emit("info", f"approved by {given.requested_by or 'somebody who gave no name'}: {given.reason}")
            return given
        why_again = f"{given.cluster!r} was typed, which is not this cluster's name."
        emit("warning", f"not approved: {why_again}")


def _answer(plan: Plan, whom: Asking, until: float, why_again: str) -> Approval:
    left = math.ceil(until - time.monotonic())
    if left > 0:
        most = plural(max(1, left // 60), "minute")
        emit("info", f"waiting for an approval in Prefect's UI: Resume, in the menu at the top right; {most} at most")
        try:
            return pause_for(_form(whom, _described(plan, why_again)), left)
        except FlowPauseTimeout:
            _end_pause()
    raise Refused(
        "nobody approved the plan in time, which means no",
        state="nothing was changed on any host",
        remedy=f"look at the plan, then run again and approve it, or give the parameter confirm: {plan.cluster}",
    )


def _form(whom: Asking, description: str) -> type[Approval]:
    """The form, begun with what is known; Prefect's own way to do that loses the fields' titles."""
    fields = Approval.model_fields
    known: dict[str, Any] = {}
    if whom.reason:
        known["reason"] = (str, Field(default=whom.reason, min_length=1, title=fields["reason"].title))
    if whom.requested_by:
        known["requested_by"] = (str, Field(default=whom.requested_by, title=fields["requested_by"].title))
    return create_model("Approval", __base__=Approval, **known).with_initial_data(description=description)


def _end_pause() -> None:
    """Have the run run again, so that it can end with its own words; to a paused one Prefect would give others."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(str(flow_run.id)), Running(), force=True)


def _described(plan: Plan, why_again: str) -> str:
    hosts = plural(len({step.host for step in plan.steps}), "host")
    lines = [f"**{plan.flow}: {plan.cluster}**, {plural(len(plan.steps), 'step')} on {hosts}", ""]
    if why_again:
        lines = [f"**{why_again}**", "", *lines]
    lines += [f"* {note}" for note in plan.notes]
    lines += ["", *(f"{number}. {phase.name}" for number, phase in enumerate(plan.phases, 1)), ""]
    key = artifact_key(f"{plan.flow}-plan", plan.cluster)
    return "\n".join([*lines, f"Every step stands in the artifact `{key}`. Plan digest `{plan.digest[:12]}`."])
