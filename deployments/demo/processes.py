"""The demo's own processes: found by what they run, ended by their PIDs."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

#: Seconds for supervisord to end its etcd in order, before it is killed.
PATIENCE = 15.0


def running(root: Path) -> dict[int, str]:
    """Processes that run a program below ``root``, or are a supervisord with a configuration there; PID to name."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (name := _name(entry, root)):
            found[int(entry.name)] = name
    return found


def _name(entry: Path, root: Path) -> str | None:
    below = f"{root}/"
    try:
        words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        if any(word.endswith("supervisord") for word in words[:2]) and any(w.startswith(below) for w in words[1:]):
            return "supervisord"
        program = os.readlink(entry / "exe")  # noqa: PTH115 - Path.readlink would drop " (deleted)"
        return Path(program).name if program.startswith(below) else None
    except OSError:  # it ended, or is somebody else's
        return None


def kill_member(prefix: Path) -> Mapping[int, str]:
    """End a member as a power cut would: its supervisord first, so that etcd is not started again, then etcd.

    Returns:
        What was killed, PID to name.
    """
    found = running(prefix)
    for pid in sorted(found, key=lambda pid: found[pid] != "supervisord"):
        _signal(pid, signal.SIGKILL)
    _gone(prefix, PATIENCE)
    return found


def stop_all(root: Path) -> None:
    """End everything that is left, in order if it can be had."""
    for pid in running(root):
        _signal(pid, signal.SIGTERM)
    if not _gone(root, PATIENCE):
        for pid in running(root):
            _signal(pid, signal.SIGKILL)
        _gone(root, PATIENCE)


def _gone(root: Path, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while running(root):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
