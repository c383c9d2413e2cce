"""The one interface that every store has, and what its users may count on.

A store maps keys to bytes. Keys are relative (``manifests/20261124T143000Z-6f3a9c1e.json``); where they end up in a
bucket or a file system is the store's business. What is listed is whole: nothing half-written is ever seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol


@dataclass(frozen=True)
class Entry:
    """An object in a store.

    Args:
        key: Relative to the store.
        bytes: Its size.
        modified: When it was written, UTC.
        locked_until: UTC, None where nothing prevents its removal or that is not known.
        version: Another one whenever its bytes are others, if the store tells; else empty.
    """

    key: str
    bytes: int
    modified: datetime
    locked_until: datetime | None = None
    version: str = ""


@dataclass(frozen=True)
class Stored:
    """What a store holds after an upload, as proven by the store itself.

    Args:
        key: Where.
        bytes: Size that the store reports.
        sha256: Of the bytes, in hex, as they were sent.
        proof: How it is known that the store holds them: ``checksum`` (the store compared checksums of all that was
            sent) or ``read back``.
    """

    key: str
    bytes: int
    sha256: str
    proof: str


class Upload(Protocol):
    """An object that is being written; it does not exist before :meth:`commit`.

    As a context manager it is aborted when the block ends without a commit.
    """

    def write(self, data: bytes) -> None:
        """Add bytes. Blocks while the store is behind, so that memory stays bounded.

        Raises:
            StoreError: The store failed; the upload is lost.
        """
        ...

    def commit(self, sha256: str = "") -> Stored:
        """Make the object exist, durable and checked.

        Args:
            sha256: Of all that was written, in hex; needed if the upload was begun as ``hashed``.

        Raises:
            StoreError: It could not be, or what the store holds is not what was sent; nothing is left.
        """
        ...

    def abort(self) -> None:
        """Leave nothing behind. Never raises; harmless after a commit."""
        ...

    def __enter__(self) -> Upload: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Store(Protocol):
    """A place for snapshots. All methods raise :class:`tasks.errors.StoreError` and nothing else."""

    @property
    def name(self) -> str:
        """As the cluster file calls it."""
        ...

    @property
    def where(self) -> str:
        """For people: ``/srv/backups/prod-a`` or ``s3://etcd-backups/prod-a``."""
        ...

    def upload(self, key: str, *, size_hint: int | None = None, hashed: bool = False) -> Upload:
        """Begin to write a large object.

        Args:
            size_hint: Expected bytes, to size parts by; the truth may be another.
            hashed: Whether the SHA-256 comes with the commit, so that it is not computed here too: a second of CPU
                for each GiB.
        """
        ...

    def put(self, key: str, content: bytes, *, only_new: bool = False, lasting: bool = True) -> None:
        """Write a small object whole.

        Args:
            only_new: Refuse with :class:`tasks.errors.StoreConflict` if the key exists.
            lasting: False for what can be made anew at any time, and is not locked where the store locks what it has.
        """
        ...

    def get(self, key: str) -> bytes:
        """A small object, whole; :class:`tasks.errors.StoreMissing` if there is none."""
        ...

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """The bytes of an object from an offset on, in pieces of bounded size; broken connections are resumed."""
        ...

    def head(self, key: str) -> Entry | None:
        """What is there under that key."""
        ...

    def list(self, prefix: str) -> Iterator[Entry]:
        """All objects whose key starts like this, in order of their keys."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; done if there is none."""
        ...

    def sweep(self, older_than: datetime) -> tuple[str, ...]:
        """Remove what uploads begun before then left behind without commit or abort; tells what."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...
