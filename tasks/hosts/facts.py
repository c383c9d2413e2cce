"""What is true on a host, observed in one round trip, and nothing but observed.

``None`` always means *unknown*, never *absent*: unknown is never treated as absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FileFact:
    """One path on a host.

    Args:
        kind: ``absent``, ``file``, ``dir``, ``link`` or ``other``.
        mode: Permission bits (0o640), 0 when absent.
        sha256: Of a regular file's content, None when not asked for, absent or unreadable.
        content: Bytes of a regular file, None unless its content was asked for. Never asked for private keys.
    """

    path: str
    kind: Literal["absent", "file", "dir", "link", "other"]
    mode: int = 0
    owner: str = ""
    group: str = ""
    size: int = 0
    sha256: str | None = None
    content: bytes | None = None

    @property
    def present(self) -> bool:
        """Whether anything is there."""
        return self.kind != "absent"


@dataclass(frozen=True)
class ServiceFact:
    """A unit of the service manager.

    Args:
        active: systemd's ActiveState (``active``, ``activating``, ``inactive``, ``failed``) or its like.
        enabled: Whether it starts at boot.
        main_pid: 0 when it does not run.
        stale: The unit file changed since the manager read it (systemd's NeedDaemonReload).
        started_at: Unix time of the last start in seconds, None when it never ran.
        environ: The ETCD_* variables and GOMAXPROCS that the running process was started with (/proc/PID/environ): what
            is in force, whatever the file says now. None when nothing runs or it can't be read.
        exe_replaced: The running program's file is no longer the one on disk (/proc/PID/exe is "(deleted)").
    """

    known: bool
    active: str = "inactive"
    enabled: bool = False
    main_pid: int = 0
    stale: bool = False
    started_at: float | None = None
    environ: dict[str, str] | None = None
    exe_replaced: bool | None = None

    @property
    def running(self) -> bool:
        """Whether there is a process, even one that is not ready yet."""
        return self.main_pid > 0


@dataclass(frozen=True)
class DataDirFact:
    """The data dir.

    Args:
        kind: ``absent``, ``empty`` (lost+found does not count), ``etcd`` (has member/), ``foreign`` (anything else).
        entries: Up to ten names found in it.
        mount_point: Whether it is one.
        free_bytes: Free on the filesystem that it is, or would be, on.
        path: Where it is, if a restore has put it inside the cluster file's data dir; else empty.
    """

    kind: Literal["absent", "empty", "etcd", "foreign"]
    entries: tuple[str, ...]
    owner: str
    mode: int
    mount_point: bool
    free_bytes: int | None
    path: str = ""


@dataclass(frozen=True)
class HostFacts:
    """All facts of one host.

    Args:
        host: Its name in the cluster file.
        arch: Release architecture: ``amd64``, ``arm64``, ...; from ``uname -m``.
        clock_offset: Seconds that the host's clock is ahead of the worker's, None if unknown.
        clock_error: Half the round trip: the offset is right within this many seconds.
        missing_tools: Of those the product needs there.
        etcd_version: What the installed binary says, ``None`` if there is none that runs.
        files: By path, for every path that was asked for.
    """

    host: str
    hostname: str
    arch: str
    machine: str
    os_id: str
    os_version: str
    kernel: str
    systemd: int | None
    login_user: str
    cpus: int
    memory_bytes: int
    clock_offset: float | None
    clock_error: float
    missing_tools: tuple[str, ...]
    etcd_version: str | None
    etcd_user: bool
    service: ServiceFact
    data_dir: DataDirFact
    files: dict[str, FileFact]

    def file(self, path: str) -> FileFact:
        """The fact about one path.

        Raises:
            KeyError: That path was not asked for; unknown must not be taken for absent.
        """
        return self.files[path]
