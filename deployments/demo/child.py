"""A server that runs as long as the demo does."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deployments.local_prefect import free_port


class ChildServer:
    """A child process that serves on loopback; it outlives Ctrl-C on the terminal, so that the demo can end in order.

    Args:
        folder: Where it runs.
        log: File that takes its output.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder = folder
        self.log = log
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its UI."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process, None if it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def spawn(self, words: Sequence[str]) -> None:
        """Start it; does not wait."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own Python, or what this machine has as Prometheus
                words,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def end(self, seconds: float) -> None:
        """End it, in order if it does so within that time."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
