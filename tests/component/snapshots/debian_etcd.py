"""etcd 3.4 as Debian packages it, unpacked without installing it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.lab import releases
from tests.lab.system import locked, outside

VERSION = "3.4.23"


def binaries_34() -> Path:
    """Directory with etcd and etcdctl 3.4; the test is reported as not run where it can't be had."""
    return outside(_obtain)


def _obtain() -> Path:
    target = releases.cache() / "deb" / f"v{VERSION}"
    with locked(releases.cache() / "lock"):
        if not (target / "usr/bin/etcdctl").is_file():
            releases.cache().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=releases.cache()) as work:
                argv = ["apt-get", "download", f"etcd-server={VERSION}*", f"etcd-client={VERSION}*"]
                try:
                    subprocess.run(argv, cwd=work, capture_output=True, check=True, timeout=120)
                    for package in Path(work).glob("*.deb"):
                        subprocess.run(["dpkg", "-x", package, f"{work}/root"], capture_output=True, check=True)
                except (OSError, subprocess.SubprocessError) as error:
                    pytest.skip(f"NOT RUN: Debian's etcd {VERSION} can't be had here: {error}")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(f"{work}/root", target)
    return target / "usr/bin"
