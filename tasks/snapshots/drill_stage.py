"""Where a drill makes a member of a snapshot: here, or on another machine (:mod:`tasks.snapshots.drill_there`)."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from tasks.cluster.spec import Release
from tasks.etcd.worker_tools import WorkerTools, worker_tools
from tasks.snapshots.manifest import Manifest
from tasks.snapshots.opened import Asked, FileStatus, check_pages
from tasks.snapshots.scratch import scratch
from tasks.snapshots.temporary import ROOM, restore, running


class Valued(Protocol):
    """A key that was read."""

    @property
    def value(self) -> bytes:
        """Its value."""
        ...


class Made(Asked, Protocol):
    """What a drill asks of the member that was made; :class:`tasks.etcd.client.Client` is one."""

    def prefix(self, prefix: bytes, *, limit: int = 0) -> Sized:
        """The first keys, with their values."""
        ...

    def put(self, key: bytes, value: bytes) -> object:
        """Write a key."""
        ...

    def get(self, key: bytes) -> Valued | None:
        """Read a key."""
        ...


class Stage(Protocol):
    """A place for one drill, gone afterwards. Its steps are taken in this order."""

    @property
    def machine(self) -> str:
        """Where it is; empty for this machine."""
        ...

    @property
    def file(self) -> Path:
        """A file on this machine into which the snapshot is to be fetched."""
        ...

    def programs(self, release: Release) -> str:
        """Have etcd's programs there; tells their version."""
        ...

    def bring(self, db: Path, manifest: Manifest) -> None:
        """Have the fetched snapshot there."""
        ...

    def check(self) -> FileStatus:
        """Have every page checked."""
        ...

    def restore(self, manifest: Manifest) -> None:
        """Make a data directory of it."""
        ...

    def running(self) -> AbstractContextManager[Made]:
        """Start a member on that; it is killed when the block ends."""
        ...


class _Here:
    def __init__(self, place: Path) -> None:
        self._place = place
        self.machine = ""
        self.file = place / "snapshot.db"
        self._tools: WorkerTools | None = None

    @property
    def _at_hand(self) -> WorkerTools:
        if self._tools is None:
            raise AssertionError("the programs come first")
        return self._tools

    def programs(self, release: Release) -> str:
        self._tools = worker_tools(release)
        return self._tools.version

    def bring(self, db: Path, manifest: Manifest) -> None:
        del manifest
        self.file = db

    def check(self) -> FileStatus:
        return check_pages(self.file, self._at_hand)

    def restore(self, manifest: Manifest) -> None:
        restore(self.file, self._at_hand, self._place / "member", skip_hash_check=manifest.via == "raw")

    def running(self) -> AbstractContextManager[Made]:
        return running(self._place / "member", self._at_hand)


@contextmanager
def here(where: Path | None, db_bytes: int) -> Iterator[Stage]:
    """On this machine.

    Args:
        where: Directory with room for the database, twice; the system's for temporary files if None.

    Raises:
        SnapshotError: There is no room.
    """
    with scratch(where, needed=2 * db_bytes + ROOM) as place:
        yield _Here(place)
