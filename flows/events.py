"""Events that others can react to (Prefect automations, or whoever reads the API). They never fail a run.

The resource is ``etcd-flows.cluster.NAME``, so that an automation can wait for the event of each cluster. The page
docs/events.md is made from :data:`EVENTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prefect.events import emit_event

from tasks.reporting.progress import emit

#: Begins the names of our events and of their resources.
PREFIX = "etcd-flows."

Event = Literal[
    "snapshot.completed",
    "snapshot.failed",
    "snapshot.skipped",
    "drill.completed",
    "drill.failed",
    "verification.completed",
    "verification.failed",
    "restore.begun",
    "restore.completed",
    "restore.taken-back",
    "restore.failed",
    "restore.interrupted",
    "run.lives",
    "cluster.healthy",
    "cluster.unhealthy",
]


@dataclass(frozen=True)
class Told:
    """What an event says.

    Args:
        when: It is sent.
        payload: What is in it; each a name and, where that is not enough, words in brackets.
        why: Whether it may have ``why`` in it, the error that ended the run, and nothing that is known only at the end.
    """

    when: str
    payload: tuple[str, ...]
    why: bool = False


_BACKUP = (
    "snapshot",
    "stores (that hold it)",
    "failed (stores that do not)",
    "wrong (what failed after it was stored)",
    "revision",
    "bytes",
    "seconds",
)
_DRILL = ("snapshot", "seconds")
_OPENED = ("opened", "wrong", "failed (stores, and why)", "left (for later runs)")
_RESTORE = ("restore (its id)", "snapshot", "requested_by", "reason (both as claimed)")
_CUT_OFF = ("run (its id)", "state", "how (each member stands, and the command to go on)")

#: By their names without :data:`PREFIX`.
EVENTS: Mapping[Event, Told] = {
    "snapshot.completed": Told("every store holds the snapshot", _BACKUP),
    "snapshot.failed": Told("there is no snapshot, or a store does not hold it", _BACKUP, why=True),
    "snapshot.skipped": Told("another run works on the cluster", ("why",)),
    "drill.completed": Told("a stored snapshot was restored in a drill and is good", _DRILL),
    "drill.failed": Told("it is bad, or the drill could not be held", _DRILL, why=True),
    "verification.completed": Told("stored snapshots were opened and are good, or there was none to open", _OPENED),
    "verification.failed": Told("one is bad or could not be opened, or a store not be read", _OPENED, why=True),
    "restore.begun": Told("a run begins to carry out a restore, or goes on with it; members still run", _RESTORE),
    "restore.completed": Told(
        "the restored cluster is proven",
        (*_RESTORE, "seconds (from the stop until clients could write, if one run did it)"),
    ),
    "restore.taken-back": Told("the members run on their former data again", _RESTORE),
    "restore.failed": Told(
        "a restore, or its way back, ended with an error after it had begun", (*_RESTORE, "why", "state")
    ),
    "restore.interrupted": Told("a restore was cancelled, or was lost with its worker", _CUT_OFF),
    "run.lives": Told(
        "Prefect's server had taken a run for lost that lives", ("run (its id)", "name", "state (that it has again)")
    ),
    "cluster.healthy": Told("a check found no error", ("errors (none)",)),
    "cluster.unhealthy": Told("a check found errors, or could not be made", ("errors",), why=True),
}


#: Label of the event of a restore that was cut off: who tells of it.
TOLD_BY = f"{PREFIX}told-by"


def tell(event: Event, cluster: str, payload: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> None:
    """Tell Prefect; without a secret in it.

    Args:
        cluster: Whose event it is.
        payload: As :data:`EVENTS` says.
        labels: Of the resource, for automations to tell events of the same name apart.
    """
    resource = {"prefect.resource.id": f"{PREFIX}cluster.{cluster}", "prefect.resource.name": cluster, **(labels or {})}
    send(f"{PREFIX}{event}", resource, payload)


def send(event: str, resource: Mapping[str, str], payload: Mapping[str, Any] | None = None) -> None:
    """Send an event to Prefect; where that fails, it is said.

    Args:
        event: Its whole name.
        resource: Whose it is, as labels.
        payload: Without a secret in it.
    """
    try:
        emit_event(event=event, resource=dict(resource), payload=dict(payload or {}))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the events' way, the run is what counts
        emit("warning", f"the event could not be sent ({type(error).__name__}: {error})")
