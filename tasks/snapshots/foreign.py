"""Snapshots that others have made, recognised and checked as far as can be, as a plain database file.

* what ``etcdctl snapshot save`` writes (3.4 to 3.7): the database and its SHA-256, which is compared;
* a copy of a member's ``member/snap/db``: no checksum, and without what only its write-ahead log had;
* full snapshots of gardener's etcd-backup-restore: ``Full-FIRST-LAST-UNIXTIME[.gz|.zlib]``, with checksum
  (pkg/types/snapstore.go and pkg/compressor there); ``LAST`` is the revision that it says it has.

All of them also packed by gzip. What is something else is said to be that, if it is known.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from tasks.errors import InputError, SnapshotDamaged, SnapshotError
from tasks.snapshots.importing import Plain
from tasks.snapshots.trailer import SECTOR, TRAILER_BYTES, TrailerCheck

Kind = Literal["etcdctl", "raw", "gardener"]

_GARDENER = re.compile(r"(Full|Incr)-(\d{8,})-(\d{8,})-(\d{9,})(\.gz|\.zlib|\.Z)?(\.final)?")
_MAGIC = (0xED0CDAED).to_bytes(4, "little")  # bbolt's, in both of its first pages (bbolt/internal/common/meta.go)
_MAGIC_AT = 16
_GZIP, _ZLIB = b"\x1f\x8b", b"\x78"
_PIECE = 1 << 20
#: What people might take for a snapshot, by its first bytes, and what to do with it.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"age-encryption.org/v1", "a file encrypted with age", "decrypt it first: age -d -i KEY -o snapshot.db FILE"),
    (b"\x28\xb5\x2f\xfd", "a file packed by zstd", "unpack it first: zstd -d FILE"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first: k3s packs its snapshots like this"),
    (b"SQLite format 3", "an SQLite database", "k3s without etcd keeps its data in one; it holds no etcd snapshot"),
    (b"\xfd7zXZ", "a file packed by xz", "unpack it first: xz -d FILE"),
    (b"{", "a JSON text", "give the database file itself, not the manifest beside it"),
)


@dataclass(frozen=True)
class Foreign:
    """What a file is.

    Args:
        kind: ``etcdctl`` and ``gardener`` have a checksum, ``raw`` has none.
        packed: How its bytes are packed.
        revision: That its name says, None if it says none.
        taken: When, by its name.
    """

    kind: Kind
    packed: Literal["none", "gzip", "zlib"]
    revision: int | None
    taken: datetime | None


def read_foreign(path: Path, scratch: Path) -> tuple[Foreign, Plain]:
    """Recognise a file, unpack it if need be, and compare its checksum.

    Args:
        path: The file; only read.
        scratch: Private directory for what is unpacked; the database is there then, else where it was.

    Returns:
        What it is, and the database, ready for :func:`tasks.snapshots.importing.import_plain`.

    Raises:
        InputError: It can't be read, or is no full snapshot.
        SnapshotDamaged: It is one, and broken.
        SnapshotError: There is no room to unpack it.
    """
    try:
        with path.open("rb") as file:
            packed = _packing(path, file.read(2))
            file.seek(0)
            if packed == "none":
                database, check = path, _examine(path, _pieces(file))
            else:
                database = scratch / "foreign.db"
                check = _examine(path, _saved(database, _unpacked(path, file, packed)))
    except OSError as error:
        raise InputError(
            f"{path} can't be read: {error.strerror or error}",
            state="nothing was imported",
            remedy="correct the path or the file's permissions",
        ) from error
    found = check.finish()
    kind = _kind(path, found.bytes)
    if kind != "raw" and not found.ok:
        raise SnapshotDamaged(
            f"{path.name} is damaged: the SHA-256 at its end is not that of what stands before it",
            state="nothing was imported",
            remedy="get it again from where it came from; if it is the same there, it is lost",
        )
    revision, taken = _by_name(path)
    foreign = Foreign(kind, packed, revision, taken)
    return foreign, Plain(database, path.name, "raw" if kind == "raw" else "file", _notes(foreign))


def _kind(path: Path, size: int) -> Kind:
    if _GARDENER.fullmatch(path.name):
        return "gardener"
    return "raw" if size % SECTOR == 0 else "etcdctl"


def _by_name(path: Path) -> tuple[int | None, datetime | None]:
    match = _GARDENER.fullmatch(path.name)
    if match is None:
        return None, None
    if match[1] == "Incr":
        raise InputError(
            f"{path.name} is an incremental snapshot: it holds changes only",
            state="nothing was imported",
            remedy="import the full snapshot (Full-...) before it; or let etcdbrctl compact them into one first",
        )
    return int(match[3]), datetime.fromtimestamp(int(match[4]), UTC)


def _notes(foreign: Foreign) -> tuple[str, ...]:
    notes = {
        "etcdctl": "imported: saved by etcdctl; which cluster it is of is not known",
        "raw": "imported: a copy of member/snap/db, without a checksum of its own and without what only the member's "
        "write-ahead log had",
        "gardener": "imported: a full snapshot of etcd-backup-restore; later changes are in its incremental ones",
    }[foreign.kind]
    taken = (f"taken {foreign.taken:%Y-%m-%d %H:%M:%S} UTC by its name",) if foreign.taken else ()
    said = (f"revision {foreign.revision} by its name",) if foreign.revision is not None else ()
    return (notes, *taken, *said)


def _packing(path: Path, start: bytes) -> Literal["none", "gzip", "zlib"]:
    _by_name(path)  # an incremental one is refused before it is read
    if start == _GZIP:
        return "gzip"
    if path.suffix == ".zlib" and start[:1] == _ZLIB:
        return "zlib"
    if path.suffix == ".Z":
        raise InputError(
            f"{path.name} is packed by LZW",
            state="nothing was imported",
            remedy="unpack it first, for example by Go's lzw",
        )
    return "none"


def _examine(path: Path, pieces: Iterator[bytes]) -> TrailerCheck:
    """Look at the start, hash the rest."""
    check = TrailerCheck()
    for piece in pieces:
        if check.bytes == 0:
            _recognise(path, piece)
        check.feed(piece)
    if check.bytes == 0:
        raise InputError(f"{path.name} is empty", state="nothing was imported", remedy="get it again")
    if check.bytes % SECTOR not in (0, TRAILER_BYTES):
        raise SnapshotDamaged(
            f"{path.name} is cut off or has something added: no database has {check.bytes} bytes",
            state="nothing was imported",
            remedy="get it again from where it came from",
        )
    return check


def _recognise(path: Path, start: bytes) -> None:
    if start[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC:
        return
    for magic, what, remedy in _OTHERS:
        if start.startswith(magic):
            raise InputError(f"{path.name} is {what}", state="nothing was imported", remedy=remedy)
    raise InputError(
        f"{path.name} is no etcd database: it does not begin as one",
        state="nothing was imported",
        remedy="give a file by `etcdctl snapshot save`, a copy of member/snap/db, or a Full-... of etcd-backup-restore",
    )


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _unpacked(path: Path, file: BinaryIO, packed: Literal["gzip", "zlib"]) -> Iterator[bytes]:
    """In bounded memory, whatever it unpacks to; several gzip streams in a row are one file."""
    wbits = 31 if packed == "gzip" else 15
    unpacker = zlib.decompressobj(wbits)
    try:
        for piece in _pieces(file):
            rest = piece
            while rest:
                if unpacker.eof:
                    unpacker = zlib.decompressobj(wbits)
                yield unpacker.decompress(rest, _PIECE)
                rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
        if not unpacker.eof:
            raise zlib.error("it ends too soon")
    except zlib.error as error:
        raise SnapshotDamaged(
            f"{path.name} can't be unpacked: {error}",
            state="nothing was imported",
            remedy="get it again from where it came from",
        ) from error


def _saved(target: Path, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Write the pieces to a private file as they pass; empty ones are left out."""
    with target.open("xb") as file:
        target.chmod(0o600)
        for piece in filter(None, pieces):
            try:
                file.write(piece)
            except OSError as error:
                raise SnapshotError(
                    f"{target.parent} has no room to unpack it: {error.strerror}",
                    state="nothing was imported",
                    remedy="make room, or set TMPDIR to a directory on another disk",
                ) from error
            yield piece
