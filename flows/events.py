"""Events that others can react to (Prefect automations, or whoever reads the API). They never fail a run.

=====================================  ============================================================================
event                                  when
=====================================  ============================================================================
``etcd-flows.snapshot.completed``      every store holds the snapshot
``etcd-flows.snapshot.failed``         no snapshot, or not in every store (the payload names the stores)
``etcd-flows.snapshot.skipped``        another run works on the cluster
``etcd-flows.drill.completed``         a stored snapshot was restored in a drill and is good
``etcd-flows.drill.failed``            it is bad, or the drill could not be held
``etcd-flows.verification.completed``  stored snapshots were opened and are good, or there was none to open
``etcd-flows.verification.failed``     one is bad or could not be opened, or a store could not be read
``etcd-flows.cluster.healthy``         a check found no error
``etcd-flows.cluster.unhealthy``       a check found errors (the payload tells them), or could not be made
=====================================  ============================================================================

The resource is ``etcd-flows.cluster.NAME``, so that an automation can wait for the event of each cluster.
"""

from __future__ import annotations

from typing import Any, Literal

from prefect.events import emit_event

from tasks.reporting.progress import emit

Outcome = Literal["completed", "failed", "skipped"]


def snapshot_event(outcome: Outcome, cluster: str, payload: dict[str, Any]) -> None:
    """Tell Prefect how a backup ended; without a secret in it."""
    _event(f"etcd-flows.snapshot.{outcome}", cluster, payload)


def drill_event(outcome: Literal["completed", "failed"], cluster: str, payload: dict[str, Any]) -> None:
    """Tell Prefect how a drill ended; without a secret in it."""
    _event(f"etcd-flows.drill.{outcome}", cluster, payload)


def verification_event(outcome: Literal["completed", "failed"], cluster: str, payload: dict[str, Any]) -> None:
    """Tell Prefect what opening stored snapshots came to; without a secret in it."""
    _event(f"etcd-flows.verification.{outcome}", cluster, payload)


def health_event(outcome: Literal["healthy", "unhealthy"], cluster: str, payload: dict[str, Any]) -> None:
    """Tell Prefect what a check found; without a secret in it."""
    _event(f"etcd-flows.cluster.{outcome}", cluster, payload)


def _event(name: str, cluster: str, payload: dict[str, Any]) -> None:
    resource = {"prefect.resource.id": f"etcd-flows.cluster.{cluster}", "prefect.resource.name": cluster}
    try:
        emit_event(event=name, resource=resource, payload=payload)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the events' way, the snapshot is what counts
        emit("warning", f"the event could not be sent ({type(error).__name__}: {error})")
