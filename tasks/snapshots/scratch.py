"""Private directories for data in clear that is needed for a while, and removed also after a kill.

Each has a lock that the kernel frees when its owner dies; whoever makes the next one removes those without an owner.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tasks.errors import SnapshotError
from tasks.reporting.human import size

_PREFIX = "etcd-flows-scratch-"


@contextlib.contextmanager
def scratch(parent: Path | None = None, *, needed: int = 0) -> Iterator[Path]:
    """A new directory, 0700, gone when the block ends.

    Args:
        parent: Where; the system's directory for temporary files if None.
        needed: Bytes that must be free there.

    Raises:
        SnapshotError: It can't be made, or there is too little room.
    """
    where = parent or Path(tempfile.gettempdir())
    try:
        where.mkdir(parents=True, exist_ok=True)
        sweep(where)
        made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))
        free = shutil.disk_usage(where).free
    except OSError as error:
        raise SnapshotError(
            f"no directory can be made in {where}: {error.strerror or error}", remedy="choose another place"
        ) from error
    try:
        with (made / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if free < needed:
                raise SnapshotError(
                    f"{where} has {size(free)} free, needed are {size(needed)}",
                    state="nothing was written there",
                    remedy="make room, or set TMPDIR to a directory on another disk",
                )
            yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def sweep(where: Path) -> list[Path]:
    """Remove directories whose owner is dead; tells which."""
    swept = []
    for found in where.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (found / ".lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(found, ignore_errors=True)
            swept.append(found)
    return swept
