"""Opening what a backup has just stored: read back, decrypted, and checked as a database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, SnapshotError
from tasks.reporting.progress import emit
from tasks.snapshots.age_keys import keys_of
from tasks.snapshots.catalog import read_catalog
from tasks.snapshots.find import find
from tasks.snapshots.signing import ensure_signing_key, trusted_key
from tasks.snapshots.stores.base import Store
from tasks.snapshots.verify import opener_for, record, verify


def open_in_stores(spec: Cluster, stores: Mapping[str, Store], snapshot: str) -> dict[str, EtcdFlowsError]:
    """Open a snapshot in each store, one after the other, and write down what was found.

    Args:
        snapshot: Its id.

    Returns:
        What went wrong, by store; empty if all copies are good.
    """
    failed: dict[str, EtcdFlowsError] = {}
    for name, store in stores.items():
        try:
            _open(spec, store, snapshot)
        except EtcdFlowsError as error:
            failed[name] = error
            emit("failed", f"{name}: {error.message}")
    return failed


def _open(spec: Cluster, store: Store, snapshot: str) -> None:
    entry = find([read_catalog(store, spec.name, trusted_key(spec))], snapshot)
    found = verify(entry, store, keys_of(spec.snapshots), opener=opener_for(spec.release))
    record(entry, store, found, ensure_signing_key(spec), datetime.now(UTC))
    if found.bad:
        raise SnapshotError(found.bad, state="the snapshot is kept, marked as bad", remedy=found.remedy)
    keys = found.contents.keys if found.contents else 0
    emit("done", f"{store.name}: opened, {keys} keys, all as the manifest says", seconds=found.seconds)
