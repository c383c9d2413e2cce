"""The data directory of a member that can't be started any more, read from a copy: its database and its log.

The copy lies in a private directory on the worker, so the host needs neither room nor anything else for it. etcd is
started there once with ``--force-new-cluster``, on unix sockets, and a snapshot of it is taken; the flag never gets
near the cluster itself (rule). What the member had not known to be agreed upon is dropped by etcd then.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.cluster.spec import Cluster, Host
from tasks.errors import CommandFailed, InputError, SnapshotError
from tasks.etcd.client import Client
from tasks.etcd.members import MemberStatus
from tasks.etcd.worker_tools import WorkerTools
from tasks.hosts.shell import Shell
from tasks.hosts.transfer import pull_file
from tasks.reporting.human import size
from tasks.snapshots.capture import Facts, configured_members
from tasks.snapshots.capture_stream import StreamCapture
from tasks.snapshots.source import as_member
from tasks.snapshots.temporary import ROOM, running

Tell = Callable[[str], None]

#: What etcd reads when it starts; half-written and broken files have other names.
_WANTED = ("*.wal", "*.snap", "db")


@dataclass(frozen=True)
class RawFile:
    """One file of a data directory.

    Args:
        path: Below the directory.
        stamp: When it was written, as the host says it.
    """

    path: str
    bytes: int
    stamp: str


@dataclass(frozen=True)
class RawData:
    """A data directory, as it was found.

    Args:
        where: For people: ``etcd-02:/var/lib/etcd``, or a path on the worker.
        host: Name of the host; empty for the worker.
    """

    where: str
    host: str
    directory: str
    files: tuple[RawFile, ...]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def has_log(self) -> bool:
        """Whether the write-ahead log is there too."""
        return any(file.path.endswith(".wal") for file in self.files)

    @property
    def database(self) -> str:
        """Path of the database below the directory; empty if there is none."""
        return next((file.path for file in self.files if file.path.rpartition("/")[2] == "db"), "")


def list_script(directory: str) -> str:
    """Print size, time and path of each file that matters."""
    names = " -o ".join(f"-name {shlex.quote(name)}" for name in _WANTED)
    return (
        f"cd -- {shlex.quote(directory)}\n[ ! -d member ] || cd member\npwd\n"
        f"find . -maxdepth 2 -type f \\( {names} \\) -printf '%s\\t%T@\\t%P\\n' | LC_ALL=C sort -k 3\n"
    )


def look(shell: Shell, directory: str) -> RawData:
    """What is in a data directory on a host.

    Args:
        directory: The data directory, or its ``member``.

    Raises:
        InputError: There is no database in it.
    """
    host = shell.host.name
    out = shell.run(list_script(directory), timeout=60.0, check=False, what="looking at the data directory")
    if out.code != 0:
        raise InputError(
            f"{directory} can't be read",
            host=host,
            state="nothing was touched",
            remedy="name the data dir, or its member/snap/db",
        )
    return _found(f"{host}:{directory}", host, out.text)


def look_here(directory: Path) -> RawData:
    """What is in a data directory, or a copy of one, on this machine.

    Raises:
        InputError: There is no database in it.
    """
    top = directory / "member" if (directory / "member").is_dir() else directory
    try:
        paths = sorted(path for name in _WANTED for path in (*top.glob(name), *top.glob(f"*/{name}")) if path.is_file())
        lines = [f"{p.stat().st_size}\t{p.stat().st_mtime}\t{p.relative_to(top)}" for p in paths]
    except OSError as error:
        why = error.strerror or error
        raise InputError(
            f"{directory} can't be read: {why}",
            state="nothing was touched",
            remedy="name the data dir, or its member/snap/db",
        ) from error
    return _found(str(directory), "", "\n".join([str(top), *lines]))


def _found(where: str, host: str, text: str) -> RawData:
    top, *lines = text.splitlines()
    parts = [line.split("\t", 2) for line in lines if line]
    data = RawData(where, host, top, tuple(RawFile(path, int(count), stamp) for count, stamp, path in parts))
    if not data.database:
        raise InputError(
            f"{where} holds no etcd database",
            state="nothing was touched",
            remedy="give a data directory (with member/snap/db in it), or its member directory",
        )
    return data


def copy(data: RawData, target: Path, shell: Shell | None) -> Path:
    """Copy a data directory to this machine.

    Args:
        target: Private directory that does not exist yet.
        shell: Of its host; None if it is here.

    Returns:
        The copy: a data directory.

    Raises:
        SnapshotError: There is no room here, or it changed meanwhile: something still writes to it.
    """
    free, needed = shutil.disk_usage(target.parent).free, 2 * data.bytes + ROOM
    if free < needed:
        raise SnapshotError(
            f"{target.parent} has {size(free)} free; for a copy of {data.where} {size(needed)} are needed",
            state="nothing was touched",
            remedy="make room there",
        )
    for file in data.files:
        place = target / "member" / file.path
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        source = f"{data.directory}/{file.path}"
        if shell is None:
            shutil.copyfile(source, place)
            continue
        with place.open("wb") as out:
            for piece in pull_file(shell, source):
                out.write(piece)
    now = look_here(Path(data.directory)) if shell is None else look(shell, data.directory)
    if not set(data.files) <= set(now.files):
        raise SnapshotError(
            f"{data.where} changed while it was copied: an etcd is at work on it",
            state="nothing was changed",
            remedy="stop that etcd, then run again; or leave that member out",
        )
    target.chmod(0o700)
    return target


@contextlib.contextmanager
def forced(data_dir: Path, tools: WorkerTools) -> Iterator[Client]:
    """etcd, started on a copy as a cluster of one; stopped when the block ends.

    Raises:
        SnapshotError: It does not start.
    """
    with running(data_dir, tools, force_new_cluster=True) as client:
        yield client


def status_of(host: Host, data_dir: Path, tools: WorkerTools) -> MemberStatus:
    """What the member had, from starting its copy: the comparable part is its term, index and revision.

    Raises:
        SnapshotError: It does not start.
    """
    with forced(data_dir, tools) as client:
        return as_member(host, client.status())


class RawCapture(StreamCapture):
    """See :class:`tasks.snapshots.capture.Capture`: a snapshot of a copy's etcd, which tells where it comes from."""

    def __init__(self, client: Client, cluster: Cluster, host: Host, data: RawData, idle_timeout: float = 60.0) -> None:
        super().__init__(client, host, idle_timeout)
        self._cluster = cluster
        self._data = data

    def facts(self) -> Facts:
        """What is known; of the old cluster, not of the one that the copy was made into."""
        found = super().facts()
        note = (
            f"from a copy of the data directory {self._data.where}, started once as a cluster of one in a scratch "
            "place: what that member did not know to be agreed upon is not in it"
        )
        members = configured_members(self._cluster, replace(self._before, name="", member_id=""))
        return replace(found, source=self._data.where, etcd_cluster_id="", members=members, notes=(*found.notes, note))


def refuse_unreadable(data: RawData, error: Exception) -> CommandFailed:
    """The error for a data directory of which nothing can be made."""
    return CommandFailed(
        f"etcd does not start on a copy of {data.where}: {error}",
        host=data.host or None,
        state="nothing was changed",
        remedy="use another member's, or its database alone (--from-data-dir HOST:PATH/member/snap/db), or a snapshot",
    )
