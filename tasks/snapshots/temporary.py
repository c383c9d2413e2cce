"""A member of its own, started from a snapshot for a while on this machine, that nobody else can reach.

It listens on unix sockets in a private directory, so no other user and no other machine can read what is in it. A
shell stands between: it ends etcd when this process ends, however that happens.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tasks.errors import HostError, SnapshotError
from tasks.etcd.client import Client, connect_socket
from tasks.etcd.gate import reason_from_log
from tasks.etcd.members import last_line
from tasks.etcd.worker_tools import WorkerTools

ROOM = 200 << 20  # bytes that a member writes besides the database: log segments of 64 MB

_NAME = "scratch"
_PEER = "unix://localhost:1"  # advertised only; it has no peers
# Names in the working directory: etcd 3.5.1 takes no path in such a URL, only HOST:PORT, which becomes the file's name.
CLIENT_SOCKET, _PEER_SOCKET = "c:1", "p:1"
#: What etcdutl is told of the member, beside files and directories.
RESTORE = ("--name", _NAME, "--initial-cluster", f"{_NAME}={_PEER}", "--initial-advertise-peer-urls", _PEER)
#: What etcd is told, beside its data directory; it has to be started where its sockets are to be.
ETCD = (
    "--unsafe-no-fsync",
    f"--name={_NAME}",
    f"--listen-client-urls=unix://{CLIENT_SOCKET}",
    "--advertise-client-urls=http://localhost:1",
    f"--listen-peer-urls=unix://{_PEER_SOCKET}",
    f"--initial-advertise-peer-urls={_PEER}",
    f"--initial-cluster={_NAME}={_PEER}",
    # it elects itself: the shorter, the sooner
    "--heartbeat-interval=10",
    "--election-timeout=100",
    "--log-level=warn",
)

# The pipe on its standard input breaks when this process ends; then etcd is killed. When etcd ends, so does the shell.
_GUARDED = 'exec 3<&0; "$@" </dev/null 3<&- & e=$!; { cat >/dev/null; kill -9 "$e"; } <&3 2>/dev/null & wait "$e"'


def restore(db: Path, tools: WorkerTools, data_dir: Path, *, skip_hash_check: bool = False) -> None:
    """Make a data directory for a member of one from a snapshot; etcd's own tool compares the checksum.

    Args:
        db: The snapshot, in clear; only read.
        tools: Of the snapshot's minor version.
        data_dir: Must not exist.
        skip_hash_check: For files without a checksum (a copy of ``member/snap/db``).

    Raises:
        SnapshotError: It is damaged, or there is no room.
    """
    argv: list[str | Path] = [tools.etcdutl, "snapshot", "restore", db, "--data-dir", data_dir, *RESTORE]
    argv += ["--skip-hash-check"] if skip_hash_check else []
    done = subprocess.run(  # noqa: S603 - etcd's own tool, from the checked release
        argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise SnapshotError(
            f"etcdutl {tools.version} can't restore {db.name}: {last_line(done.stderr or done.stdout)}",
            state="nothing but a scratch directory was written",
            remedy="use another snapshot; this one is damaged, unless the disk here is full",
        )


@contextlib.contextmanager
def running(
    data_dir: Path, tools: WorkerTools, *, patience: float = 120.0, force_new_cluster: bool = False
) -> Iterator[Client]:
    """Start a member on a data directory made by :func:`restore`; it is killed when the block ends.

    Args:
        force_new_cluster: The directory is a copy of a member's: all other members are forgotten in it.
        patience: Seconds for it to answer.

    Raises:
        SnapshotError: It does not start.
    """
    forced = ["--force-new-cluster"] if force_new_cluster else []
    with tempfile.TemporaryDirectory(prefix="etcd-", dir=_short()) as sockets, (data_dir / "log").open("w") as log:
        socket = Path(sockets) / CLIENT_SOCKET
        process = subprocess.Popen(  # noqa: S603 - etcd itself, from the checked release
            ["/bin/sh", "-c", _GUARDED, "sh", str(tools.etcd), *ETCD, f"--data-dir={data_dir.absolute()}", *forced],
            env={"PATH": "/usr/bin:/bin"},
            cwd=sockets,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait(process, socket, data_dir / "log", patience)
            with connect_socket(socket, 30.0) as client:
                yield client
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@contextlib.contextmanager
def temporary_member(
    db: Path, tools: WorkerTools, scratch: Path, *, skip_hash_check: bool = False, patience: float = 120.0
) -> Iterator[Client]:
    """A member that serves what is in a snapshot; needs as much room as the snapshot has, and :data:`ROOM`.

    Args:
        db: The snapshot, in clear; only read.
        tools: Of its minor version.
        scratch: An existing private directory; what is made there is left to its owner to remove.
        skip_hash_check: For files without a checksum.
        patience: Seconds for it to start.

    Yields:
        A client of it. Leases may run out in it: read at a fixed revision.

    Raises:
        SnapshotError: The snapshot is damaged, or the member does not start.
    """
    data_dir = scratch / "member"
    restore(db, tools, data_dir, skip_hash_check=skip_hash_check)
    with running(data_dir, tools, patience=patience) as client:
        yield client


def _wait(process: subprocess.Popen[bytes], socket: Path, log: Path, patience: float) -> None:
    end = time.monotonic() + patience
    while time.monotonic() < end and process.poll() is None:
        if socket.exists():
            with contextlib.suppress(HostError), connect_socket(socket, 2.0) as client:
                if client.status().leader_id:
                    return
        time.sleep(0.02)
    text = log.read_text(errors="replace")
    why = reason_from_log(text) or last_line(text)
    what = "ended" if process.poll() is not None else f"did not answer within {patience:g} s"
    raise SnapshotError(
        f"etcd, started from the snapshot, {what}: {why}",
        state="it ran in a scratch directory and is stopped",
        remedy="use another snapshot, unless memory or disk are short here",
    )


def _short() -> str:
    """A directory for sockets, whose paths may have about 100 characters."""
    usual = tempfile.gettempdir()
    return usual if len(usual) < 60 else "/tmp"  # noqa: S108 - the directory made in it is private
