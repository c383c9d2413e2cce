"""What projects release, and under which names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """A program, or several that are released in one tarball.

    Args:
        name: For people.
        key: Where the cluster file says which version and source: ``etcd``, ``monitoring.prometheus``.
        page: Where the project has its releases; people are sent there.
        tree: What that and mirrors of it have below them for one version, with ``{version}``: ``v{version}``.
        stem: Name of the tarball without its ending, and of the one directory in it: ``{version}``, ``{arch}``.
        sums: Name of the file of SHA-256 sums beside it.
        programs: All of these have to be in it.
        machines: e_machine of the ELF header (elf.h) for each architecture that it is released for.
    """

    name: str
    key: str
    page: str
    tree: str
    stem: str
    sums: str
    programs: tuple[str, ...]
    machines: Mapping[str, int]

    def top(self, version: str, arch: str) -> str:
        """The directory in the tarball."""
        return self.stem.format(version=version, arch=arch)

    def tarball(self, version: str, arch: str) -> str:
        """The tarball's file name."""
        return f"{self.top(version, arch)}.tar.gz"

    def places(self, base: str, version: str) -> tuple[str, ...]:
        """Where below a mirror or directory to look, in order: laid out like the project's own, all in one place."""
        return (f"{base}/{self.tree.format(version=version)}", base)
