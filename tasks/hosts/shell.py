"""A shell on a host: run scripts, write files. The only way by which the product touches a host.

    with open_shell(host) as shell:
        shell.run("systemctl daemon-reload")
        shell.write_files([FileWrite("/etc/etcd/etcd.env", content, 0o644)])

Scripts are POSIX sh with ``set -eu`` and ``umask 077`` in force and need nothing but coreutils on the host.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import paramiko
from invoke.context import Context

from tasks.cluster.spec import Host
from tasks.errors import CommandFailed, EtcdFlowsError, TransientHostError
from tasks.hosts import wire
from tasks.hosts.classify import Target, classify
from tasks.hosts.connect import Link, local_config, login_of
from tasks.hosts.files import FileWrite, data_of, script_for
from tasks.hosts.pool import Entry, close_all, reserved
from tasks.hosts.refusals import not_started

__all__ = ["FileWrite", "Output", "Shell", "close_all", "open_shell"]

GRACE = 15.0  # seconds this side waits longer than the host, which ends the command by itself
_TIMED_OUT = (124, 137)  # exit codes of timeout(1) after SIGTERM and after SIGKILL


@dataclass(frozen=True)
class Output:
    """How a script ended.

    Args:
        code: Exit code.
        stdout: What it wrote, byte for byte.
        stderr: What it complained about.
        seconds: How long it took, round trip included.
        began: Unix time here when the script was sent, on an open connection.
        ended: Unix time here when the answer was there.
    """

    code: int
    stdout: bytes = field(repr=False)
    stderr: str
    seconds: float
    began: float = 0.0
    ended: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.code == 0

    @property
    def text(self) -> str:
        """Standard output as text, without the newline at its end."""
        return self.stdout.decode(errors="replace").rstrip("\n")


class Guard(Protocol):
    """Lets commands run only as long as some condition holds: that of :mod:`tasks.hosts.locking`, a held lock."""

    def prelude(self, timeout: float) -> str:
        """What stands before each script; it may end it, and it may raise, then nothing is run."""
        ...

    def judge(self, output: Output) -> None:
        """Raise if it was the prelude that ended the script."""
        ...


@contextlib.contextmanager
def open_shell(host: Host, guard: Guard | None = None) -> Iterator[Shell]:
    """A shell on a host. Cheap: the connection is made when the first script runs, and stays in the pool afterwards.

    Args:
        guard: Under whose condition each script runs; whoever changes the host gives its lock's.
    """
    yield Shell(host, guard)


class Shell:
    """Runs scripts on one host, one at a time."""

    def __init__(self, host: Host, guard: Guard | None = None) -> None:
        self.host = host
        self.guard = guard

    def run(
        self,
        script: str,
        *,
        stdin: wire.Data = (),
        root: bool = True,
        timeout: float = 60.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        what: str = "a command",
    ) -> Output:
        """Run a script.

        Args:
            script: POSIX sh; no secret in it is ever shown, but it may be seen by root on the host while it runs.
            stdin: Bytes, or binary files, that the script finds on its standard input.
            root: Become root (by sudo unless the login is root; not at all with ``ssh.sudo: none``).
            timeout: Seconds after which the host ends it.
            check: Whether an exit code other than 0 is an error.
            env: Environment variables; travel with the script, not on the command line.
            what: What is being done, for messages ("reloading systemd").

        Raises:
            HostUnreachable: No connection; nothing was run.
            TransientHostError: Timed out or cut off; it may have been carried out.
            AccessDenied: Host key, login or sudo refused; nothing was run.
            CommandFailed: Exit code other than 0, with ``check``.
        """
        with reserved(self.host) as entry:
            guarded = self.guard.prelude(timeout) + script if self.guard else script
            output = self._run(entry, guarded, stdin, root, timeout, env or {})
        if self.guard:
            self.guard.judge(output)
        self._judge(output, timeout, check, what)
        return output

    def write_files(
        self,
        files: Sequence[FileWrite],
        *,
        root: bool = True,
        timeout: float = 120.0,
        before: str = "",
        after: str = "",
    ) -> None:
        """Write files in one round trip: each appears whole, with its owner and mode, or not at all.

        Content goes through standard input into a new file beside the destination, which is synced and renamed over it.
        A symbolic link at the destination is replaced, not followed. Missing directories are made with mode 0755.
        Owner and group are set only where the script runs as root.

        Args:
            files: Written in this order, each on the disk before the next is begun.
            before: A script to be run first, in the same round trip.
            after: One to be run when all files are written.

        Raises:
            InputError: A path is not absolute.
            CommandFailed: The destination is a directory, the owner is not known, the disk is full.
            TransientHostError: Cut off; files done so far are whole, the others are as they were.
        """
        script = f"{before}{script_for(files) if files else ''}{after}"
        if script:
            self.run(script, stdin=data_of(files), root=root, timeout=timeout, what="writing files")

    def _run(
        self, entry: Entry, script: str, stdin: wire.Data, root: bool, timeout: float, env: Mapping[str, str]
    ) -> Output:
        sudo = root and self._needs_sudo()
        password = entry.sudo_secret(self.host) if sudo and self.host.ssh.sudo_password else None
        mark = wire.new_mark()
        command = wire.command_line(mark, timeout, sudo=sudo, sudo_password=password is not None)
        started = time.monotonic()
        sent = _Counted(wire.payload(mark, script, stdin, env, password))
        result = self._send(entry, command, sent, timeout + GRACE)
        seconds, ended = time.monotonic() - started, time.time()
        stderr = result.stderr.decode(errors="replace")
        stdout = wire.split_output(mark, result.stdout)
        if stdout is None:
            entry.sudo_password = None  # it may have been the wrong one: ask for it again next time
            raise not_started(self.host, result.exited, stderr, sudo=sudo, password=password is not None)
        entry.moved += len(stdout)
        return Output(int(result.exited), stdout, stderr, seconds, sent.began, ended)

    def _needs_sudo(self) -> bool:
        if self.host.ssh.sudo == "none":
            return False
        return os.geteuid() != 0 if self.host.connection == "local" else self.host.ssh.user != "root"

    def _send(self, entry: Entry, command: str, sent: _Counted, timeout: float) -> Any:
        try:
            if self.host.connection == "local":
                return Context(local_config()).run(command, in_stream=sent, timeout=timeout)
            return self._session(entry, command, sent, timeout)
        except Exception as error:
            entry.drop()
            raise classify(error, self._target(), running=sent.begun) from error
        finally:
            entry.moved += sent.bytes

    def _session(self, entry: Entry, command: str, sent: _Counted, timeout: float) -> Any:
        reused = entry.link is not None
        try:
            return self._over(entry.connected(self.host), command, sent, timeout)
        except (paramiko.SSHException, OSError, EOFError):
            # A kept connection may have died unnoticed. Nothing was sent, so once more is safe.
            if sent.begun or not reused:
                raise
            entry.drop()
            return self._over(entry.connected(self.host), command, sent, timeout)

    @staticmethod
    def _over(link: Link, command: str, sent: _Counted, timeout: float) -> Any:
        return link.run(command, in_stream=sent, timeout=timeout)

    def _target(self) -> Target:
        return Target(self.host.name, "local") if self.host.connection == "local" else login_of(self.host).target

    def _judge(self, output: Output, timeout: float, check: bool, what: str) -> None:
        if output.code in _TIMED_OUT and output.seconds >= timeout:
            raise TransientHostError(
                f"{what} did not end within {timeout:g} s",
                host=self.host.name,
                state="it was ended on the host; it may have been carried out in part",
                remedy="look at the host's load and disks, then run again",
            )
        if check and not output.ok:
            raise self._failed(output, what)

    def _failed(self, output: Output, what: str) -> EtcdFlowsError:
        lines = [line for line in output.stderr.splitlines() if line.strip()][-5:]
        said = ": " + " | ".join(lines) if lines else ""
        return CommandFailed(
            f"{what} ended with exit code {output.code}{said}",
            host=self.host.name,
            remedy="see the message above; what was done before it stays, running again continues from there",
        )


class _Counted:
    """An iterator that knows whether and how much was taken from it; invoke wants something true for its input."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self.begun = False
        self.began = 0.0
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self.begun:
            self.begun, self.began = True, time.time()
        piece = next(self._source)
        self.bytes += len(piece)
        return piece
