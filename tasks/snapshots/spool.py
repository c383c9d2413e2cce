"""The worker's disk between a snapshot's source and slow stores.

etcd keeps a read transaction open as long as a snapshot is read and can't reuse freed pages meanwhile, so a slow store
would make the live database grow. While the stores keep up, nothing touches the disk. When they hold up the stream, and
either it runs below :data:`SLOW` or is older than :data:`PATIENCE`, the rest goes to a file as it is stored (so
encrypted, if encryption is on), the member is released as fast as the disk takes it, and the stores read the file.

The file has no name, so nothing is left of it whatever happens to the process.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO

from tasks.cluster.spec import SnapshotSettings

MIB = 1024 * 1024
#: Source bytes a second; every disk writes faster, and the 8 GiB that etcd suggests as a maximum would take 4 minutes.
SLOW = 32 * MIB
#: Seconds that stores may hold up a stream that is not slow, until the disk is used all the same.
PATIENCE = 60.0
#: Seconds that are looked at together.
WINDOW = 5.0
#: Bytes that stay free on that disk: others need it too.
RESERVE = 1024 * MIB
_SPACE_EVERY = 64 * MIB


@dataclass(frozen=True)
class Spool:
    """When and where a snapshot passes through the disk.

    Args:
        directory: Of the file, None for never.
        slow: See :data:`SLOW`.
        patience: See :data:`PATIENCE`.
        window: See :data:`WINDOW`.
        reserve: See :data:`RESERVE`.
    """

    directory: Path | None
    slow: float = SLOW
    patience: float = PATIENCE
    window: float = WINDOW
    reserve: int = RESERVE


NEVER = Spool(None)


def spool_of(snapshots: SnapshotSettings) -> Spool:
    """As the cluster file wants it; ``auto`` means /var/tmp or TMPDIR, since /tmp often is memory."""
    if snapshots.spool == "never":
        return NEVER
    return Spool(Path(os.environ.get("TMPDIR") or "/var/tmp" if snapshots.spool == "auto" else snapshots.spool))  # noqa: S108


class Pace:
    """Judges whether stores are too slow for the member that is being read."""

    def __init__(self, spool: Spool, clock: Callable[[], float] = monotonic) -> None:
        self._spool, self._clock = spool, clock
        self._began = clock()
        self._since, self._bytes, self._blocked = self._began, 0, 0.0

    def took(self, count: int) -> None:
        """So many more bytes of the source went on to the stores."""
        if self._clock() - self._since >= 2 * self._spool.window:
            self._since, self._bytes, self._blocked = self._clock(), 0, 0.0
        self._bytes += count

    def blocked(self, seconds: float) -> None:
        """So long the stream had to wait for a store."""
        self._blocked += seconds

    def too_slow(self) -> bool:
        """Whether the rest should go to the disk; asked while the stream waits for a store."""
        now = self._clock()
        seconds = now - self._since
        if now - self._began > self._spool.patience:
            return self._blocked > seconds / 2
        return (
            seconds >= self._spool.window and self._blocked > seconds / 2 and self._bytes < self._spool.slow * seconds
        )


class SpoolFile:
    """Bytes on the disk that one thread appends and several read from the start, each at its own speed."""

    def __init__(self, spool: Spool) -> None:
        """Raises:
        OSError: The directory can't be used.
        """
        if spool.directory is None:
            raise FileNotFoundError(errno.ENOENT, "no directory")
        spool.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._reserve = spool.reserve
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=spool.directory, buffering=0)  # noqa: SIM115 - closed by close()
        self._changed = threading.Condition()
        self._next_look = 0
        self._closed = False
        self.length = 0

    def append(self, block: bytes) -> None:
        """Add bytes, all or none.

        Raises:
            OSError: The disk is full or broken; what was added before can still be read.
        """
        if self.length >= self._next_look:
            disk = os.fstatvfs(self._file.fileno())
            if disk.f_bavail * disk.f_frsize < self._reserve + _SPACE_EVERY:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._next_look = self.length + _SPACE_EVERY
        view = memoryview(block)
        while view:
            view = view[os.pwrite(self._file.fileno(), view, self.length + len(block) - len(view)) :]
        with self._changed:
            self.length += len(block)
            self._changed.notify_all()

    def finish(self) -> None:
        """Nothing more will be added."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def read(self, going_on: Callable[[], bool]) -> Iterator[bytes]:
        """All bytes, those still to come too.

        Args:
            going_on: Asked before each piece, and while there is nothing to read; False ends it.
        """
        position = 0
        while going_on():
            with self._changed:
                while position == self.length and not self._closed and going_on():
                    self._changed.wait(0.2)
                available = self.length - position
            if not available:
                return
            data = os.pread(self._file.fileno(), min(MIB, available), position)
            if not data:
                raise OSError(errno.EIO, "the spool file ends too early")
            position += len(data)
            yield data

    def close(self) -> None:
        """Give the space back."""
        self._file.close()
