"""A snapshot that was not made by us, taken into the stores: opened first, then stored, signed and marked as imported.

What a manifest of ours says from the member itself (cluster, members, raft) nobody knows of a file; what the database
itself says is known exactly, since it was opened. The signature means that we looked at it, not where it came from:
hence its kind, its notes, and that neither ``latest`` nor retention take it for a backup of the cluster's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from tasks.errors import SnapshotError, StoreError
from tasks.snapshots.capture import Facts
from tasks.snapshots.keep import Into, Order, keep
from tasks.snapshots.manifest import Manifest, new_id
from tasks.snapshots.marks import Contents, verification, write_mark
from tasks.snapshots.opened import Opened

_PIECE = 1 << 20


@dataclass(frozen=True)
class Plain:
    """A database file in clear, and where it came from.

    Args:
        path: The file; only read.
        source: Name of the file that was imported.
        via: ``file`` with etcd's own checksum at its end, ``raw`` without (a copy of ``member/snap/db``).
        notes: For the manifest.
    """

    path: Path
    source: str
    via: Literal["file", "raw"]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Imported:
    """What became of it.

    Args:
        manifests: By store.
        failed: Stores that do not hold it, and why.
    """

    manifests: Mapping[str, Manifest]
    failed: Mapping[str, StoreError]
    contents: Contents

    @property
    def manifest(self) -> Manifest:
        """Of any store."""
        return next(iter(self.manifests.values()))


class FileCapture:
    """See :class:`tasks.snapshots.capture.Capture`."""

    def __init__(self, plain: Plain, opened: Opened) -> None:
        self._plain = plain
        self._opened = opened
        self.expected_bytes = plain.path.stat().st_size

    def __iter__(self) -> Iterator[bytes]:
        """The bytes, once."""
        try:
            with self._plain.path.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
        except OSError as error:
            raise SnapshotError(
                f"{self._plain.path} can't be read: {error.strerror}",
                state="nothing was imported",
                remedy="correct the path or the file's permissions",
            ) from error

    def facts(self) -> Facts:
        """What the database says of itself; the rest is not known."""
        opened = self._opened
        return Facts(
            source=self._plain.source,
            via=self._plain.via,
            etcd_cluster_id="",
            members=(),
            etcd_version=opened.storage_version,
            raft_term=0,
            raft_index=0,
            revision_min=opened.revision,
            revision_max=opened.revision,
            hashkv=opened.hashkv,
            notes=self._plain.notes,
        )


def import_plain(order: Order, into: Into, plain: Plain, opener: Callable[[Plain], Opened]) -> Imported:
    """Open a database, put it into the stores, and write down that it was opened.

    Args:
        order: Of the kind ``imported``.
        opener: Opens the file.

    Raises:
        SnapshotDamaged: It is no whole database.
        SnapshotError: It could not be opened or read.
        StoreError: No store took it.
    """
    opened = opener(plain)
    began = datetime.now(UTC)
    trailer: Literal["required", "optional"] = "required" if plain.via == "file" else "optional"
    kept = keep(order, into, FileCapture(plain, opened), new_id(began), began, trailer)
    contents = Contents(opened.revision, opened.hashkv.compact_revision, opened.hashkv.hash, opened.keys)
    for name, manifest in kept.manifests.items():
        try:
            mark = verification(manifest, "opened", datetime.now(UTC), contents=contents, seconds=opened.seconds)
            write_mark(into.stores[name], mark, into.key)
        except StoreError as error:
            kept.failed[name] = error
    return Imported(kept.manifests, kept.failed, contents)
