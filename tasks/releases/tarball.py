"""Looking into a release tarball without unpacking it."""

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
from tasks.releases.product import Product

_LARGEST = 1 << 30  # bytes; programs of releases have 25 to 200 MB each
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


def inspect(product: Product, tarball: Path, version: str, arch: str) -> Mapping[str, BinaryInfo]:
    """Find the product's programs, for that architecture, in a tarball; nothing is written to disk.

    Raises:
        ReleaseError: It is no tarball, has unsafe paths in it, lacks a program, or is for another version or
            architecture.
    """
    found: dict[str, BinaryInfo] = {}
    try:
        with tarfile.open(tarball, "r|gz") as archive:
            for member in archive:
                path = _safe(member.name, tarball)
                wanted = product.is_program(path.parts) and member.isfile()
                if wanted and (content := archive.extractfile(member)) is not None:
                    _check_top(product, path, product.known_tops(version, arch), tarball)
                    found[path.name] = _examine(product, content, member, arch, tarball)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ReleaseError(
            f"{tarball} can't be read as a .tar.gz ({error or type(error).__name__})",
            remedy="get the release again; a web page saved under that name is the usual cause",
        ) from error
    missing = [name for name in product.programs if name not in found]
    if missing:
        raise ReleaseError(
            f"{tarball} has no {', '.join(missing)} in it",
            remedy=f"use the release tarball of {product.name} {version} as published",
        )
    return found


def _safe(name: str, tarball: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ReleaseError(
            f"{tarball} has the unsafe path {name!r} in it",
            state="nothing was unpacked",
            remedy="do not use it; no release has such paths",
        )
    return path


def _check_top(product: Product, path: PurePosixPath, wanted: tuple[str, ...], tarball: Path) -> None:
    """A release has one directory that says what it is; a tarball packed flat says nothing, and that is accepted."""
    top = path.parts[0] if len(path.parts) > 1 else wanted[0]
    if top.startswith(product.stem.partition("{")[0]) and top not in wanted:
        raise ReleaseError(
            f"{tarball} holds {top}, wanted is {wanted[0]}",
            remedy=f"correct {product.key}.version or the source of the release",
        )


def _examine(product: Product, content: IO[bytes], member: tarfile.TarInfo, arch: str, tarball: Path) -> BinaryInfo:
    if member.size > _LARGEST:
        raise ReleaseError(
            f"{member.name} in {tarball} has {member.size} bytes, which no release has",
            remedy="get the release again from its origin; compare it with SHA256SUMS",
        )
    header = content.read(_HEADER)
    _check_machine(product, header, member.name, arch, tarball)
    digest = hashlib.sha256(header)
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
    return BinaryInfo(digest.hexdigest(), member.size, member.name)


def _check_machine(product: Product, header: bytes, name: str, arch: str, tarball: Path) -> None:
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        raise ReleaseError(f"{name} in {tarball} is no Linux program", remedy="use the linux tarball of the release")
    order = ">" if header[5] == 2 else "<"
    (machine,) = struct.unpack(f"{order}H", header[18:20])
    if machine != product.machines[arch]:
        names = {number: known for known, number in product.machines.items()}
        raise ReleaseError(
            f"{name} in {tarball} is built for {names.get(machine, f'machine {machine}')}, the hosts are {arch}",
            state="no host was touched",
            remedy=f"use the linux-{arch} tarball",
        )
