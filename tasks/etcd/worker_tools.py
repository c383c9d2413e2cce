"""etcd's own programs on the worker, out of the checked release: to look into snapshots, never to serve."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.cluster.spec import Release
from tasks.errors import InputError, ReleaseError
from tasks.etcd.release import LocalRelease, fetch
from tasks.etcd.versions import NEWEST, parse_version
from tasks.releases.tarball import BinaryInfo

#: Machine names of the kernel that etcd's releases call otherwise.
ARCHS = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class WorkerTools:
    """Programs of one release that run on this machine."""

    version: str
    etcd: Path
    etcdutl: Path


def release_for(release: Release, etcd_version: str) -> Release:
    """The release whose tools fit a snapshot: of its own minor version, which need not be the cluster's any more. Pure.

    Args:
        release: The cluster's.
        etcd_version: That the snapshot was made with; empty if not known. What is older than all supported versions is
            read by the oldest of them.
    """
    try:
        number, own = parse_version(etcd_version)[:2], parse_version(release.version)[:2]
    except InputError:
        return release
    line = f"{number[0]}.{number[1]}"
    if number == own or (line not in NEWEST and number > own):
        return release
    return replace(release, version=NEWEST.get(line, NEWEST[min(NEWEST)]), sha256=None)


def worker_tools(release: Release) -> WorkerTools:
    """The programs of a release for this machine; fetched and unpacked into the cache unless they are there.

    Raises:
        ReleaseError: The release can't be had, or can't be unpacked.
    """
    machine = platform.machine()
    local = fetch(release, ARCHS.get(machine, machine))
    place = local.tarball.parent / "bin"
    try:
        place.mkdir(exist_ok=True)
        with (place / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            wanted = {name: local.binaries[name] for name in ("etcd", "etcdutl")}
            if not all(_is(place / name, info) for name, info in wanted.items()):
                _unpack(local, place, wanted)
    except OSError as error:
        raise ReleaseError(
            f"etcd {local.version} can't be unpacked into {place}: {error.strerror or error}",
            state="no host was touched",
            remedy="make room there, or choose another directory: etcd.release.cache in the cluster file",
        ) from error
    return WorkerTools(local.version, place / "etcd", place / "etcdutl")


def _is(path: Path, info: BinaryInfo) -> bool:
    if not path.is_file() or path.stat().st_size != info.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == info.sha256


def _unpack(local: LocalRelease, place: Path, wanted: Mapping[str, BinaryInfo]) -> None:
    with tarfile.open(local.tarball, "r:gz") as archive:
        for name, info in wanted.items():
            content = archive.extractfile(info.member)
            handle, part = tempfile.mkstemp(prefix=".part-", dir=place)
            with os.fdopen(handle, "wb") as file:
                if content is not None:
                    shutil.copyfileobj(content, file)
                os.fchmod(file.fileno(), 0o755)
            Path(part).replace(place / name)
