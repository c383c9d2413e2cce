"""Runs of the command line that don't each spend two seconds of CPU on the same imports.

A process imports all flows once and then forks every run that is asked for: the run is a process of its own, in a
session of its own, with the arguments, directory and environment that it is given, and a child of whoever asked.
Prefect's settings are read anew where the command line first asks for them, as they are in a process that imports it
just then. The first run of each command, and each that is not ``python -m MODULE`` or has no PREFECT_HOME, is a fresh
interpreter: what is imported when, and that a command imports what it needs, is seen there.
"""

from __future__ import annotations

import array
import ctypes
import gc
import importlib
import importlib.abc
import importlib.util
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import IO, Any

ROOT = Path(__file__).parents[1]
_SUBREAPER = 36  # prctl(2), PR_SET_CHILD_SUBREAPER
_SETTINGS = "prefect.settings"


class Run:
    """A command line under way.

    Args:
        pid: Its process, a child of this one; also the number of its session and group.
    """

    def __init__(self, pid: int, out: IO[str], err: IO[str]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._files = (out, err)

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that killed it; None while it runs."""
        if self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if done else None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it wrote to stdout and stderr.

        Raises:
            subprocess.TimeoutExpired: It runs longer than ``timeout`` seconds.
        """
        if self.poll() is None:
            handle = os.pidfd_open(self.pid)
            try:
                if not select.select([handle], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            finally:
                os.close(handle)
            while self.poll() is None:
                time.sleep(0.005)
        out, err = (self._read(file) for file in self._files)
        return out, err

    @staticmethod
    def _read(file: IO[str]) -> str:
        file.seek(0)
        return file.read()

    def kill(self) -> None:
        """End it and all of its group, if it still runs, and wait for it."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.communicate()

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


class Starter:
    """The process that forks runs, for as long as this one lives. It is started with the first run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wire: socket.socket | None = None
        self._seen: set[tuple[str, ...]] = set()

    def start(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], fresh: bool = False) -> Run:
        """Start a run with nothing on stdin.

        Args:
            argv: The interpreter first.
            env: All of its environment.
            fresh: It has to be a new interpreter.
        """
        # closed with the run, whenever nobody has it any more
        out, err = (tempfile.TemporaryFile("w+", encoding="utf-8") for _ in range(2))  # noqa: SIM115
        with self._lock:
            wire = self._wire = self._wire or _begin()
            wanted = {"argv": list(argv), "cwd": str(cwd), "env": dict(env), "fresh": fresh or self._fresh(argv, env)}
            request = json.dumps(wanted).encode()
            descriptors = array.array("i", [out.fileno(), err.fileno()]).tobytes()
            _adopt(True)  # the run's parent ends at once: whoever is next above it, and wants them, gets its orphans
            try:
                wire.sendmsg([len(request).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
                wire.sendall(request)
                answer = wire.recv(8, socket.MSG_WAITALL)
            finally:
                _adopt(False)
        assert len(answer) == 8, "the process that starts runs is gone"
        return Run(int.from_bytes(answer, "big"), out, err)

    def run(
        self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        """A run from start to end, as :func:`subprocess.run` does it.

        Args:
            timeout: Seconds; then it is killed, with all that it started.

        Raises:
            subprocess.TimeoutExpired: It took longer.
        """
        run = self.start(argv, cwd, env)
        try:
            out, err = run.communicate(timeout)
        finally:
            run.kill()
        return subprocess.CompletedProcess(list(argv), run.poll() or 0, out, err)

    def _fresh(self, argv: Sequence[str], env: Mapping[str, str]) -> bool:
        """Whether the run has to be a new interpreter: for the first time, or where forking would not be the same."""
        if tuple(argv[:2]) != (sys.executable, "-m") or "PREFECT_HOME" not in env:
            return True
        if argv[2] != "deployments.cli":
            return False  # what a test puts around the command line
        command = tuple(word for word in argv[3:5] if word.replace("-", "").isalpha())
        first = command not in self._seen
        self._seen.add(command)
        return first


#: The one of this process.
STARTER = Starter()


def _adopt(wanted: bool) -> None:
    ctypes.CDLL(None).prctl(_SUBREAPER, int(wanted), 0, 0, 0)


def _begin() -> socket.socket:
    ours, theirs = socket.socketpair()
    clean = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), "HOME": os.environ["PREFECT_HOME"]}
    with theirs:
        subprocess.Popen(  # ends when our side of the wire is closed
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            env=clean,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    return ours


# --- in the process that forks ----------------------------------------------------------------------------------------


def main() -> None:
    """Import everything, then become each run that is asked for, in a new process."""
    wire = socket.socket(fileno=int(sys.argv[1]))
    import deployments
    import flows

    gc.disable()
    for package in (flows, deployments):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.name != "deployments.cli":
                importlib.import_module(module.name)
    gc.freeze()  # nothing of it is garbage, nor is to be copied because somebody looked
    gc.enable()
    while request := _asked(wire):
        wanted, (out, err) = request
        receiving, sending = os.pipe()
        between = os.fork()
        if between == 0:
            if os.fork():
                os._exit(0)
            os.setsid()
            os.write(sending, os.getpid().to_bytes(8, "big"))
            wire.close()
            _become(wanted, out, err)
            return
        os.waitpid(between, 0)  # from now on the run is the child of whoever asked
        os.close(sending)
        wire.sendall(os.read(receiving, 8))
        for descriptor in (receiving, out, err):
            os.close(descriptor)


def _asked(wire: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    size, ancillary, _, _ = wire.recvmsg(8, socket.CMSG_SPACE(2 * array.array("i").itemsize))
    if not size:
        return None
    descriptors = array.array("i")
    descriptors.frombytes(ancillary[0][2])
    request = wire.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    return json.loads(request), list(descriptors)


def _become(wanted: dict[str, Any], out: int, err: int) -> None:
    argv: list[str] = wanted["argv"]
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, max(out, err) + 8)
    os.chdir(wanted["cwd"])
    if wanted["fresh"]:
        os.execve(argv[0], argv, wanted["env"])  # noqa: S606 - our own Python
    os.environ.clear()
    os.environ.update(wanted["env"])
    tempfile.tempdir = None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path[0] = wanted["cwd"]
    sys.argv = argv[2:]
    _refresh()
    sys.modules.pop(_SETTINGS, None)
    sys.meta_path.insert(0, _Again(sys.modules["prefect"].settings))
    runpy.run_module(argv[2], run_name="__main__", alter_sys=True)


def _refresh() -> None:
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()


class _Again(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Prefect's settings, as the environment has them when they are imported for the first time."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        """Of that module alone, once."""
        if fullname != _SETTINGS:
            return None
        sys.meta_path.remove(self)
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module that is there already."""
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Read the environment."""
        _refresh()


if __name__ == "__main__":
    main()
