"""Ceph's radosgw, mon and osd from Debian packages, unpacked below the tests' cache and not installed.

Needs apt and dpkg-deb, but no root. Run as a script to fill the cache: ``python -m tests.s3.packages``.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from tests.lab.debian import PackagesUnavailable, unpacked

SUITE = os.environ.get("ETCD_FLOWS_S3_SUITE", "forky")
PACKAGES = ("radosgw", "ceph-mon", "ceph-osd")
_MACHINES = {
    "x86_64": ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
    "aarch64": ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
}


class S3Unavailable(Exception):
    """No S3 server can be had on this machine; the message says what was tried."""


def libraries(root: Path) -> tuple[Path, Path]:
    """Where an unpacked system has its libraries, and its dynamic linker."""
    triplet, linker = _MACHINES.get(platform.machine(), ("", ""))
    return root / "usr/lib" / triplet, root / "usr/lib" / triplet / linker


def ceph() -> Path:
    """The root directory of the unpacked packages; made now (half a minute, 150 MB to load) if it is not there.

    Raises:
        S3Unavailable: It can't be had here.
    """
    if platform.machine() not in _MACHINES:
        raise S3Unavailable(f"Debian has no Ceph for {platform.machine()}")
    try:
        return unpacked("ceph", SUITE, PACKAGES)
    except PackagesUnavailable as error:
        raise S3Unavailable(str(error)) from error


if __name__ == "__main__":
    try:
        print(ceph())
    except S3Unavailable as problem:
        sys.exit(f"s3: {problem}")
