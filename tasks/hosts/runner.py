"""Fabric's and invoke's runners, taught to move bytes at full speed.

Two things of :class:`invoke.runners.Runner` do not serve here, both overridden below: standard input is read one
character at a time with naps in between, and captured output is decoded and re-joined for every piece read
(superlinear: 8 MiB on one line cost 10 s). Everything else - sessions, exit codes, timers, threads - stays theirs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from fabric.exceptions import GroupException
from fabric.runners import Remote
from invoke.runners import Local
from invoke.util import ExceptionHandlingThread

from tasks.errors import EtcdFlowsError
from tasks.hosts.wire import Hold

_HOLD_SECONDS = 30.0  # slow directory services; also how long a refusal in words of the site's own takes to be noticed


class ConnectionLost(Exception):
    """The SSH connection ended while a command was running: whether it was carried out is unknown."""


class _Bytes:
    """Mixed in before a runner: output is captured as bytes, input is an iterator of bytes (``in_stream``)."""

    read_chunk_size = 64 * 1024

    def create_io_threads(self: Any) -> tuple[dict[Callable[..., None], ExceptionHandlingThread], list[Any], list[Any]]:
        """The three threads that move data, and the buffers they fill."""
        stdout: list[bytes] = []
        stderr: list[bytes] = []
        self.captured = (stdout, stderr)
        work: dict[Callable[..., None], dict[str, Any]] = {
            self.handle_stdout: {"buffer_": stdout, "hide": True, "output": None},
            self.handle_stderr: {"buffer_": stderr, "hide": True, "output": None},
            self.handle_stdin: {"input_": self.streams["in"], "output": None},
        }
        threads = {target: ExceptionHandlingThread(target=target, kwargs=kwargs) for target, kwargs in work.items()}
        return threads, stdout, stderr

    def _handle_output(
        self: Any, buffer_: list[bytes], hide: bool, output: None, reader: Callable[[int], bytes | None]
    ) -> None:
        while data := reader(self.read_chunk_size):
            buffer_.append(data)

    def handle_stdin(self: Any, input_: Iterator[bytes], output: None, echo: bool = False) -> None:
        """Send all of the input, then end of file. A command that ends without reading all of it is no error here."""
        while not self.program_finished.is_set():
            try:
                piece = next(input_, None)
            except BaseException:  # whatever the caller's generator raises: stop the command, tell the caller
                self.kill()
                with contextlib.suppress(Exception):
                    self.close_proc_stdin()  # who cannot be killed (sudo) reads the end of its input
                raise
            with contextlib.suppress(OSError, EOFError):
                if isinstance(piece, Hold):
                    if self._held(piece):
                        continue
                    piece = None
                if piece is None:
                    self.close_proc_stdin()
                    return
                self._write_proc_stdin(piece)
                continue
            return

    def _held(self: Any, piece: Hold) -> bool:
        """Wait for the remote side to be ready; false if sudo has refused the password."""
        stdout, stderr = self.captured
        until = time.monotonic() + _HOLD_SECONDS
        while time.monotonic() < until and not self.process_is_finished:
            if b"".join(stdout).find(piece) >= 0:
                return True
            if b"try again" in b"".join(stderr).lower():
                return False
            time.sleep(0.01)
        return b"".join(stdout).find(piece) >= 0

    def start_timer(self: Any, timeout: float | None) -> None:
        """Start the deadline once; :meth:`start` does so before it opens a session, which can hang as well."""
        if self._timer is None:
            super().start_timer(timeout)  # type: ignore[misc]

    def _collate_result(self: Any, watcher_errors: list[Any]) -> Any:
        exited = self.returncode()
        return self.generate_result(
            **dict(self.result_kwargs, stdout=b"".join(self.stdout), stderr=b"".join(self.stderr), exited=exited)
        )


class BytesRemote(_Bytes, Remote):  # type: ignore[misc]
    """Runs a command over a Fabric connection."""

    def start(self, command: str, shell: str, env: dict[str, Any], timeout: float | None = None) -> None:
        """Open the session under the deadline."""
        self.channel = self.context.create_session()
        self.start_timer(self.opts["timeout"])
        self.send_start_message(command)

    def wait(self) -> None:
        """Until the exit status has come, or the channel is closed, or a data thread has died."""
        while not self.channel.status_event.wait(0.25):
            if self.has_dead_threads:
                return

    def returncode(self) -> int:
        """The exit status.

        Raises:
            ConnectionLost: The channel closed without one.
        """
        code = int(self.channel.recv_exit_status())
        if code == -1 and not self.timed_out:
            transport = self.context.transport
            patience = time.monotonic() + 1.0  # the transport's thread marks itself dead a little after its channels
            while transport.is_active() and time.monotonic() < patience:
                time.sleep(0.01)
            if not transport.is_active():
                raise ConnectionLost(str(transport.get_exception() or "connection closed by the host"))
        return code

    def stop(self) -> None:
        """Close the session and the timer; a worker thread must not touch signal handlers."""
        if self._timer is not None:
            self._timer.cancel()
        if hasattr(self, "channel"):
            self.channel.close()


class BytesLocal(_Bytes, Local):  # type: ignore[misc]
    """Runs a command on this machine, in a process group of its own."""

    def start(self, command: str, shell: str, env: dict[str, Any]) -> None:
        """Start the process; the group lets :meth:`kill` reach its children too.

        With ``exec`` the shell becomes ``timeout``, which then leads the session and cannot make a group of its own.
        """
        self.start_timer(self.opts["timeout"])
        self.process = subprocess.Popen(  # noqa: S603 - the command is ours, from tasks.hosts.wire
            [shell, "-c", f"exec {command}"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def wait(self) -> None:
        """Until the process has ended, or a data thread has died."""
        while not self.has_dead_threads:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.25)
                return

    def _write_proc_stdin(self, data: bytes) -> None:
        stdin: IO[bytes] | None = self.process.stdin
        if stdin is None:
            raise EOFError
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(stdin.fileno(), rest) :]

    def kill(self) -> None:
        """End the whole process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError, AttributeError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Stop the timer and close the pipes, which invoke leaves to the garbage collector."""
        if self._timer is not None:
            self._timer.cancel()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr) if hasattr(self, "process") else ():
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        if hasattr(self, "process"):
            self.process.wait()


def unwrap(error: BaseException) -> BaseException:
    """The exception that really happened, out of invoke's wrapper for threads and Fabric's for groups."""
    if isinstance(error, GroupException):
        failed = list(error.result.failed.values())
        return unwrap(failed[0]) if failed else error
    wrapped = getattr(error, "exceptions", None)
    if isinstance(error, EtcdFlowsError) or not wrapped:
        return error
    first = wrapped[0]
    value = getattr(first, "value", first)
    return value if isinstance(value, BaseException) else error
