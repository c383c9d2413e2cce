"""What the lab needs of Linux: namespaces, mounts, processes told apart from later ones with the same number."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

NETNS_DIR = Path("/run/netns")
CLONE_NEWNET = 0x40000000
_CAP_SYS_ADMIN = 21
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The lab itself failed; says nothing about the product."""


def run(*argv: str | Path, stdin: str | None = None, check: bool = True, timeout: float = 120.0) -> str:
    """Run a command of this machine and return what it printed.

    Raises:
        LabError: It failed (and ``check`` is set) or took longer than ``timeout`` seconds.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except (subprocess.TimeoutExpired, OSError) as error:
        raise LabError(f"{' '.join(words)}: {error}") from error
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def missing() -> str | None:
    """Why no lab can run on this machine, or None when one can."""
    if os.geteuid() != 0:
        return "the lab of real hosts needs root"
    status = Path("/proc/self/status").read_text()
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), 16)
    if not effective >> _CAP_SYS_ADMIN & 1:
        return "root may not make namespaces and mounts here (CAP_SYS_ADMIN is missing)"
    tools = {"systemd-nspawn": "systemd-container", "ip": "iproute2", "ssh-keygen": "openssh-client"}
    absent = sorted(package for tool, package in tools.items() if shutil.which(tool) is None)
    return f"packages are missing: {' '.join(absent)} (make lab-tools installs them)" if absent else None


# --- processes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """One process, not whichever has its number later.

    Args:
        start: Start time in clock ticks since boot (proc(5), field 22 of stat).
    """

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this number now, None if there is none."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        return None if fields[0] in (b"Z", b"X") else cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        """Whether it still runs (a zombie does not)."""
        return Process.of(self.pid) == self

    def kill(self) -> None:
        """SIGKILL, only if it is still the same process. The pidfd makes sure between look and kill."""
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)


def processes_in(namespace: str) -> list[Process]:
    """All processes whose network namespace is the one of that name."""
    try:
        wanted = (NETNS_DIR / namespace).stat()
    except OSError:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                there = (entry / "ns/net").stat()
                if (there.st_ino, there.st_dev) == (wanted.st_ino, wanted.st_dev) and (
                    p := Process.of(int(entry.name))
                ):
                    found.append(p)
    return found


def init_of(namespace: str) -> Process | None:
    """The init of the container that lives in that network namespace: number 1 in a PID namespace of its own."""
    for process in processes_in(namespace):
        with contextlib.suppress(OSError, StopIteration):
            status = Path(f"/proc/{process.pid}/status").read_text()
            numbers = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
            if len(numbers) > 1 and numbers[-1] == "1":
                return process
    return None


def ancestors() -> set[int]:
    """Process numbers of this process and all above it."""
    pids, pid = set(), os.getpid()
    while pid > 0 and pid not in pids:
        pids.add(pid)
        with contextlib.suppress(OSError, IndexError, ValueError):
            pid = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    return pids


def wait_until(what: str, condition: Callable[[], bool], timeout: float, every: float = 0.03) -> None:
    """Poll until the condition holds.

    Raises:
        LabError: It did not within ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"gave up after {timeout:.0f} s waiting until {what}")
        time.sleep(every)


# --- network namespaces ---------------------------------------------------------------------------------------------


_home: int | None = None  # the network this process came from, once it has moved into a lab's


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise LabError(f"setns: {os.strerror(code)}")


def enter(namespace: str) -> None:
    """Move the calling thread, and all it starts from now on, into a network namespace for good."""
    global _home
    if _home is None:
        _home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    with (NETNS_DIR / namespace).open() as handle:
        _setns(handle.fileno())


def inside(namespace: str, work: Callable[[], T]) -> T:
    """Do some work in a network namespace, from wherever we are, in a thread that ends with it."""
    with (NETNS_DIR / namespace).open() as handle:
        return _elsewhere(handle.fileno(), work)


def outside(work: Callable[[], T]) -> T:
    """Do some work on the network that this process came from (downloads), even after :func:`enter`."""
    return work() if _home is None else _elsewhere(_home, work)


def _elsewhere(descriptor: int, work: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            _setns(descriptor)
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def delete_namespace(name: str) -> None:
    """Remove a named network namespace, if it is there."""
    if (NETNS_DIR / name).exists():
        run("ip", "netns", "del", name, check=False)


# --- mounts and locks -----------------------------------------------------------------------------------------------


def mounts_below(directory: Path) -> list[str]:
    """Mount points at or below a directory, innermost first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    plain = [point.replace("\\040", " ") for point in points]
    return [p for p in reversed(plain) if p == str(directory) or p.startswith(f"{directory}/")]


def thaw_below(directory: Path) -> None:
    """Unfreeze the disks mounted below a directory: a frozen one can neither be unmounted nor left by its processes."""
    for point in mounts_below(directory)[:-1]:
        subprocess.run(["fsfreeze", "--unfreeze", point], capture_output=True, check=False)


def unmount_below(directory: Path) -> None:
    """Unmount everything at or below a directory; what is busy is detached."""
    thaw_below(directory)
    for point in mounts_below(directory):
        if subprocess.run(["umount", point], capture_output=True, check=False).returncode != 0:
            subprocess.run(["umount", "-l", point], capture_output=True, check=False)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; it goes with its holder, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
