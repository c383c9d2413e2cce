"""Telling Prometheus what a run found out. Whatever is wrong with that never fails the run: it is a warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from flows.restore_course import Course
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError
from tasks.monitoring.own_facts import (
    file_update,
    recorded_drill,
    restore_update,
    store_update,
    unreadable_store,
)
from tasks.monitoring.own_families import Update
from tasks.monitoring.publish import publish
from tasks.reporting.progress import emit
from tasks.snapshots.library import Library, open_library, read_library
from tasks.snapshots.signing import trusted_key
from tasks.snapshots.stores.base import Store


def publish_metrics(
    spec: Cluster, *updates: Update, stores: Mapping[str, Store] | None = None, look: bool = True
) -> str:
    """Write what is known now for Prometheus; nothing where the cluster file names no place for it.

    Args:
        updates: What this run found out.
        stores: All of the cluster file, if they are open.
        look: Whether the stores are read, since what they list is what counts (rule 22).

    Returns:
        Why it could not be written; empty if it was.
    """
    if spec.monitoring is None or not spec.monitoring.publishes:
        return ""
    try:
        found = [*updates, file_update(spec, datetime.now(UTC))]
        if look and spec.snapshots.stores:
            found += _stores(spec, stores)
        publish(spec, found, lambda text: emit("warning", text))
    except Exception as error:  # noqa: BLE001 - a backup is good whether or not Prometheus hears of it
        words = error.message if isinstance(error, EtcdFlowsError) else f"{type(error).__name__}: {error}"
        emit("warning", f"Prometheus is not told how this run ended: {words}")
        return words
    return ""


def publish_restore_metrics(spec: Cluster, course: Course, *, good: bool) -> None:
    """Tell how a restore ended. The stores are not read: at such a time nobody waits for them."""
    if course.stopped_at is None:  # nothing was touched
        return
    writable, proven = course.since_stop(course.writable_at), course.since_stop(course.proven_at)
    update = restore_update(datetime.now(UTC), good=good, writable=writable, proven=proven)
    publish_metrics(spec, update, look=False)


def _stores(spec: Cluster, stores: Mapping[str, Store] | None) -> Iterator[Update]:
    """What all stores list now, and the last drill on record in any of them."""
    try:
        library = _read(spec, stores)
    except EtcdFlowsError as error:
        emit("warning", f"the stores can't be read for Prometheus: {error.message}")
        yield from (unreadable_store(store.name) for store in spec.snapshots.stores)
        return
    now = datetime.now(UTC)
    yield from (store_update(catalog, now) for catalog in library.catalogs)
    yield from (unreadable_store(name) for name in library.failed)
    drilled = recorded_drill(library.catalogs)
    if drilled is not None:
        yield drilled


def _read(spec: Cluster, stores: Mapping[str, Store] | None) -> Library:
    if stores is not None:
        return read_library(spec, stores, trusted_key(spec))
    with open_library(spec) as library:
        return library
