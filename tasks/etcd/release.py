"""Getting an etcd release onto the worker; see :mod:`tasks.releases`."""

from __future__ import annotations

from dataclasses import replace

from tasks.cluster.spec import Release
from tasks.etcd.versions import BINARIES, traits
from tasks.releases.fetch import LocalRelease, Progress, fetch_product, silent
from tasks.releases.product import Product

__all__ = ["ETCD", "LocalRelease", "fetch"]

ETCD = Product(
    name="etcd",
    key="etcd",
    page="https://github.com/etcd-io/etcd/releases/download",
    tree="v{version}",
    stem="etcd-v{version}-linux-{arch}",
    sums="SHA256SUMS",
    programs=BINARIES,
    machines={"amd64": 62, "arm64": 183, "ppc64le": 21, "s390x": 22, "riscv64": 243},
)


def fetch(release: Release, arch: str, progress: Progress = silent) -> LocalRelease:
    """The release for one architecture, from the cache if it is there, else from its source.

    Args:
        release: Which, and where from.
        arch: As in the names of release tarballs: ``amd64``, ``arm64``, ...
        progress: Called with bytes done and bytes in all (None when the source does not say).

    Raises:
        InputError: The version is not supported.
        ReleaseError: It can't be had, has no sum to check against, or is not what its sum says. No host was touched.
    """
    return fetch_product(ETCD, replace(release, version=traits(release.version).version), arch, progress)
