"""What the operating system says about a directory store, for the person on call."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.errors import StoreCorrupt, StoreError, StoreMissing, StoreUnavailable

_KEPT = "snapshots that are complete are untouched, nothing half-written is left"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ABSENT = {errno.ENOENT, errno.ENOTDIR}
_DENIED = {errno.EACCES, errno.EPERM}
_PASSING = {errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN, errno.EAGAIN, errno.EBUSY, errno.EINTR}


@contextmanager
def told(store: str, root: Path, doing: str) -> Iterator[None]:
    """Turn an :class:`OSError` of the block into a :class:`tasks.errors.StoreError`.

    Args:
        store: The store's name.
        root: Its directory.
        doing: What is done, as in "can't DOING".
    """
    try:
        yield
    except OSError as error:
        raise explain(store, root, doing, error) from error


def explain(store: str, root: Path, doing: str, error: OSError) -> StoreError:
    """The error of ours that one of the operating system stands for; see :func:`told`."""
    text = f"store {store}: can't {doing}: {error.strerror or error}"
    if error.errno in _FULL:
        return StoreError(f"{text} ({_room(root)})", state=_KEPT, remedy=_full_remedy(error.errno, root))
    if error.errno in _ABSENT:
        remedy = f"check that {root} is there: create it, or mount the file system that holds it"
        return StoreMissing(text, state="nothing was written", remedy=remedy)
    if error.errno in _DENIED:
        return StoreError(f"{text} (as user {os.geteuid()})", state=_KEPT, remedy=f"let that user write to {root}")
    if error.errno == errno.EROFS:
        remedy = f"mount the file system of {root} for writing; if the kernel made it read-only, look at dmesg first"
        return StoreError(text, state=_KEPT, remedy=remedy)
    if error.errno == errno.EIO:
        remedy = (
            f"look at dmesg: the disk below {root}, or the way to it, fails; use another store until it is replaced"
        )
        return StoreCorrupt(text, state="the disk reported an error; take its other files for doubtful", remedy=remedy)
    if error.errno in _PASSING:
        return StoreUnavailable(text, state=_KEPT, remedy=f"check the file server or mount behind {root}, then repeat")
    return StoreError(text, state=_KEPT, remedy=f"look at {root}, and at dmesg on the worker")


def _full_remedy(code: int | None, root: Path) -> str:
    if code == errno.EFBIG:
        return f"the file system of {root}, or a limit of this process (ulimit -f), allows no file that large"
    what = "raise the quota of that user" if code == errno.EDQUOT else "free space or enlarge the file system"
    return f"{what}; `etcd-flows prune-snapshots` removes what the retention no longer keeps"


def _room(root: Path) -> str:
    with suppress(OSError):
        space = os.statvfs(root)
        free, inodes = space.f_bavail * space.f_frsize, space.f_favail
        return f"{free / 1e6:.0f} MB are free" + (", no inodes" if space.f_files and not inodes else "")
    return "the free space is not known"
