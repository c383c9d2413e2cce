"""Looking into an etcd release tarball without unpacking it."""

from __future__ import annotations

import hashlib
import struct
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tasks.errors import ReleaseError
from tasks.etcd.versions import BINARIES

#: e_machine of the ELF header (elf.h) for each architecture for which etcd is released, and its usual name.
MACHINES = {"amd64": 62, "arm64": 183, "ppc64le": 21, "s390x": 22, "riscv64": 243}

_LARGEST = 1 << 30  # bytes; a release's programs have about 25 MB each
_CHUNK = 1 << 20
_MAGIC = b"\x7fELF"
_HEADER = 20


@dataclass(frozen=True)
class BinaryInfo:
    """One program in a release.

    Args:
        sha256: Of its content.
        size: In bytes.
        member: Its path inside the tarball.
    """

    sha256: str
    size: int
    member: str


def inspect(tarball: Path, version: str, arch: str) -> Mapping[str, BinaryInfo]:
    """Find etcd, etcdctl and etcdutl, for that architecture, in a tarball; nothing is written to disk.

    Raises:
        ReleaseError: It is no tarball, has unsafe paths in it, lacks a program, or is for another version or
            architecture.
    """
    found: dict[str, BinaryInfo] = {}
    try:
        with tarfile.open(tarball, "r|gz") as archive:
            for member in archive:
                path = _safe(member.name, tarball)
                wanted = path.name in BINARIES and len(path.parts) <= 2 and member.isfile()
                if wanted and (content := archive.extractfile(member)) is not None:
                    _check_top(path, version, arch, tarball)
                    found[path.name] = _examine(content, member, arch, tarball)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ReleaseError(
            f"{tarball} can't be read as a .tar.gz ({error or type(error).__name__})",
            remedy="get the release again; a web page saved under that name is the usual cause",
        ) from error
    missing = [name for name in BINARIES if name not in found]
    if missing:
        raise ReleaseError(
            f"{tarball} has no {', '.join(missing)} in it",
            remedy="use the release tarball of etcd 3.5 or newer as published",
        )
    return found


def _safe(name: str, tarball: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ReleaseError(
            f"{tarball} has the unsafe path {name!r} in it",
            state="nothing was unpacked",
            remedy="do not use it; no etcd release has such paths",
        )
    return path


def _check_top(path: PurePosixPath, version: str, arch: str, tarball: Path) -> None:
    """A release has one directory that says what it is; a tarball packed flat says nothing, and that is accepted."""
    wanted = f"etcd-v{version}-linux-{arch}"
    top = path.parts[0] if len(path.parts) == 2 else wanted
    if top.startswith("etcd-v") and top != wanted:
        raise ReleaseError(
            f"{tarball} holds {top}, wanted is {wanted}", remedy="correct etcd.version or the source of the release"
        )


def _examine(content: IO[bytes], member: tarfile.TarInfo, arch: str, tarball: Path) -> BinaryInfo:
    if member.size > _LARGEST:
        raise ReleaseError(f"{member.name} in {tarball} has {member.size} bytes, which no etcd release has")
    header = content.read(_HEADER)
    _check_machine(header, member.name, arch, tarball)
    digest = hashlib.sha256(header)
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
    return BinaryInfo(digest.hexdigest(), member.size, member.name)


def _check_machine(header: bytes, name: str, arch: str, tarball: Path) -> None:
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        raise ReleaseError(f"{name} in {tarball} is no Linux program", remedy="use the linux tarball of the release")
    order = ">" if header[5] == 2 else "<"
    (machine,) = struct.unpack(f"{order}H", header[18:20])
    if machine != MACHINES[arch]:
        names = {number: known for known, number in MACHINES.items()}
        raise ReleaseError(
            f"{name} in {tarball} is built for {names.get(machine, f'machine {machine}')}, the hosts are {arch}",
            state="no host was touched",
            remedy=f"use the linux-{arch} tarball",
        )
