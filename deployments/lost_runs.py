"""Automations for runs whose worker is gone: Prefect's server ends them, or has another worker take them up again.

A run of a deployment tells the server every 30 seconds that it is alive. If a worker's machine goes
away, nobody else says of its runs that they ended: they stay "Running", and the deployment takes no other run. These
automations notice the silence after :data:`SILENT`, as long as a dead run's lock lives on the hosts.

All of them become crashed first, since that is what Prefect's server refuses for a run that has ended (source:
``HandleFlowTerminalStateTransitions``), whereas it would let a completed one be scheduled anew. That matters: the event
of its end may be lost, or overtake its last sign of life, and then silence follows though all is well (seen on a busy
machine: backups that were complete were taken up again, and called failed or cancelled in the end).

Which runs are then taken up again stands in :data:`deployments.declared.OFFERED`: those that change no host. It stays
the same run, so it enters its own lock (:func:`tasks.hosts.lock.decide`); should its first process live after all, that
process has lost the lock. All others end as crashed: whether to go on with a restore is for a person to say. How its
cluster stands then is found out, and written on the run, by a flow of its own (:class:`CutOff`). A run that lives
after all, since only the server or the whole machine stood still, puts its state right (:mod:`flows.alive`), and an
event of its own tells so. The alarm does not wait for that: on SQLite the server may lose any event that it would wait
for, and one alarm too many does less harm than one too few.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, DoNothing, RunDeployment, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from deployments.declared import OFFERED, TAG
from flows.alive import LOST, TAKEN_UP
from flows.events import TOLD_BY
from flows.restore_cancelled import HOOK

#: After so long without one a run counts as lost: four beats.
SILENT = timedelta(minutes=2)
#: A worker that took a run needs some seconds to start it, on a busy machine many.
NOT_STARTED = timedelta(minutes=5)

_TAG: dict[str, str | list[str]] = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
_BODY = "{{ flow_run.name }} (run {{ flow_run.id }}): its worker was not heard of any more; "
_UNLESS = ". If it lives after all, it says so within a minute"


@dataclass(frozen=True)
class Lost:
    """One automation.

    Args:
        name: As Prefect shows it.
        after: Events that something has to follow.
        within: How long that may take.
        flows: Prefect's names of the flows that it is for.
        state: What such a run becomes.
        state_name: How that is called in the UI.
        message: Why, for people.
        reporter: Deployment of the flow that finds out how things stand; None: nobody is to.
    """

    name: str
    after: frozenset[str]
    within: timedelta
    flows: tuple[str, ...]
    state: StateType
    state_name: str
    message: str
    reporter: UUID | None = None

    def trigger(self) -> EventTrigger:
        """As Prefect wants it: any event of the run counts as a sign of life."""
        return EventTrigger(
            type="event",
            posture=Posture.Proactive,
            within=self.within,
            after=set(self.after),
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=_of(self.flows),
            for_each={"prefect.resource.id"},
            threshold=1,
        )

    def actions(self, block: Any) -> list[ChangeFlowRunState | RunDeployment | SendNotification]:
        """What is done about it, and who is told."""
        change = ChangeFlowRunState(
            type="change-flow-run-state", state=self.state, name=self.state_name, message=self.message, force=False
        )
        done: list[ChangeFlowRunState | RunDeployment | SendNotification] = [change]
        if self.reporter:
            done.append(_report(self.reporter, "{{ flow_run.id }}"))
        if block:
            told = SendNotification(
                type="send-notification",
                block_document_id=block,
                subject="A run of etcd-flows was lost",
                body=self.body,
            )
            done.append(told)
        return done

    @property
    def body(self) -> str:
        """Of the message, a Jinja template of Prefect's."""
        return f"{_BODY}{self.message}{_UNLESS}"

    def version(self, notify: str) -> str:
        """Changes whenever anything of it does."""
        words = {name: sorted(value) if name == "after" else str(value) for name, value in vars(self).items()}
        return hashlib.sha256(json.dumps([words, self.body, notify]).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class TakenUp:
    """After a run was lost that may be repeated unasked: have it scheduled again.

    Args:
        name: As Prefect shows it.
        flows: Prefect's names of the flows that it is for.
        message: Why, for people.
    """

    name: str
    flows: tuple[str, ...]
    message: str = "its worker went away; the next one that is free takes it up"

    def trigger(self) -> EventTrigger:
        """As Prefect wants it."""
        return EventTrigger(
            type="event",
            posture=Posture.Reactive,
            within=timedelta(0),
            expect={f"prefect.flow-run.{LOST}"},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=_of(self.flows),
            for_each={"prefect.resource.id"},
            threshold=1,
        )

    def actions(self, _block: Any) -> list[ChangeFlowRunState]:
        """The run waits for a worker."""
        return [
            ChangeFlowRunState(
                type="change-flow-run-state",
                state=StateType.SCHEDULED,
                name=TAKEN_UP,
                message=self.message,
                force=False,
            )
        ]

    def version(self, notify: str) -> str:
        """Changes whenever anything of it does."""
        return hashlib.sha256(json.dumps([*map(str, vars(self).values()), notify]).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class CutOff:
    """After a restore whose end a hook has seen: have it written on the run how its cluster stands.

    It goes by our own event, not by the run's states: on SQLite Prefect's server may lose one of those, and then keeps
    back all later ones of that run for a quarter of an hour (seen with 3.8.8).

    Args:
        name: As Prefect shows it.
        reporter: Deployment of the flow that does; None while it is not registered.
    """

    name: str
    reporter: UUID | None

    def trigger(self) -> EventTrigger:
        """As Prefect wants it."""
        return EventTrigger(
            type="event",
            posture=Posture.Reactive,
            within=timedelta(0),
            expect={"etcd-flows.restore.interrupted"},
            match=ResourceSpecification({"prefect.resource.id": "etcd-flows.cluster.*", TOLD_BY: HOOK}),
            for_each={"prefect.resource.id"},
            threshold=1,
        )

    def actions(self, _block: Any) -> list[RunDeployment | DoNothing]:
        """The flow is started."""
        if self.reporter is None:
            return [DoNothing(type="do-nothing")]
        return [_report(self.reporter, "{{ event.payload['run'] }}")]

    def version(self, notify: str) -> str:
        """Changes whenever anything of it does."""
        return hashlib.sha256(json.dumps([self.name, str(self.reporter), notify]).encode()).hexdigest()[:12]


def _of(flows: tuple[str, ...]) -> list[ResourceSpecification | dict[str, str | list[str]]]:
    """Runs of these flows of ours."""
    flow: dict[str, str | list[str]] = {"prefect.resource.role": "flow", "prefect.resource.name": list(flows)}
    return [ResourceSpecification(flow), ResourceSpecification(_TAG)]


def _report(reporter: UUID, run: str) -> RunDeployment:
    return RunDeployment(
        type="run-deployment",
        source="selected",
        deployment_id=reporter,
        parameters={"run": {"__prefect_kind": "jinja", "template": run}},
        job_variables=None,
    )


def lost_runs(
    prefix: str, silent: timedelta = SILENT, not_started: timedelta = NOT_STARTED, *, reporter: UUID | None = None
) -> tuple[Lost | TakenUp, ...]:
    """The automations for all flows.

    Args:
        prefix: Begins their names.
        reporter: See :class:`Lost`.
        silent: See :data:`SILENT`.
        not_started: See :data:`NOT_STARTED`.
    """
    again = tuple(each.flow for each in OFFERED if each.again)
    ended = tuple(each.flow for each in OFFERED if not each.again)
    running = frozenset({"prefect.flow-run.heartbeat", "prefect.flow-run.Running"})
    pending = frozenset(f"prefect.flow-run.{name}" for name in ("Pending", "Submitting", "InfrastructurePending"))
    cancelling = frozenset({"prefect.flow-run.Cancelling"})
    repeat = (again, StateType.CRASHED, LOST, "its worker went away; another one takes it up again")
    crash = (
        ended,
        StateType.CRASHED,
        "Crashed",
        "its worker went away; run it again: it carries on",
        reporter,
    )
    lost = "its worker went away while it was being cancelled"
    cancel = (again + ended, StateType.CANCELLED, "Cancelled", lost, reporter)
    return (
        Lost(f"{prefix}lost run: taken up again", running, silent, *repeat),
        Lost(f"{prefix}lost run: crashed", running, silent, *crash),
        Lost(f"{prefix}lost run: cancelled", cancelling, silent, *cancel),
        Lost(f"{prefix}run not started: taken up again", pending, not_started, *repeat),
        Lost(f"{prefix}run not started: crashed", pending, not_started, *crash),
        TakenUp(f"{prefix}lost run: scheduled again", again),
    )
