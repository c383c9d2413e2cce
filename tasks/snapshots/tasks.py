"""Prefect's side of this room. Stores keep connections, so tasks get them by their live object and never cache."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from tasks.cluster.spec import Cluster, RetentionSettings
from tasks.errors import StoreError
from tasks.hosts.retrying import HOST_TASK, HostTask
from tasks.pki.client import ClientFiles
from tasks.plan import Step
from tasks.snapshots import prune
from tasks.snapshots.backup import Backup, Means, back_up
from tasks.snapshots.catalog import Catalog, read_catalog
from tasks.snapshots.keep import Order
from tasks.snapshots.library import index_key
from tasks.snapshots.prune import LONGEST_CAPTURE, Review, review
from tasks.snapshots.source import Sources, find_sources
from tasks.snapshots.stores.base import Store


def store_may_recover(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Prefect's ``retry_condition_fn``: true if the store may answer the next time."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StoreError) and error.transient


#: Options of every task that works on a store; the stores themselves retry single requests.
STORE_TASK: HostTask = {**HOST_TASK, "retries": 2, "retry_condition_fn": store_may_recover}

#: Options of tasks that know better than Prefect what is to be tried again.
ONCE: HostTask = {**HOST_TASK, "retries": 0}


class Shelf:
    """A store as tasks take it. Not a dataclass on purpose: Prefect looks into those, and a store holds credentials."""

    __slots__ = ("store",)

    def __init__(self, store: Store) -> None:
        self.store = store

    def __repr__(self) -> str:
        return f"<store {self.store.name}>"


@task(name="find-sources", task_run_name="ask-members", **ONCE)
def ask_sources(cluster: Cluster, files: ClientFiles) -> Sources:
    """Which members a snapshot can be read from, and how."""
    return find_sources(cluster, files)


@task(name="capture-snapshot", task_run_name="capture-{order.cluster.name}", **ONCE)
def capture_snapshot(order: Order, means: Means, sources: Sources) -> Backup:
    """One backup into all stores; it goes on to the next member by itself."""
    return back_up(order, means, sources)


@task(name="read-catalog", task_run_name="catalog-{name}", **STORE_TASK)
def read_store(name: str, shelf: Shelf, cluster: Cluster, trusted: str | None, renew: bool) -> Catalog:
    """Read the catalog of one store, and renew its index if that is due and wanted."""
    return read_catalog(shelf.store, cluster.name, trusted, renew=index_key(cluster) if renew else None)


@task(name="review-store", task_run_name="review-{catalog.store}", **STORE_TASK)
def review_store(
    catalog: Catalog, shelf: Shelf, settings: RetentionSettings, now: datetime, named: Collection[str]
) -> Review:
    """Judge all snapshots of one store."""
    return review(shelf.store, catalog, settings, now, named)


@task(name="prune-store", task_run_name="prune-{name}", **STORE_TASK)
def prune_store(name: str, shelf: Shelf, steps: tuple[Step, ...]) -> list[str]:
    """Remove snapshots from one store, one after the other; tells which. A retry goes through all: that is harmless."""
    return [step.name for step in steps if prune.carry_out(shelf.store, step)]


@task(name="sweep-store", task_run_name="sweep-{name}", **STORE_TASK)
def sweep_store(name: str, shelf: Shelf) -> tuple[str, ...]:
    """End uploads that were begun before any capture could still be running."""
    return shelf.store.sweep(datetime.now(UTC) - LONGEST_CAPTURE)
