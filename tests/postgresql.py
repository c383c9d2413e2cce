"""A PostgreSQL server for tests, from Debian's or Ubuntu's package: on loopback, gone at the end with its data."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

#: It refuses to run as root.
_USER = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
_START_SECONDS = 60


def _program(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if not found:
        pytest.skip("NOT RUN: PostgreSQL is not installed; as root, `make test-tools` installs it")
    return str(found[-1])


@dataclass(frozen=True)
class Database:
    """A running server with one database.

    Args:
        port: On loopback.
        pid: Of its first process.
    """

    port: int
    pid: int

    @property
    def url(self) -> str:
        """Of the database, as Prefect wants it."""
        return f"postgresql+asyncpg://prefect@127.0.0.1:{self.port}/postgres"

    def ask(self, query: str) -> str:
        """The answer to a query, as text."""
        words = [_program("psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "prefect", "-tAc", query, "postgres"]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@contextmanager
def postgresql() -> Iterator[Database]:
    """A running server, gone at the end with its data."""
    postgres, initdb = _program("postgres"), _program("initdb")
    root = Path(tempfile.mkdtemp(prefix="efl-pg-", dir="/tmp"))
    as_user = _USER if os.geteuid() == 0 else ()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        if as_user:
            shutil.chown(root, "nobody", "nogroup")
        words = [*as_user, initdb, "-D", str(root / "data"), "-U", "prefect", "--auth=trust", "-E", "UTF8", "-N"]
        subprocess.run(words, check=True, capture_output=True, timeout=120, cwd="/")
        settings = ("listen_addresses=127.0.0.1", f"port={port}", f"unix_socket_directories={root}", "fsync=off")
        options = [word for setting in settings for word in ("-c", setting)]
        with (root.with_suffix(".log")).open("wb") as log:
            process = subprocess.Popen(
                [*as_user, postgres, "-D", str(root / "data"), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        try:
            until = time.monotonic() + _START_SECONDS
            while subprocess.run([_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode:
                assert process.poll() is None, root.with_suffix(".log").read_text()
                assert time.monotonic() < until, root.with_suffix(".log").read_text()
                time.sleep(0.1)
            yield Database(port, process.pid)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(60)
    finally:
        shutil.rmtree(root, ignore_errors=True)
        root.with_suffix(".log").unlink(missing_ok=True)
