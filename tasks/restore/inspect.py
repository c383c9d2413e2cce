"""What is in a database file, asked of etcdutl on the worker; the file is only read."""

from __future__ import annotations

import json
import platform
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tasks.errors import SnapshotDamaged, SnapshotError
from tasks.etcd.release import LocalRelease

TIMEOUT = 600.0  # seconds; etcdutl reads all pages
_ARCHES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "ppc64le": "ppc64le"}


def worker_arch() -> str:
    """The architecture of this machine, as releases are called."""
    return _ARCHES.get(platform.machine(), platform.machine())


def newest_revision(path: Path, release: LocalRelease) -> int:
    """The newest revision in the file; its pages are checked on the way.

    Args:
        release: For this machine, of the version that is to restore it.

    Raises:
        SnapshotDamaged: etcdutl does not take it for a database.
        SnapshotError: etcdutl can't be run.
    """
    with tempfile.TemporaryDirectory(prefix="etcd-flows-") as directory:
        etcdutl = _unpacked(release, Path(directory))
        try:
            done = subprocess.run(  # noqa: S603 - a program of a release whose checksum was compared
                [etcdutl, "snapshot", "status", str(path), "-w", "json"],
                capture_output=True,
                timeout=TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SnapshotError(
                f"etcdutl {release.version} could not look into {path}: {error}",
                remedy="verify it (`etcd-flows snapshots verify`), or take another one",
            ) from error
    try:
        return int(json.loads(done.stdout)["revision"])
    except (ValueError, KeyError, TypeError):
        said = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise SnapshotDamaged(
            f"{path} is not a database that etcdutl {release.version} can read: {said[:200]}",
            state="nothing was touched",
            remedy="use another snapshot",
        ) from None


def _unpacked(release: LocalRelease, directory: Path) -> str:
    target = directory / "etcdutl"
    with tarfile.open(release.tarball) as tarball, target.open("wb") as out:
        program = tarball.extractfile(release.binaries["etcdutl"].member)
        if program is None:
            raise SnapshotError(
                f"{release.tarball} holds no etcdutl",
                remedy="get the release again: remove it from the cache (etcd.release.cache)",
            )
        while piece := program.read(1 << 20):
            out.write(piece)
    target.chmod(0o700)
    return str(target)
