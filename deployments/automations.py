"""Automations: what somebody is told of without looking: backups that fail, do not come or do not open, bad
drills, ill clusters.

They listen to the events of :mod:`flows.events`. "Backup missed" waits for the event of a whole backup, so it also
speaks up when no worker runs, when the schedule was paused, or when a backup reaches only some of the stores. Those
that see to lost runs stand in :mod:`deployments.lost_runs`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import DoNothing, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from deployments.at_once import Tell, each_of
from deployments.declared import Change, changes
from deployments.lost_runs import CutOff, Lost, TakenUp, lost_runs
from tasks.cluster.spec import Cluster
from tasks.errors import InputError
from tasks.snapshots.schedule import allowed

#: Begins the names of our automations; others are never touched.
PREFIX = "etcd-flows: "
_PAGE = 200


@dataclass(frozen=True)
class Declared:
    """One automation.

    Args:
        name: As Prefect shows it.
        expect: The event.
        resource: Whose; may end in ``*``.
        missing: None: tells when the event comes. Else: tells when it has not come for so long.
        subject: Of the message.
        body: Of the message, a Jinja template of Prefect's.
    """

    name: str
    expect: str
    resource: str
    missing: timedelta | None
    subject: str
    body: str

    def trigger(self) -> EventTrigger:
        """As Prefect wants it."""
        # Spelled out, since Prefect's client sends changes without what was left at its default.
        return EventTrigger(
            type="event",
            posture=Posture.Reactive if self.missing is None else Posture.Proactive,
            within=self.missing or timedelta(0),
            expect={self.expect},
            match=ResourceSpecification({"prefect.resource.id": self.resource}),
            # Prefect waits for what never came before only where nothing has to be told apart.
            for_each={"prefect.resource.id"} if self.missing is None else set(),
            threshold=1,
        )

    def actions(self, block: Any) -> list[DoNothing | SendNotification]:
        """Whom is told, if there is a block."""
        if not block:
            return [DoNothing(type="do-nothing")]
        told = SendNotification(type="send-notification", block_document_id=block, subject=self.subject, body=self.body)
        return [told]

    def version(self, notify: str) -> str:
        """Changes whenever anything of it does."""
        text = json.dumps([*map(str, vars(self).values()), notify])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


_TELLS = "{{ event.resource['prefect.resource.name'] }}: {{ event.payload | tojson }}"
_STANDS = "{{ event.resource['prefect.resource.name'] }}, {{ event.payload['state'] }}: {{ event.payload['how'] }}"
_LIVES = (
    "{{ event.resource['prefect.resource.name'] }}: {{ event.payload['name'] }} (run {{ event.payload['run'] }}) was "
    "taken for lost, but lives: it is {{ event.payload['state'] }} again"
)
#: Those that need no cluster's name: their name, the event, subject and body of the message.
ALWAYS = (
    ("restore cut off", "etcd-flows.restore.interrupted", "An etcd restore was cut off", _STANDS),
    ("run lives", "etcd-flows.run.lives", "A run that was taken for lost lives", _LIVES),
    ("restore failed", "etcd-flows.restore.failed", "An etcd restore failed", _TELLS),
    ("backup failed", "etcd-flows.snapshot.failed", "An etcd backup failed", _TELLS),
    ("drill failed", "etcd-flows.drill.failed", "A restore drill failed", _TELLS),
    ("verification failed", "etcd-flows.verification.failed", "A stored etcd backup is bad, or was not opened", _TELLS),
    ("cluster unhealthy", "etcd-flows.cluster.unhealthy", "An etcd cluster is unhealthy", _TELLS),
)


#: Any of them.
Automatic = Declared | Lost | TakenUp | CutOff


def declared(clusters: Mapping[str, Cluster], reporter: UUID | None) -> tuple[Automatic, ...]:
    """All automations for these clusters.

    Args:
        reporter: Deployment of the flow that tells how things stand; None while it is not registered.
    """
    every: list[Automatic] = [*lost_runs(PREFIX, reporter=reporter)]
    every.append(CutOff(f"{PREFIX}restore cut off: written on its run", reporter))
    every += [
        Declared(f"{PREFIX}{name}", event, "etcd-flows.cluster.*", None, subject, body)
        for name, event, subject, body in ALWAYS
    ]
    for cluster in sorted(clusters.values(), key=lambda each: each.name):
        schedule = cluster.snapshots.schedule
        if schedule and cluster.snapshots.stores:
            every.append(missed(cluster.name, allowed(schedule)))
    return tuple(every)


def missed(cluster: str, within: timedelta) -> Declared:
    """Speaks up when a cluster had no whole backup for so long."""
    return Declared(
        f"{PREFIX}backup missed: {cluster}",
        "etcd-flows.snapshot.completed",
        f"etcd-flows.cluster.{cluster}",
        within,
        f"No etcd backup of {cluster}",
        f"{cluster} had no whole backup for {within}. Is a worker running? etcd-flows snapshots list {cluster}",
    )


def register_automations(
    client: SyncPrefectClient,
    wanted: tuple[Automatic, ...],
    notify: str,
    tell: Tell | None = None,
    *,
    plan_only: bool = False,
) -> dict[str, Change]:
    """Make the server's automations what is declared; returns what was (or would be) done, by name.

    Args:
        notify: Notification block, ``type/name`` as `prefect block ls` shows it; empty: they only leave an event.
        tell: Is told how far it is, in automations.

    Raises:
        InputError: There is no such block.
    """
    block = _block(client, notify) if notify else None
    present: dict[str, Automation] = {}
    offset = 0
    while page := client.read_automations(limit=_PAGE, offset=offset):
        offset += len(page)
        present |= {found.name: found for found in page if found.name.startswith(PREFIX)}
    versions = {name: found.description.rpartition(" ")[2] for name, found in present.items()}
    by_name = {each.name: each for each in wanted}
    plan = changes({each.name: each.version(notify) for each in wanted}, versions)

    def work(name: str) -> None:
        if plan[name] == "remove":
            client.delete_automation(present[name].id)
        elif plan[name] == "change":
            client.update_automation(present[name].id, _automation(by_name[name], notify, block))
        else:
            client.create_automation(_automation(by_name[name], notify, block))

    if not plan_only:
        each_of([name for name, change in plan.items() if change != "keep"], work, tell)
    return plan


def _automation(each: Automatic, notify: str, block: Any) -> AutomationCore:
    return AutomationCore(
        name=each.name,
        enabled=True,
        description=f"made by etcd-flows; version {each.version(notify)}",
        trigger=each.trigger(),
        actions=[*each.actions(block)],
    )


def _block(client: SyncPrefectClient, notify: str) -> Any:
    slug, slash, name = notify.partition("/")
    missing = InputError(
        f"there is no notification block {notify!r}",
        state="nothing was changed",
        remedy="name it as `prefect block ls` does, such as slack-webhook/on-call",
    )
    if not slash:
        raise missing
    try:
        return client.read_block_document_by_name(name, slug).id
    except ObjectNotFound as error:
        raise missing from error
