"""A restore drill: a stored snapshot becomes a running member in a scratch place, is compared, read and written.

It starts from the store and the key alone (rule: a drill that needs the cluster's hosts proves nothing for the day when
they are gone). What it took is the part of a restore that depends on the snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tasks.cluster.spec import DrillPlace, Release
from tasks.errors import SnapshotDamaged, StoreCorrupt
from tasks.etcd.worker_tools import release_for
from tasks.snapshots.age_keys import Keys
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.drill_stage import Made, Stage, here
from tasks.snapshots.drill_there import there
from tasks.snapshots.fetch import Progress, fetch
from tasks.snapshots.marks import Contents, verification, write_mark
from tasks.snapshots.opened import Opened, look_inside
from tasks.snapshots.signing import SigningKey
from tasks.snapshots.stores.base import Store
from tasks.snapshots.verify import differences

#: Keys that are read with their values, from the first on; and about so many bytes of them at most.
SAMPLE, _SAMPLE_BYTES = 1000, 64 << 20
_OWN = b"etcd-flows/drill"

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Drilled:
    """How a drill ended.

    Args:
        bad: What is wrong with the snapshot; empty if nothing.
        remedy: What to do about it.
        contents: What the member said; None if it never ran.
        read: Keys that were read with their values; None where users and passwords are on.
        phases: What took how many seconds, in order.
        machine: Where it was; empty for the one that the flow runs on.
    """

    snapshot: str
    store: str
    bad: str
    remedy: str
    contents: Contents | None
    read: int | None
    phases: tuple[tuple[str, float], ...]
    machine: str = ""

    @property
    def seconds(self) -> float:
        """From the first byte to the end of the proof."""
        return sum(seconds for _, seconds in self.phases)


@dataclass
class _Clock:
    tell: Tell
    phases: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.phases.append((name, time.monotonic() - began))
        self.tell(*self.phases[-1])


def drill(
    entry: CatalogEntry,
    store: Store,
    keys: Keys | None,
    release: Release,
    *,
    where: Path | DrillPlace | None = None,
    progress: Progress | None = None,
    tell: Tell = lambda name, seconds: None,
) -> Drilled:
    """Restore one snapshot in a scratch directory that is gone afterwards.

    Args:
        release: Where etcd's programs come from; those of the snapshot's minor version are used.
        where: Directory with room for the database, twice; the system's for temporary files by default. Or a machine.
        tell: Told of each phase when it has ended.

    Raises:
        DecryptionError, InputError: The key is not the right one, or there is none: that says nothing of the snapshot.
        StoreError: The store failed.
        SnapshotError: Disk or memory are short there, or etcd does not start for another reason.
        HostError: The machine can't be worked on.
    """
    clock = _Clock(tell)
    bad, remedy, contents, read = "", "", None, None
    try:
        size = entry.manifest.db_bytes
        with there(where, size) if isinstance(where, DrillPlace) else here(where, size) as stage:
            opened, read = _restored(entry, store, keys, release, stage, progress, clock)
        found = opened.hashkv
        contents = Contents(opened.revision, found.compact_revision, found.hash, opened.keys)
        bad = differences(entry.manifest, opened)
    except (StoreCorrupt, SnapshotDamaged) as error:
        bad, remedy = error.message, error.remedy or ""
    if bad and not remedy:
        remedy = "make a new backup now and drill it; keep this snapshot until that one is proven"
    machine = where.host.name if isinstance(where, DrillPlace) else ""
    return Drilled(entry.id, entry.store, bad, remedy, contents, read, tuple(clock.phases), machine)


def record(entry: CatalogEntry, store: Store, drilled: Drilled, key: SigningKey, now: datetime) -> None:
    """Write down how it ended, as a signed mark beside the snapshot.

    Raises:
        StoreError: The store failed.
    """
    mark = verification(
        entry.manifest, "restored", now, bad=drilled.bad, contents=drilled.contents, seconds=drilled.seconds
    )
    write_mark(store, mark, key)


def _restored(
    entry: CatalogEntry,
    store: Store,
    keys: Keys | None,
    release: Release,
    stage: Stage,
    progress: Progress | None,
    clock: _Clock,
) -> tuple[Opened, int | None]:
    manifest = entry.manifest
    with clock.phase("get etcd's programs"):
        version = stage.programs(release_for(release, manifest.etcd_version))
    with clock.phase("fetch, decrypt, compare"):
        db = fetch(entry, store, keys, stage.file, progress).path
    with clock.phase(f"bring it to {stage.machine}") if stage.machine else nullcontext():
        stage.bring(db, manifest)
    with clock.phase("check all pages"):
        status = stage.check()
    with clock.phase("restore"):
        stage.restore(manifest)
    began = time.monotonic()
    with stage.running() as client:
        clock.phases.append(("start", time.monotonic() - began))
        clock.tell(*clock.phases[-1])
        with clock.phase("compare, read, write"):
            opened = look_inside(client, status, version, manifest.hashkv.revision if manifest.hashkv else 0)
            if opened.keys is None:
                return opened, None
            limit = min(SAMPLE, opened.keys * _SAMPLE_BYTES // max(1, manifest.db_bytes))
            return opened, _read(client, opened.revision, max(1, limit))


def _read(client: Made, revision: int, limit: int) -> int:
    """Read some keys with their values; write one and read it back. Tells how many were read."""
    read = len(client.prefix(b"", limit=limit))
    client.put(_OWN, str(revision).encode())
    back = client.get(_OWN)
    if back is None or back.value != str(revision).encode():
        raise SnapshotDamaged(
            "a member restored from it does not give back what is written to it",
            remedy="verify it (`etcd-flows snapshots verify`) and hold a drill with another one",
        )
    return read
