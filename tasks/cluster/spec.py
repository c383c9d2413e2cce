"""The cluster as the rest of the program sees it: complete, checked, immutable.

:mod:`tasks.cluster.load` builds these from a cluster file; every default is filled in, every path absolute. Secrets are
held as references (:class:`SecretRef`), never as values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tasks.cluster.spec_hosts import Host, Jump, Paths, SecretRef, Ssh, bracket, is_ip
from tasks.cluster.spec_monitoring import MonitoringSettings
from tasks.cluster.spec_release import Release
from tasks.cluster.spec_snapshots import (
    NO_SNAPSHOTS,
    RetentionSettings,
    S3Settings,
    SnapshotSettings,
    StoreSettings,
)

__all__ = [
    "NO_SNAPSHOTS",
    "Cluster",
    "DrillPlace",
    "EtcdSettings",
    "Hook",
    "Host",
    "Jump",
    "MonitoringSettings",
    "Paths",
    "PkiSettings",
    "Release",
    "RestoreSettings",
    "RetentionSettings",
    "S3Settings",
    "SecretRef",
    "SnapshotSettings",
    "Ssh",
    "StoreSettings",
    "bracket",
    "is_ip",
]


@dataclass(frozen=True)
class EtcdSettings:
    """How every member is configured."""

    user: str
    quota_bytes: int
    auto_compaction_mode: Literal["periodic", "revision"]
    auto_compaction_retention: str
    heartbeat_ms: int
    election_ms: int
    snapshot_count: int | None
    tls_min_version: Literal["TLS1.2", "TLS1.3"]
    corruption_checks: bool
    log_level: Literal["debug", "info", "warn", "error"]
    memory_low: str
    extra: tuple[tuple[str, str], ...]  # further ETCD_* settings, verbatim
    etc_hosts: bool
    start_timeout: float
    metrics: Literal["basic", "extensive"] = "basic"


@dataclass(frozen=True)
class PkiSettings:
    """Certificates: where the CA lives, how long things are valid.

    Args:
        state_dir: Operator's directory, 0700, with ca.crt, ca.key and the operator's client certificate.
        ca_key: ``operator`` keeps the CA key off the members; ``hosts`` also copies it there.
        passphrase: Encrypts ca.key on the operator's disk.
    """

    state_dir: Path
    ca_key: Literal["operator", "hosts"]
    passphrase: SecretRef | None
    key_type: Literal["ec-p256", "rsa-2048", "rsa-3072", "rsa-4096"]
    ca_days: int
    leaf_days: int
    extra_sans: tuple[str, ...]


@dataclass(frozen=True)
class Hook:
    """A command for the cluster's clients, run around a restore.

    Args:
        host: Where: a member's host, another machine, or this one (``connection: local``).
        command: Shell text.
        timeout: Seconds.
        secrets: Environment variables and where their values are to be had.
    """

    name: str
    host: Host
    command: str
    timeout: float
    secrets: tuple[tuple[str, SecretRef], ...] = ()


@dataclass(frozen=True)
class DrillPlace:
    """A machine for drills that is neither the worker nor a member's.

    Args:
        host: How to reach it.
        directory: In which a drill makes one of its own.
    """

    host: Host
    directory: str


@dataclass(frozen=True)
class RestoreSettings:
    """What is done to clients around a restore, in this order."""

    before_stop: tuple[Hook, ...] = ()
    after_proof: tuple[Hook, ...] = ()


@dataclass(frozen=True)
class Cluster:
    """A whole cluster file, resolved.

    Args:
        drill_schedule: When drills are held by themselves; cron in UTC, or None.
        rto_seconds: How long a restore may take, None where that is not set.
        drill_place: Where drills restore; None for the machine that the flow runs on.
    """

    name: str
    hosts: tuple[Host, ...]
    release: Release
    etcd: EtcdSettings
    pki: PkiSettings
    snapshots: SnapshotSettings = NO_SNAPSHOTS
    drill_schedule: str | None = None
    rto_seconds: float | None = None
    drill_place: DrillPlace | None = None
    monitoring: MonitoringSettings | None = None
    restore: RestoreSettings = RestoreSettings()
    source: Path | None = field(default=None, compare=False)

    @property
    def all_hosts(self) -> tuple[Host, ...]:
        """The members' hosts, and the monitoring host where that is another one."""
        watcher = self.monitoring.host if self.monitoring else None
        extra = watcher is not None and watcher.name not in {host.name for host in self.hosts}
        return (*self.hosts, watcher) if watcher is not None and extra else self.hosts

    @property
    def quorum(self) -> int:
        """Members that must agree: a majority."""
        return len(self.hosts) // 2 + 1

    @property
    def initial_cluster(self) -> str:
        """``name=peer-url`` of all members, as ETCD_INITIAL_CLUSTER wants it."""
        return ",".join(f"{host.name}={host.peer_url}" for host in self.hosts)

    def host(self, name: str) -> Host:
        """The host of that name.

        Raises:
            KeyError: There is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)
