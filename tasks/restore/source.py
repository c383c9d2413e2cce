"""What is to be restored: a database file on the worker, verified, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.errors import InputError, SnapshotDamaged
from tasks.snapshots.manifest import Manifest
from tasks.snapshots.marks import Contents
from tasks.snapshots.trailer import Digest, TrailerCheck

_PIECE = 4 << 20


@dataclass(frozen=True)
class Source:
    """A snapshot.

    Args:
        name: Its id, or ``file:NAME``.
        path: The file; None if it was not fetched (a plan alone needs no bytes).
        bytes: Size of the database, trailer included.
        sha256: Of it.
        trailer: Whether etcd's own checksum is at its end (it fits, or there would be no Source).
        revision: Its newest; the least possible one if it was not opened.
        keys: Live keys, None if nobody counted.
        taken: When, Unix time; for a file when it was written.
        version: etcd's, empty if unknown.
        cluster: Whose it is, empty if unknown.
        uuid: Our own identity of that cluster, empty if unknown.
        untrusted: Why it may be anybody's; empty if it is ours.
        level: How far it is proven.
    """

    name: str
    path: Path | None
    bytes: int
    sha256: str
    trailer: bool
    revision: int
    keys: int | None
    taken: float
    version: str = ""
    cluster: str = ""
    uuid: str = ""
    untrusted: str = ""
    level: str = "stream"


def check_file(path: Path) -> Digest:
    """Read a database file once: its size, its SHA-256, and whether etcd's own checksum fits.

    Raises:
        InputError: It can't be read.
        SnapshotDamaged: It has the size of a snapshot with checksum, and the checksum does not fit; or it is empty.
    """
    check = TrailerCheck()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                check.feed(piece)
    except OSError as error:
        raise InputError(
            f"{path} can't be read: {error.strerror}",
            state="nothing was touched",
            remedy="correct the path or the file's permissions",
        ) from error
    digest = check.finish()
    if digest.bytes == 0 or (digest.has_trailer and not digest.ok):
        raise SnapshotDamaged(
            f"{path} is not the snapshot that etcd made: its checksum does not fit" if digest.bytes else "it is empty",
            state="nothing was touched",
            remedy="use another snapshot",
        )
    return digest


def of_manifest(manifest: Manifest, path: Path | None, untrusted: str, level: str, contents: Contents | None) -> Source:
    """A snapshot out of the catalog.

    Args:
        path: The fetched file, whose bytes were compared with the manifest.
        untrusted: See :class:`Source`.
        contents: What was found in it when it was opened; None if it never was.
    """
    return Source(
        name=manifest.id,
        path=path,
        bytes=manifest.db_bytes,
        sha256=manifest.db_sha256,
        trailer=manifest.via != "raw",
        revision=contents.revision if contents else manifest.revision_min,
        keys=contents.keys if contents else None,
        taken=manifest.started,
        version=manifest.etcd_version,
        cluster=manifest.cluster,
        uuid=manifest.cluster_uuid,
        untrusted=untrusted,
        level=level,
    )
