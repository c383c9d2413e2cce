"""One process of a kind on this machine, whoever started it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import InputError, LockHeld


@contextmanager
def alone(state_dir: Path, what: str) -> Iterator[None]:
    """Hold a lock that ends with the process, however that ends.

    Args:
        state_dir: Directory of what this machine remembers of the cluster.
        what: Names the lock's file; for messages too.

    Raises:
        LockHeld: Another process holds it.
        InputError: The directory can't be written.
    """
    path = state_dir / f"{what}.lock"
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = path.open("w")
    except OSError as error:
        raise InputError(
            f"{path} can't be written: {error.strerror}",
            state="nothing was touched",
            remedy="give this user pki.state_dir",
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld(
                f"another {what} of this cluster runs on this machine",
                state="nothing was touched",
                remedy="wait for it; what it leaves, the next run does",
            ) from None
        yield
