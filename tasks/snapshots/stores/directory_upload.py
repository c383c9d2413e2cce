"""A file that is being written into a directory store, and the proof that it is there."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tasks.errors import StoreCorrupt, StoreError
from tasks.snapshots.stores.base import Stored
from tasks.snapshots.stores.directory_errors import explain, told

PIECE = 1 << 20
_WRITE_BACK = 32 << 20  # bytes after which the kernel is asked to write them: else all waits for the last fsync


class DirectoryUpload:
    """See :class:`tasks.snapshots.stores.base.Upload`.

    The proof is a read back. After fsync(2) the pages are dropped from the kernel's cache (posix_fadvise(2): those that
    are on the disk go), so that what is hashed comes from the disk, or the file server, and not from memory; a file
    system that keeps a cache of its own all the same (ZFS) answers from that.
    """

    def __init__(
        self,
        store: str,
        base: Path,
        key: str,
        target: Path,
        part: Path,
        descriptor: int,
        forget: Callable[[Path], None],
        *,
        hashed: bool = False,
    ) -> None:
        self._store = store
        self._base = base
        self._key = key
        self._target = target
        self._part = part
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._forget = forget
        self._hash = None if hashed else hashlib.sha256()
        self._bytes = 0
        self._flushed = 0
        self._done = False

    def __enter__(self) -> DirectoryUpload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def write(self, data: bytes) -> None:
        """Add bytes."""
        if self._done:
            raise StoreError(f"store {self._store}: {self._key} was ended before")
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self.abort()
            raise explain(self._store, self._base, f"write {self._key} after {self._bytes} bytes", error) from error
        if self._hash is not None:
            self._hash.update(data)
        self._bytes += len(data)
        if self._bytes - self._flushed >= _WRITE_BACK:
            # On pages that are not on the disk yet this only starts their writing (mm/fadvise.c), and does not wait.
            os.posix_fadvise(self._file.fileno(), self._flushed, self._bytes - self._flushed, os.POSIX_FADV_DONTNEED)
            self._flushed = self._bytes

    def commit(self, sha256: str = "") -> Stored:
        """Make the file exist, on the disk and read back."""
        if self._done:
            raise StoreError(f"store {self._store}: {self._key} was ended before")
        ours = self._hash.hexdigest() if self._hash is not None else sha256
        try:
            with told(self._store, self._base, f"complete {self._key}"):
                os.fsync(self._file.fileno())
                self._file.close()
                self._check(ours)
                self._part.replace(self._target)
                sync_directory(self._target.parent)
        finally:
            self.abort()
        return Stored(self._key, self._bytes, ours, "read back")

    def abort(self) -> None:
        """Leave nothing behind."""
        if not self._done:
            self._done = True
            try:
                self._file.close()
            except OSError:  # the file goes anyway
                pass
            finally:
                self._forget(self._part)

    def _check(self, ours: str) -> None:
        found = hashlib.sha256()
        size = 0
        with self._part.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while piece := file.read(PIECE):
                found.update(piece)
                size += len(piece)
        theirs = found.hexdigest()
        if (size, theirs) != (self._bytes, ours):
            raise StoreCorrupt(
                f"store {self._store}: what was read back of {self._key} is not what was written: {size} bytes with "
                f"SHA-256 {theirs[:12]}..., not {self._bytes} bytes with {ours[:12]}...",
                state="it was removed; older snapshots there come from the same disk",
                remedy="look at dmesg and the disk's health; verify the other snapshots of this store",
            )


def sync_directory(folder: Path) -> None:
    """Put a directory's names on the disk; file systems that can't (some of FUSE) are taken as they are."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
