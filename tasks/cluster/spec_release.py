"""Where a program comes from; part of :mod:`tasks.cluster.spec`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Release:
    """Which version of a program, and where from.

    Args:
        version: Without the v: ``3.6.16``.
        source: ``official``, an http(s) mirror URL, a directory, or a tarball's path.
        sha256: Pinned sum of the tarball, or None for the file of sums beside it.
        cache: Directory on the worker where checked tarballs are kept.
    """

    version: str
    source: str
    sha256: str | None
    cache: Path
