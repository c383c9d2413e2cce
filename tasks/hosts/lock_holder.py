"""Our process as the holder of a lock: what identifies it, and whether another holder's process still lives."""

from __future__ import annotations

import getpass
import os
import platform
import threading
from datetime import UTC, datetime
from pathlib import Path

from tasks.hosts.lock import Owner

_active: set[str] = set()
_active_lock = threading.Lock()


def new_owner(run: str, flow: str, cluster: str, url: str = "") -> Owner:
    """Our process as the owner of a lock."""
    pid = os.getpid()
    return Owner(
        run=run,
        flow=flow,
        cluster=cluster,
        user=_user(),
        machine=platform.node(),
        pid=pid,
        started=_stat(pid)[1],
        boot=_read("/proc/sys/kernel/random/boot_id"),
        pid_namespace=_pid_namespace(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        url=url,
    )


def set_active(session: str, active: bool) -> None:
    """Note that a session of this process begins or has ended: its process may live on without it."""
    with _active_lock:
        (_active.add if active else _active.discard)(session)


def is_alive(session: str, owner: Owner) -> bool | None:
    """Whether the process of a session lives; None if it is not of this machine, so that this can't be told from here.

    Containers on one machine have the same boot id, but their process numbers mean different processes; clones of a
    virtual machine may have all but the name in common. Whoever is in doubt is judged by heartbeat alone.
    """
    here = (_read("/proc/sys/kernel/random/boot_id"), _pid_namespace(), platform.node())
    if not all(here) or (owner.boot, owner.pid_namespace, owner.machine) != here:
        return None
    if owner.pid == os.getpid() and owner.started == _stat(owner.pid)[1]:
        with _active_lock:
            return session in _active
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass  # somebody else's: it is there
    state, started = _stat(owner.pid)
    if not state:
        return True  # it is there, but /proc hides other people's processes (hidepid)
    return state not in "ZX" and started == owner.started


def _stat(pid: int) -> tuple[str, int]:
    """State and start in ticks since boot: fields 3 and 22 (proc(5)); empty and 0 if it can't be read."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (fields[0], int(fields[19])) if len(fields) > 19 else ("", 0)


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _user() -> str:
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""
