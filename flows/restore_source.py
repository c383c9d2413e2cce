"""Where the bytes of a restore come from: a file, or the catalog of the cluster's stores. All is verified here, on the
worker, before anything on a host is touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from flows.prepare import fetch_release_here
from flows.restore_notes import known
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, Refused
from tasks.reporting.human import size
from tasks.reporting.progress import emit
from tasks.restore.expect import Drill, Last
from tasks.restore.inspect import newest_revision
from tasks.restore.notes import Noted
from tasks.restore.record import Record
from tasks.restore.source import Source, check_file, of_manifest
from tasks.snapshots.age_keys import keys_of
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.fetch import fetch
from tasks.snapshots.find import find, passed_over
from tasks.snapshots.library import Library, open_library
from tasks.snapshots.manifest import ManifestMember
from tasks.snapshots.marks import Contents, Mark


@dataclass(frozen=True)
class Wanted:
    """Which snapshot is meant.

    Args:
        snapshot: ``latest``, ``before TIME``, an id or the beginning of one.
        file: A database file on the worker instead.
        store: Only this store; all of them if empty.
        survivors: What the surviving member that is furthest holds, instead.
        data_dir: What this data directory holds, instead: ``HOST:PATH``, or a path on the worker.
    """

    snapshot: str = "latest"
    file: str = ""
    store: str = ""
    survivors: bool = False
    data_dir: str = ""

    @property
    def from_members(self) -> bool:
        """Whether no snapshot is meant, but what members still hold."""
        return self.survivors or bool(self.data_dir)

    @property
    def named(self) -> bool:
        """Whether one certain snapshot is meant, whatever others there are."""
        return bool(self.file) or not (self.snapshot == "latest" or self.snapshot.startswith("before "))


@dataclass(frozen=True)
class Obtained:
    """A snapshot, and what was seen beside it.

    Args:
        newest: The newest revision that any snapshot has or any restore may have begun at; 0 for none.
        last: The cluster's last state that is known from its snapshots.
        noted: Earlier restores that the stores know of, the newest first.
        drill: The newest good one.
        notes: What people should know of it before they say yes.
        members: That the cluster had when it was last backed up, as far as that is known.
    """

    source: Source
    newest: int = 0
    notes: tuple[str, ...] = ()
    last: Last | None = None
    noted: tuple[Noted, ...] = ()
    drill: Drill | None = None
    members: tuple[ManifestMember, ...] = ()


@contextmanager
def scratch_of(cluster: Cluster) -> Iterator[Path]:
    """Where a fetched snapshot lies while it is needed; it holds every secret of the cluster in clear."""
    cluster.pki.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    top = cluster.pki.state_dir / "restore"
    top.mkdir(exist_ok=True, mode=0o700)
    for left in top.iterdir():
        _remove_unused(left)  # of runs that were killed
    directory = Path(tempfile.mkdtemp(dir=top))
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _remove_unused(directory: Path) -> None:
    with contextlib.suppress(OSError), (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)


def obtain(
    cluster: Cluster,
    wanted: Wanted,
    accept: Collection[str],
    scratch: Path,
    *,
    bytes_too: bool = True,
    hosts_know: bool = True,
) -> Obtained:
    """Find the snapshot that is meant; have its bytes here, checked against manifest and etcd's own checksum.

    Args:
        accept: What the operator consents to, see :data:`tasks.restore.refusals.CONSENTS`.
        scratch: Directory for the file.
        bytes_too: Whether the bytes are wanted; a plan alone needs none.
        hosts_know: Whether any host still has data; if none has, the stores tell what was being restored.

    Raises:
        InputError: There is no such snapshot.
        Refused: It is not as good as it has to be.
        SnapshotError: Its bytes are not what they have to be.
        StoreError: The store failed.
    """
    if wanted.file:
        return _beside(cluster, _from_file(cluster, Path(wanted.file)))
    with open_library(cluster, wanted.store) as library:
        library.demand_some()
        for name, error in library.failed.items():
            emit("warning", f"store {name} does not answer: {error.message}")
        noted = known(library)
        if not hosts_know and wanted.snapshot == "latest":
            wanted = _as_begun(wanted, noted, library)
        entry = find(library.catalogs, wanted.snapshot, accept="untrusted" if "untrusted" in accept else "sound")
        if wanted.snapshot == "latest":
            for newer, why in passed_over(library.catalogs, entry):
                emit("warning", f"passed over: {newer.id} in {newer.store}: {why}")
        path = None
        if bytes_too:
            emit("info", f"fetching {entry.id} ({size(entry.manifest.db_bytes)}) from {entry.store}")
            store, target = library.stores[entry.store], scratch / f"{entry.id}.db"
            path = fetch(entry, store, keys_of(cluster.snapshots), target).path
        contents = _contents(entry)
        source = of_manifest(entry.manifest, path, entry.untrusted, entry.level, contents)
        if path is not None:
            source = replace(source, revision=newest_revision(path, fetch_release_here(cluster)))
        seen = _seen_in(library, source, noted)
        return seen if seen.members else replace(seen, members=entry.manifest.members)


def _beside(cluster: Cluster, source: Source) -> Obtained:
    """What the stores know beside a file; they are not needed for it, but revisions that they know of count."""
    if not cluster.snapshots.stores:
        return Obtained(source)
    try:
        with open_library(cluster) as library:
            library.demand_some()
            return _seen_in(library, source, known(library))
    except EtcdFlowsError as error:
        emit("warning", f"the stores can't be asked for what else is known of the cluster: {error.message}")
        return Obtained(source)


def _seen_in(library: Library, source: Source, noted: tuple[Noted, ...]) -> Obtained:
    entries = [entry for catalog in library.catalogs for entry in catalog.entries if not entry.untrusted]
    newest = max(entries, key=lambda entry: entry.manifest.finished, default=None)
    last, members = None, tuple[ManifestMember, ...]()
    if newest is not None:
        m = newest.manifest
        members = m.members
        last = Last(m.revision_max, m.finished, f"snapshot {m.id}, the last that is known of the cluster")
    drills = [
        (mark.at, Drill(entry.manifest.db_bytes, mark.seconds))
        for entry in entries
        for mark in _marks(entry)
        if mark.level == "restored"
    ]
    revisions = [*(e.manifest.revision_max for e in entries), *(one.record.base_revision for one in noted)]
    drill = max(drills, key=lambda one: one[0])[1] if drills else None
    return Obtained(source, max(revisions, default=0), last=last, noted=noted, drill=drill, members=members)


def _as_begun(wanted: Wanted, noted: tuple[Noted, ...], library: Library) -> Wanted:
    """The snapshot of the restore that was begun, if no host knows of that any more and it has not ended.

    Nothing else of it is taken over: clients may have seen its revisions, and hosts may come back with its token.

    Raises:
        Refused: It was of a file.
    """
    backed_up = [catalog.newest.manifest.started for catalog in library.catalogs if catalog.newest is not None]
    if not noted or noted[0].end is not None or max(backed_up, default=0.0) > noted[0].record.began:
        return wanted
    record = noted[0].record
    begun = f"restore {record.id[:8]} of {record.snapshot} was begun and has not ended, as the store says"
    if record.snapshot.startswith("file:"):
        raise Refused(
            f"{begun}, and the hosts know nothing any more",
            state="nothing was changed",
            remedy="give that file again (--file PATH), or name a snapshot (--snapshot ID)",
        )
    emit("warning", f"{begun}; the hosts know nothing any more: that snapshot is restored (another: --snapshot ID)")
    return replace(wanted, snapshot=record.snapshot)


def obtain_again(cluster: Cluster, wanted: Wanted, record: Record, accept: Collection[str], scratch: Path) -> Source:
    """The bytes of the restore that is under way; others are refused.

    Raises:
        Refused: The operator means another snapshot than the record.
        InputError: The record's is a file, and it was not given.
    """
    refuse_another(wanted, record)
    if not wanted.file and record.snapshot.startswith("file:"):
        raise Refused(
            f"the restore that is under way is of {record.snapshot.removeprefix('file:')}, which has to be brought to "
            "the hosts again",
            state="members stay as they are",
            remedy="give the file again, where it was given before",
        )
    known = wanted if wanted.file else replace(wanted, snapshot=record.snapshot)
    source = obtain(cluster, known, accept, scratch).source
    if source.sha256 != record.sha256:
        raise _another(source.name, record)
    return source


def refuse_another(wanted: Wanted, record: Record) -> None:
    """Go on only if the operator does not mean another snapshot than that of the restore that is under way.

    Raises:
        Refused: He does.
    """
    if wanted.file:
        if check_file(Path(wanted.file)).sha256 != record.sha256:
            raise _another(wanted.file, record)
    elif wanted.named and not record.snapshot.startswith(wanted.snapshot):
        raise _another(wanted.snapshot, record)


def _another(name: str, record: Record) -> Refused:
    return Refused(
        f"a restore of {record.snapshot} (SHA-256 {record.sha256[:12]}...) is under way; {name} is something else",
        state="nothing was changed by this run",
        remedy="leave the snapshot out: the same command goes on with the restore that was begun; --start-over begins "
        "anew, as long as no restored member can have been serving",
    )


def _from_file(cluster: Cluster, path: Path) -> Source:
    release = fetch_release_here(cluster)
    with ThreadPoolExecutor(1) as beside:  # a gigabyte is read by both, each on a core of its own
        asked = beside.submit(newest_revision, path, release)
        digest = check_file(path)
    return Source(
        name=f"file:{path.name}",
        path=path,
        bytes=digest.bytes,
        sha256=digest.sha256,
        trailer=digest.has_trailer,
        revision=asked.result(),
        keys=None,
        taken=path.stat().st_mtime,
    )


def _contents(entry: CatalogEntry) -> Contents | None:
    """What is in it, if somebody has opened it and signed what was found."""
    return next((mark.contents for mark in _marks(entry) if mark.contents is not None), None)


def _marks(entry: CatalogEntry) -> Iterator[Mark]:
    """Good verifications that count."""
    for seen in entry.marks:
        if not seen.ignored and seen.mark is not None and seen.mark.kind == "verification" and seen.mark.ok:
            yield seen.mark
