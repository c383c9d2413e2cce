"""A stored snapshot as a key space: fetched, compared, and served by a member of its own on private sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.cluster.spec import Cluster
from tasks.etcd.worker_tools import release_for, worker_tools
from tasks.keys.keyspace import Keyspace
from tasks.snapshots.age_keys import keys_of
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.fetch import Progress, fetch
from tasks.snapshots.opened import check_pages
from tasks.snapshots.scratch import scratch
from tasks.snapshots.stores.base import Store
from tasks.snapshots.temporary import ROOM, restore, running


@contextmanager
def opened(
    cluster: Cluster, entry: CatalogEntry, store: Store, where: Path | None = None, progress: Progress | None = None
) -> Iterator[Keyspace]:
    """Everything that is in a snapshot, for as long as the block runs; then nothing of it is left on this machine.

    Args:
        where: Directory with room for the database, twice; the system's for temporary files by default.

    Raises:
        StoreError, SnapshotError: It can't be fetched, is damaged, or disk or memory here are short.
        InputError: Its key is not here.
        ReleaseError: etcd's programs can't be had.
    """
    manifest = entry.manifest
    tools = worker_tools(release_for(cluster.release, manifest.etcd_version))
    with scratch(where, needed=2 * manifest.db_bytes + ROOM) as place:
        db = fetch(entry, store, keys_of(cluster.snapshots), place / "snapshot.db", progress).path
        newest = check_pages(db, tools).revision
        restore(db, tools, place / "member", skip_hash_check=manifest.via == "raw")
        db.unlink()
        with running(place / "member", tools) as client:
            # Leases run out in this member too, which removes keys; as of the snapshot's own revision they are there.
            # That is the file's newest key's, or, if it was deleted and compacted since, the compaction's.
            yield Keyspace(entry.id, max(newest, client.hash_kv().compact_revision, 1), client.page)
