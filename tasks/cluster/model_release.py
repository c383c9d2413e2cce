"""The cluster file's keys for where a program comes from."""

from __future__ import annotations

from tasks.cluster.model_base import Section, entry
from tasks.cluster.values import Sha256, Source, WorkerPath


class ReleaseSection(Section):
    """Where a program comes from."""

    source: Source = entry(
        "official",
        "`official` (the project's release page), an http(s) mirror with the same layout, a directory or a tarball on "
        "the worker. official by default: nothing to prepare.",
        "https://mirror.example.com/etcd",
    )
    sha256: Sha256 | None = entry(
        None,
        "Pinned SHA-256 of the tarball. Default: the file of sums beside it (SHA256SUMS, sha256sums.txt); pin it when "
        "the mirror is not yours.",
        "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9",
    )
    cache: WorkerPath = entry(
        "~/.cache/etcd-flows",
        "Directory on the worker for checked tarballs, so that each is fetched once.",
        "/var/cache/etcd-flows",
    )
