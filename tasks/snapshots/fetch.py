"""A stored snapshot back as a plain database file, with everything compared on the way.

Compared are, while the bytes go by once: the SHA-256 and size of what the store gave, those of the database, and the
trailer that etcd itself put at its end. The file gets its name only when all fit, and is on the disk by then.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tasks.errors import DecryptionError, InputError, SnapshotDamaged, SnapshotError, StoreCorrupt
from tasks.reporting.human import size
from tasks.snapshots.age_keys import Keys
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.codec import decode
from tasks.snapshots.manifest import Manifest
from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.directory_upload import sync_directory
from tasks.snapshots.trailer import Digest, TrailerCheck

#: Told how many of the stored bytes have been read, and how many there are.
Progress = Callable[[int, int], None]

_READ = 4 << 20
#: Left free on the disk beside the database: a full file system is nobody's friend.
_SPARE = 64 << 20


@dataclass(frozen=True)
class Fetched:
    """A database file, checked.

    Args:
        sha256: Of the file.
        has_trailer: Whether it ends in etcd's own SHA-256; not so for a copy of ``member/snap/db``.
    """

    path: Path
    bytes: int
    sha256: str
    has_trailer: bool


def fetch(
    entry: CatalogEntry, store: Store, keys: Keys | None, destination: Path, progress: Progress | None = None
) -> Fetched:
    """Get a snapshot, decrypted and decompressed, into a file that only its owner can read.

    Cut off anywhere, it leaves at most a hidden ``.NAME.part``, which the next fetch writes anew. A destination that
    already is this very database is left as it is.

    Args:
        keys: What decrypts; may be None for a snapshot in clear.
        destination: The file; its directory has to be there.

    Raises:
        InputError: The destination can't be written, or holds something else; or a key is needed and there is none.
        StoreCorrupt: The store gave other bytes than were stored there.
        DecryptionError: The key does not fit.
        SnapshotDamaged: What comes out is not the database that was captured.
        SnapshotError: The disk is full.
        StoreError: The store failed.
    """
    manifest = entry.manifest
    present = _present(manifest, destination)
    if present:
        return present
    _check_room(manifest, destination)
    with _part(destination) as file:
        found = _decoded(manifest, store, keys, file, progress)
        with _told(destination):
            file.flush()
            os.fsync(file.fileno())
            _part_path(destination).replace(destination)
            sync_directory(destination.parent)
    return Fetched(destination, found.bytes, found.sha256, found.has_trailer)


def check_stored(entry: CatalogEntry, store: Store, progress: Progress | None = None) -> None:
    """Read what the store holds, and compare it with the manifest.

    Raises:
        StoreCorrupt: It is not what was stored.
        StoreError: The store failed.
    """
    pieces = Reading(entry.manifest, store, progress)
    pieces.drain()
    pieces.compare()


class Reading:
    """A snapshot's stored bytes, counted and hashed as they go by."""

    def __init__(self, manifest: Manifest, store: Store, progress: Progress | None) -> None:
        self._manifest = manifest
        self._store = store
        self._progress = progress
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._pieces = store.read(manifest.object)

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._hash.update(piece)
            self._bytes += len(piece)
            if self._progress:
                self._progress(self._bytes, self._manifest.object_bytes)
            yield piece

    def drain(self) -> None:
        """Read the rest."""
        for _ in self:
            pass

    def compare(self) -> None:
        """After the last byte.

        Raises:
            StoreCorrupt: They are not those of the manifest.
        """
        manifest = self._manifest
        if (self._bytes, self._hash.hexdigest()) == (manifest.object_bytes, manifest.object_sha256):
            return
        what = "cut off" if self._bytes < manifest.object_bytes else "longer than it was"
        if self._bytes == manifest.object_bytes:
            what = "changed, by a failing disk or on purpose"
        raise StoreCorrupt(
            f"the data in {self._store.name} is {what}: {self._bytes} bytes with SHA-256 "
            f"{self._hash.hexdigest()[:12]}..., but stored were {manifest.object_bytes} bytes with "
            f"{manifest.object_sha256[:12]}...",
            state="this copy of the snapshot can't be used",
            remedy="use another snapshot, or this one from another store; verify the others in this store",
        )


