"""What a preflight saw on a host, and nothing but seen; ``None`` means unknown, as in :mod:`tasks.hosts.facts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["peer", "client"]
KINDS: tuple[Kind, ...] = ("peer", "client")

#: Begins the names of the transient units that listen for a preflight.
UNIT_PREFIX = "etcd-flows-preflight"


@dataclass(frozen=True)
class Socket:
    """A listening socket on a port that etcd wants.

    Args:
        pid: Of who holds it, 0 if that could not be seen.
        program: Its name, as far as the kernel keeps it (15 characters).
        unit: Its unit or scope.
    """

    address: str
    port: int
    pid: int = 0
    program: str = ""
    unit: str = ""

    @property
    def ours(self) -> bool:
        """Whether it belongs to another preflight."""
        return self.unit.startswith(UNIT_PREFIX)


@dataclass(frozen=True)
class PathProbe:
    """A path that will be written to, seen at the nearest thing that is there.

    Args:
        near: That thing's path, links resolved; the path itself if it is there.
        directory: Whether that is a directory.
        writable: Whether files can be made there.
        mount: Where its filesystem is mounted.
        options: Mount options; empty if unknown.
        free_bytes: Free on that filesystem, None if unknown.
    """

    near: str
    directory: bool
    writable: bool
    mount: str
    options: frozenset[str]
    free_bytes: int | None


@dataclass(frozen=True)
class WayStep:
    """A directory on the way to another one."""

    path: str
    mode: int
    owner: str
    group: str


@dataclass(frozen=True)
class Lookup:
    """What a name resolves to.

    Args:
        addresses: In the resolver's order, each once.
        code: getent's exit code: 0 found, 2 not found, 124 no answer in time.
    """

    addresses: tuple[str, ...]
    code: int


@dataclass(frozen=True)
class DiskSpeed:
    """How long writes take to reach the disk.

    Args:
        ms: Milliseconds of each write, in order; None when it was not measured.
        failed: Why not, if it should have been.
    """

    ms: tuple[float, ...] | None
    failed: str


@dataclass(frozen=True)
class HostProbe:
    """All that was seen on one host.

    Args:
        sockets: On etcd's ports.
        addresses: Of its network cards.
        paths: By the path that was asked for.
        way: The directories on the way to the data dir, data dir included if it is there.
        names: By name.
        fsync_ms: Milliseconds of each write, in order; None when it was not measured.
        fsync_failed: Why not, if it should have been.
        doors: Kinds for which something listens now, for the other members to connect to.
        timesync: Whether a time service runs.
        container: Whether the clock is that of a machine outside.
        swap: Bytes (in all, in use).
    """

    host: str
    root: bool
    sockets: tuple[Socket, ...] | None
    addresses: frozenset[str] | None
    paths: Mapping[str, PathProbe]
    way: tuple[WayStep, ...]
    names: Mapping[str, Lookup]
    fsync_ms: tuple[float, ...] | None
    fsync_failed: str
    doors: frozenset[Kind]
    timesync: bool | None
    container: bool
    swap: tuple[int, int]
    selinux: Literal["enforcing", "permissive", "off"]
