"""Restores told of: as events, and noted in the stores (see :mod:`tasks.restore.notes`).

A run never waits long for a store.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from flows.events import tell
from flows.restoring import Course
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError
from tasks.reporting.progress import emit
from tasks.restore.notes import End, Noted, Outcome, merged, new_end, note_begun, note_end, read_notes
from tasks.restore.record import Record
from tasks.snapshots.library import Library, key_at_hand
from tasks.snapshots.signing import SigningKey
from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.open import open_stores

#: Seconds that a store gets to take a note, before a restore goes on without.
PATIENCE = 15.0


def begins(cluster: Cluster, record: Record) -> None:
    """Tell that a restore begins, and note it in all stores; where that fails, it is said and the restore goes on."""
    tell("restore.begun", cluster.name, _who(record))
    _in_all_stores(cluster, lambda store, key: note_begun(store, record, key), "that this restore begins")


def ended(
    cluster: Cluster,
    record: Record,
    outcome: Outcome,
    course: Course | None,
    at: float | None = None,
    claimed: tuple[str, str] = ("", ""),
) -> None:
    """Tell how a restore ended, and note it in all stores; where that fails, it is said.

    Args:
        course: Of the run that ended it, if this is the one.
        at: Unix time, if it was not now.
        claimed: Who asked for it to be taken back, and why.
    """
    writable, phases = (course.since_stop(course.writable_at), course.phases) if course else (None, [])
    if outcome == "done":
        tell("restore.completed", cluster.name, {**_who(record), "seconds": writable})
    else:
        asked = {"requested_by": claimed[0], "reason": claimed[1]} if any(claimed) else {}
        tell("restore.taken-back", cluster.name, {**_who(record), **asked})
    end: End = new_end(record, outcome, at or time.time(), writable=writable, phases=phases, claimed=claimed)
    _in_all_stores(cluster, lambda store, key: note_end(store, record, end, key), "how this restore ended")


def failed(cluster: Cluster, record: Record, error: EtcdFlowsError) -> None:
    """Tell of a run that ended with an error after it had begun; nothing is noted, since the record goes on."""
    tell("restore.failed", cluster.name, {**_who(record), "why": error.message, "state": error.state})


def _who(record: Record) -> dict[str, str]:
    return {
        "restore": record.id,
        "snapshot": record.snapshot,
        "requested_by": record.requested_by,
        "reason": record.reason,
    }


def known(library: Library) -> tuple[Noted, ...]:
    """All restores that the stores know of, the newest first."""
    found = []
    for catalog in library.catalogs:
        try:
            found.append(read_notes(library.stores[catalog.store], library.cluster.name, catalog.trusted))
        except EtcdFlowsError as error:
            emit("warning", f"store {catalog.store} does not tell of earlier restores: {error.message}")
    return merged(found)


def _in_all_stores(cluster: Cluster, work: Callable[[Store, SigningKey], None], what: str) -> None:
    if not cluster.snapshots.stores:
        return
    try:
        key, stores = key_at_hand(cluster), open_stores(cluster)
    except EtcdFlowsError as error:
        emit("warning", f"the stores are not told {what}: {error.message}")
        return
    untold: dict[str, str] = {}

    def note(name: str, store: Store) -> None:
        try:
            work(store, key)
            untold.pop(name)
        except EtcdFlowsError as error:
            untold[name] = error.message
        finally:
            store.close()

    threads = []
    for name, store in stores.items():
        untold[name] = f"it takes longer than {PATIENCE:.0f} s"
        # A daemon, so that a store that never answers does not keep the process from ending.
        threads.append(threading.Thread(target=note, args=(name, store), name=f"note-{name}", daemon=True))
        threads[-1].start()
    until = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    for name, why in sorted(dict(untold).items()):
        emit("warning", f"store {name} is not told {what}: {why}")