def _decoded(manifest: Manifest, store: Store, keys: Keys | None, file: BinaryIO, progress: Progress | None) -> Digest:
    """Write the database into the file; only what fits the manifest in every respect returns."""
    pieces = Reading(manifest, store, progress)
    check = TrailerCheck()
    try:
        for piece in decode(iter(pieces), manifest.compression, manifest.encryption, keys):
            if check.bytes + len(piece) > manifest.db_bytes:
                raise SnapshotDamaged(
                    f"more comes out of {manifest.id} than the {manifest.db_bytes} bytes captured",
                    remedy="take another copy (--store) or another snapshot",
                )
            check.feed(piece)
            with _told(Path(file.name)):
                file.write(piece)
    except SnapshotError as error:
        pieces.drain()
        pieces.compare()  # the better explanation, if it is one
        raise _explained(error, manifest, store) from error
    pieces.drain()
    pieces.compare()
    return _judged(manifest, check.finish())


def _explained(error: SnapshotError, manifest: Manifest, store: Store) -> SnapshotError:
    """What it means that the stored bytes are right and yet can't be decoded."""
    state = f"the bytes in {store.name} are those that were stored; no file was made"
    if not isinstance(error, DecryptionError):
        return SnapshotDamaged(error.message, state=state, remedy="use another snapshot")
    whose = " or ".join(manifest.recipients) or "the passphrase that was set when the snapshot was made"
    return DecryptionError(error.message, state=state, remedy=f"it is the key: bring the one that belongs to {whose}")


def _judged(manifest: Manifest, found: Digest) -> Digest:
    wrong = ""
    if (found.bytes, found.sha256) != (manifest.db_bytes, manifest.db_sha256):
        wrong = (
            f"is not the database that was captured ({found.bytes} bytes instead of {manifest.db_bytes}, or changed)"
        )
    elif manifest.via != "raw" and not found.ok:
        wrong = "does not end in the SHA-256 that etcd puts there"
    if wrong:
        raise SnapshotDamaged(
            f"what comes out of snapshot {manifest.id} {wrong}", state="no file was made", remedy="use another snapshot"
        )
    return found


def _present(manifest: Manifest, destination: Path) -> Fetched | None:
    """What is already there, if it is this very database."""
    if not destination.exists() and not destination.is_symlink():
        return None
    if destination.is_file() and destination.stat().st_size == manifest.db_bytes:
        check = TrailerCheck()
        with destination.open("rb") as file:
            while piece := file.read(_READ):
                check.feed(piece)
        found = check.finish()
        if found.sha256 == manifest.db_sha256:
            destination.chmod(0o600)
            return Fetched(destination, found.bytes, found.sha256, found.has_trailer)
    raise InputError(
        f"{destination} is there already, and is not snapshot {manifest.id}",
        state="it was left as it is",
        remedy="give another path, or move it away",
    )


def _check_room(manifest: Manifest, destination: Path) -> None:
    try:
        free = shutil.disk_usage(destination.parent).free
    except OSError as error:
        raise InputError(
            f"{destination.parent} can't be used: {error.strerror}", remedy="give a path in a directory that is there"
        ) from error
    part = _part_path(destination)
    there = part.stat().st_size if part.is_file() else 0
    if free + there < manifest.db_bytes + _SPARE:
        raise SnapshotError(
            f"the database has {size(manifest.db_bytes)}, but only {size(free)} are free in {destination.parent}",
            state="no file was made",
            remedy="make room, or give a path on another disk",
        )


def _part_path(destination: Path) -> Path:
    return destination.with_name(f".{destination.name}.part")


@contextmanager
def _part(destination: Path) -> Iterator[BinaryIO]:
    """A hidden file beside the destination, for one process at a time; gone at the end unless it was renamed."""
    path = _part_path(destination)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror}", remedy="give another path") from error
    with open(path, "wb", opener=lambda *_: descriptor) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{path} is being written by another process", remedy="wait for it, or give another path"
            ) from None
        try:
            os.fchmod(file.fileno(), 0o600)
            file.truncate(0)
            yield file
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SnapshotError(
            f"{path} can't be written: {error.strerror}",
            state="no file was made",
            remedy="see to the disk, and fetch again",
        ) from error
