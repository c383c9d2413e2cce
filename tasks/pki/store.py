"""Files in the operator's state directory: private, written whole or not at all, one writer at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import PkiError

UNTOUCHED = "nothing was changed"


def prepare_directory(path: Path) -> None:
    """Make the state directory with mode 0700 if it is not there yet, else check that it is private.

    Raises:
        PkiError: It can't be made, or others may look into it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PkiError(
            f"the state directory {path} can't be made: {error.strerror}",
            state=UNTOUCHED,
            remedy="make it yourself with mode 0700, or set pki.state_dir to a place you may write to",
        ) from error
    check_directory(path)


def check_directory(path: Path) -> None:
    """Refuse a state directory that other users may enter.

    Raises:
        PkiError: Its mode has bits for group or others.
    """
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise PkiError(f"{path} is not a directory", state=UNTOUCHED, remedy="set pki.state_dir to a directory")
    _demand_private(path, found, 0o700)


def _demand_private(path: Path, found: os.stat_result, mode: int) -> None:
    if found.st_mode & 0o077:
        raise PkiError(
            f"permissions {stat.S_IMODE(found.st_mode):04o} of {path} are too open: other users could use the keys",
            state=UNTOUCHED,
            remedy=f"find out who could read it, then: chmod {mode:04o} {path}",
        )
    if os.geteuid() != 0 and found.st_uid not in (os.geteuid(), 0):
        raise PkiError(
            f"{path} belongs to another user (uid {found.st_uid})",
            state=UNTOUCHED,
            remedy="run as that user, or make it your own with chown",
        )


def read(path: Path, *, private: bool) -> bytes | None:
    """The content of a file, None if it is not there.

    Args:
        path: The file; a symbolic link is followed (mounted secrets are links).
        private: Demand that nobody but its owner can read it, as ssh does of its keys.

    Raises:
        PkiError: It can't be read, or it is private and its permissions are too open.
    """
    try:
        with path.open("rb") as file:
            if private:
                _demand_private(path, os.fstat(file.fileno()), 0o600)
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PkiError(
            f"{path} can't be read: {error.strerror}", state=UNTOUCHED, remedy="check its owner and mode"
        ) from error


def write(path: Path, data: bytes, mode: int) -> None:
    """Replace a file as a whole: it is on the disk, with its mode, before it gets its name.

    Raises:
        PkiError: The disk is full, read-only or the like; what was there before still is.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(descriptor, mode)
            file.flush()
            os.fsync(descriptor)
        temporary.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise PkiError(
            f"{path} can't be written: {error.strerror}",
            state="what was there before still is",
            remedy="check the disk",
        ) from error


def publish(staged: Path, final: Path) -> None:
    """Give a staged file its final name, on the disk; never replaces a file (link fails where rename would not).

    Raises:
        FileExistsError: There is one of that name.
    """
    final.hardlink_to(staged)
    sync_directory(final.parent)


def sync_directory(path: Path) -> None:
    """Bring names made, changed or removed in a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes of this machine from writing there meanwhile; the lock ends with the process."""
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
