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
        tree: What that and mirrors of it have below them for one version, with ``{version}``: ``v{version}``; empty
            if all versions lie side by side.
        stem: Name of the tarball without its ending, and of the one directory in it: ``{version}``, ``{arch}``.
        sums: Name of the file of SHA-256 sums beside it, with ``{tarball}`` where each has one.
        programs: All of these have to be in it.
        machines: e_machine of the ELF header (elf.h) for each architecture that it is released for.
        whole: Whether it needs all that is in the tarball, not its programs alone.
        tops: Other names that the one directory in the tarball may have.
        folder: The directory in that one that the programs are in, for a whole one.
    """

    name: str
    key: str
    page: str
    tree: str
    stem: str
    sums: str
    programs: tuple[str, ...]
    machines: Mapping[str, int]
    whole: bool = False
    tops: tuple[str, ...] = ()
    folder: str = ""

    def top(self, version: str, arch: str) -> str:
        """The directory in the tarball."""
        return self.stem.format(version=version, arch=arch)

    def tarball(self, version: str, arch: str) -> str:
        """The tarball's file name."""
        return f"{self.top(version, arch)}.tar.gz"

    def places(self, base: str, version: str) -> tuple[str, ...]:
        """Where below a mirror or directory to look, in order: laid out like the project's own, all in one place."""
        return (f"{base}/{self.tree.format(version=version)}", base) if self.tree else (base,)

    def sums_of(self, tarball: str) -> str:
        """Name of the file of sums beside a tarball of that name."""
        return self.sums.format(tarball=tarball)

    def known_tops(self, version: str, arch: str) -> tuple[str, ...]:
        """Names that the directory in the tarball may have."""
        return (self.top(version, arch), *(top.format(version=version, arch=arch) for top in self.tops))

    def is_program(self, parts: tuple[str, ...]) -> bool:
        """Whether a path in the tarball is one of the programs; a tarball packed flat is accepted if that is all."""
        if not parts or parts[-1] not in self.programs:
            return False
        return parts[1:-1] == (self.folder,) if self.folder else len(parts) <= 2
