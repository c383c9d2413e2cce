"""What is in a snapshot, from opening it: proof of the level ``opened``.

etcd's own tools do it: ``etcdutl snapshot status`` checks every page (bbolt's check), ``etcdutl snapshot restore``
compares the checksum, and a member started from it tells its hash and counts its live keys. Not used: status' key
count, which differs between versions, and ``etcdutl hashkv``, which 3.5 does not have.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tasks.errors import EtcdFlowsError, SnapshotDamaged
from tasks.etcd.members import last_line
from tasks.etcd.rpc_types import HashKV as MemberHash
from tasks.etcd.worker_tools import WorkerTools
from tasks.snapshots.manifest import HashKV
from tasks.snapshots.temporary import temporary_member


@dataclass(frozen=True)
class Opened:
    """What was found.

    Args:
        revision: Newest revision in it, exactly.
        hashkv: Hash over all of it, at that revision.
        hashkv_at: Hash at the revision that was asked for, None if it is not in it (compacted, or newer).
        keys: Live keys; None if they can't be counted (the snapshot has users and passwords switched on).
        storage_version: Of the data; empty before etcd 3.6.
        tool_version: Of the etcd that opened it.
        seconds: How long it took.
    """

    revision: int
    hashkv: HashKV
    hashkv_at: HashKV | None
    keys: int | None
    storage_version: str
    tool_version: str
    seconds: float


def open_snapshot(db: Path, tools: WorkerTools, scratch: Path, *, at: int = 0, skip_hash_check: bool = False) -> Opened:
    """Open a snapshot and look at all of it.

    Args:
        db: In clear; only read.
        tools: Of its minor version.
        scratch: Private directory with room for a copy (:data:`tasks.snapshots.temporary.ROOM` more).
        at: Revision for :attr:`Opened.hashkv_at`, the manifest's.
        skip_hash_check: For files without a checksum.

    Raises:
        SnapshotDamaged: A page of it is broken.
        SnapshotError: It is damaged, or disk or memory here are short.
    """
    started = time.monotonic()
    status = check_pages(db, tools)
    with temporary_member(db, tools, scratch, skip_hash_check=skip_hash_check) as client:
        return replace(look_inside(client, status, tools.version, at), seconds=time.monotonic() - started)


class Asked(Protocol):
    """What is asked of a member; :class:`tasks.etcd.client.Client` is one."""

    def hash_kv(self, revision: int = 0) -> MemberHash:
        """The hash over its data, up to a revision."""
        ...

    def count(self, revision: int = 0) -> int:
        """How many keys are alive at a revision."""
        ...


def look_inside(client: Asked, status: FileStatus, version: str, at: int = 0) -> Opened:
    """What a member that was started from a snapshot has, at the snapshot's own revision.

    Args:
        status: Of the file it was started from.
        version: Of the etcd with which that was done.
        at: As for :func:`open_snapshot`.
    """
    started = time.monotonic()
    newest = client.hash_kv()
    # The file's newest key may be older than a compaction; a lease that has just run out writes newer ones.
    revision = max(status.revision, newest.compact_revision, 1)
    found = _hash(client, revision)
    return Opened(
        revision=revision,
        hashkv=found,
        hashkv_at=_hash_at(client, at, found),
        keys=_count(client, revision),
        storage_version=status.storage_version,
        tool_version=version,
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True)
class FileStatus:
    """What etcdutl tells of a file.

    Args:
        revision: Of the newest key in it.
        storage_version: Empty before etcd 3.6.
    """

    revision: int
    storage_version: str


def check_pages(db: Path, tools: WorkerTools) -> FileStatus:
    """Have every page of the file checked.

    Raises:
        SnapshotDamaged: The file is damaged.
    """
    argv: list[str | Path] = [tools.etcdutl, "snapshot", "status", db, "-w", "json"]
    done = subprocess.run(  # noqa: S603 - etcd's own tool, from the checked release
        argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    return file_status(db.name, done.returncode, done.stdout, done.stderr)


def file_status(name: str, code: int, stdout: str, stderr: str) -> FileStatus:
    """What ``etcdutl snapshot status -w json`` has found.

    Raises:
        SnapshotDamaged: The file is damaged.
    """
    try:
        said = json.loads(stdout) if code == 0 else {}
        return FileStatus(int(said["revision"]), str(said.get("version", "")))
    except (ValueError, KeyError, TypeError) as error:
        raise SnapshotDamaged(
            f"{name} is no whole database: {last_line(stderr or stdout)}",
            state="it was only read",
            remedy="use another snapshot",
        ) from error


def _hash(client: Asked, revision: int) -> HashKV:
    found = client.hash_kv(revision)
    return HashKV(found.revision, found.compact_revision, found.hash)


def _hash_at(client: Asked, at: int, newest: HashKV) -> HashKV | None:
    if at == newest.revision:
        return newest
    if at > newest.revision or at < max(newest.compact_revision, 1):
        return None
    return _hash(client, at)


def _count(client: Asked, revision: int) -> int | None:
    try:
        return client.count(revision)
    except EtcdFlowsError as error:
        if "user name is empty" in error.message:
            return None
        raise
