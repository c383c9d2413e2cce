"""Proving a snapshot again, from what the store holds today, and writing down what was found.

``stored``: all bytes are read back and hashed. ``opened``: they are also decrypted, decompressed, and checked as a
database: bbolt's pages, etcd's hash over the keys, the number of keys (rule 16). What is found, good or bad, becomes a
signed mark beside the snapshot; retention and ``latest`` go by it. A key that does not fit, a store that does not
answer or a disk that is full says nothing about the snapshot: no mark is written then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tasks.cluster.spec import Release
from tasks.errors import SnapshotDamaged, StoreCorrupt
from tasks.etcd.worker_tools import release_for, worker_tools
from tasks.snapshots.age_keys import Keys
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.fetch import Progress, check_stored, fetch
from tasks.snapshots.manifest import Manifest
from tasks.snapshots.marks import Contents, Level, verification, write_mark
from tasks.snapshots.opened import Opened, open_snapshot
from tasks.snapshots.scratch import scratch
from tasks.snapshots.signing import SigningKey
from tasks.snapshots.stores.base import Store
from tasks.snapshots.temporary import ROOM

#: Opens a database file and tells what is in it: (file, private scratch directory, manifest). Raises SnapshotDamaged if
#: it is none, or a broken one.
Opener = Callable[[Path, Path, Manifest], Opened]


@dataclass(frozen=True)
class Verified:
    """What was found.

    Args:
        level: How far it was looked at; for something bad: where that showed.
        bad: What is wrong; empty if nothing.
        remedy: What to do about it; empty if nothing.
        contents: What the database said, None if it was not opened.
        seconds: How long it took.
    """

    snapshot: str
    store: str
    level: Level
    bad: str
    remedy: str
    contents: Contents | None
    seconds: float


def verify(
    entry: CatalogEntry,
    store: Store,
    keys: Keys | None,
    *,
    opener: Opener | None = None,
    where: Path | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Look at one copy of a snapshot.

    Args:
        opener: What opens a database; None for the level ``stored``.
        where: Directory with room for the database, twice; the system's for temporary files by default.

    Raises:
        DecryptionError, InputError: The key is not the right one, or there is none.
        StoreError: The store failed.
        SnapshotError: The disk is full.
    """
    began = time.monotonic()
    level: Level = "opened" if opener else "stored"
    bad, remedy, contents = "", "", None
    try:
        if opener is None:
            check_stored(entry, store, progress)
        else:
            opened = _opened(entry, store, keys, opener, where, progress)
            found = opened.hashkv
            contents = Contents(opened.revision, found.compact_revision, found.hash, opened.keys)
            bad = differences(entry.manifest, opened)
    except StoreCorrupt as error:
        level, bad, remedy = "stored", error.message, error.remedy or ""
    except SnapshotDamaged as error:
        bad, remedy = error.message, error.remedy or ""
    if bad and not remedy:
        remedy = "use another snapshot; make a new one now and have it verified"
    return Verified(entry.id, entry.store, level, bad, remedy, contents, time.monotonic() - began)


def record(entry: CatalogEntry, store: Store, found: Verified, key: SigningKey, now: datetime) -> None:
    """Write down what was found, as a signed mark.

    Raises:
        StoreError: The store failed.
    """
    mark = verification(entry.manifest, found.level, now, bad=found.bad, contents=found.contents, seconds=found.seconds)
    write_mark(store, mark, key)


def opener_for(release: Release) -> Opener:
    """What opens snapshots on this machine, with the tools of each one's own minor version.

    Args:
        release: The cluster's; its source is asked for others too.
    """

    def opener(db: Path, place: Path, manifest: Manifest) -> Opened:
        tools = worker_tools(release_for(release, manifest.etcd_version))
        at = manifest.hashkv.revision if manifest.hashkv else 0
        return open_snapshot(db, tools, place, at=at, skip_hash_check=manifest.via == "raw")

    return opener


def differences(manifest: Manifest, opened: Opened) -> str:
    """What the database says that its manifest does not; empty if all fits.

    Hashes are compared only where revision and compact revision are the same: else they are not comparable, which means
    nothing (rule 15).
    """
    if manifest.kind != "imported" and not manifest.revision_min <= opened.revision <= manifest.revision_max:
        return (
            f"the database is at revision {opened.revision}, but the manifest says {manifest.revision_min} to "
            f"{manifest.revision_max}"
        )
    known, now = manifest.hashkv, opened.hashkv_at
    comparable = known and now and (known.revision, known.compact_revision) == (now.revision, now.compact_revision)
    if known and now and comparable and known.hash != now.hash:
        return f"at revision {now.revision} the keys have the hash {now.hash}, but the member had {known.hash}"
    return ""


def _opened(
    entry: CatalogEntry,
    store: Store,
    keys: Keys | None,
    opener: Opener,
    where: Path | None,
    progress: Progress | None,
) -> Opened:
    with scratch(where, needed=2 * entry.manifest.db_bytes + ROOM) as place:
        fetched = fetch(entry, store, keys, place / "snapshot.db", progress)
        return opener(fetched.path, place, entry.manifest)
