"""The cluster file's keys: what each means, its default, and why that default.

The texts here are what editors show (:mod:`tasks.cluster.schema`) and what the reference in the README is made of.
"docs" in them means etcd's operations guide, tuning page and hardware page for 3.6.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from tasks.cluster.model_base import Section, entry, section
from tasks.cluster.model_drill import DrillSection
from tasks.cluster.model_hosts import HostSection, JumpSection, SshSection
from tasks.cluster.model_monitoring import (
    AlertmanagerSection,
    AlertsSection,
    EmailSection,
    MetricsSection,
    MonitoringHostSection,
    MonitoringSection,
    NodeExporterSection,
    PrometheusSection,
    ReceiverSection,
    SlackSection,
    WebhookSection,
    WebSection,
)
from tasks.cluster.model_release import ReleaseSection
from tasks.cluster.model_restore import HookSection, RestoreSection
from tasks.cluster.model_snapshots import (
    EncryptionSection,
    RetentionSection,
    S3Section,
    SigningSection,
    SnapshotsSection,
    StoreSection,
)
from tasks.cluster.owned import setting_name
from tasks.cluster.problems import KeyPath
from tasks.cluster.values import (
    ClusterName,
    FreeText,
    HostPath,
    Retention,
    SecretReference,
    Size,
    SubjectName,
    SystemdSize,
    SystemUser,
    Version,
    WorkerPath,
)

_VERBATIM_KEYS = ("version", "sha256", "retention", "memory_low", "retention_time")
_VERBATIM_SECTIONS = ("labels", "extra", "tags")


def is_verbatim(path: KeyPath) -> bool:
    """Whether an unquoted value at this key path is text as it stands (``version: 3.6``, ``rack: 012``)."""
    return bool(path) and (path[-1] in _VERBATIM_KEYS or (len(path) > 1 and path[-2] in _VERBATIM_SECTIONS))


class CompactionSection(Section):
    """What etcd forgets by itself."""

    mode: Literal["periodic", "revision"] = entry(
        "periodic",
        "By age (`periodic`) or by number of revisions (`revision`); age is easier to reason about.",
        "revision",
    )
    retention: Retention = entry(
        "8h",
        "How much history to keep: a duration (8h) or a number of revisions. 8 h bounds what any client leaves that "
        "does not compact; Kubernetes compacts every 5 minutes itself.",
        "1h",
    )


class EtcdSection(Section):
    """How every member is set up."""

    version: Version = entry(
        "3.6.16",
        "etcd version: 3.5.x, 3.6.x or 3.7.x. Newest 3.6 by default: stable, half the memory of 3.5.",
        "3.6.16",
    )
    release: ReleaseSection = section(ReleaseSection, "Where the release comes from.", {"source": "/srv/etcd-releases"})
    user: SystemUser = entry("etcd", "System user that etcd runs as; not root, since etcd needs no privilege.", "etcd")
    install_dir: HostPath = entry(
        "/opt/bin", "Where the binaries go; etcdadm's place, so that clusters look alike.", "/usr/local/bin"
    )
    pki_dir: HostPath = entry("/etc/etcd/pki", "Where certificates and keys go; etcdadm's place.", "/etc/ssl/etcd")
    config_dir: HostPath = entry("/etc/etcd", "Where etcd.env and etcdctl.env go; etcdadm's place.", "/etc/etcd")
    data_dir: HostPath = entry(
        "/var/lib/etcd", "Data directory; the usual place, often a mount point of its own.", "/mnt/etcd"
    )
    quota: Size = entry(
        "8GiB",
        "Largest database before etcd refuses writes (NOSPACE). 8GiB is the maximum the docs suggest; etcd's own 2GiB "
        "is reached too soon on busy Kubernetes clusters.",
        "4GiB",
        validate_default=True,
    )
    auto_compaction: CompactionSection = section(
        CompactionSection,
        "Old revisions dropped by etcd itself; without it the database only grows.",
        {"mode": "periodic", "retention": "8h"},
    )
    heartbeat_ms: int = entry(
        100,
        "Milliseconds between the leader's heartbeats; 100 suits round trips up to 100 ms (docs: 0.5 to 1.5 x RTT).",
        250,
        ge=1,
        le=10_000,
    )
    election_ms: int = entry(
        1000,
        "Milliseconds without heartbeat before an election; 10 heartbeats, as the docs advise.",
        2500,
        ge=5,
        le=50_000,
    )
    snapshot_count: int | None = entry(
        None,
        "Raft entries between internal snapshots. Default: etcd's own for that version (10000 in 3.6), which its "
        "memory use is tuned for.",
        10000,
        ge=100,
        le=10_000_000,
    )
    tls_min_version: Literal["TLS1.2", "TLS1.3"] = entry(
        "TLS1.2",
        "Oldest TLS accepted. TLS1.2 because older clients still need it; etcd's ciphers for it are sound.",
        "TLS1.3",
    )
    corruption_checks: bool = entry(
        True,
        "Compare data between members at start and on compaction; on, as the docs recommend: corruption spreads.",
        False,
    )
    log_level: Literal["debug", "info", "warn", "error"] = entry(
        "info", "How much etcd logs; info is needed to understand an election afterwards.", "warn"
    )
    memory_low: SystemdSize = entry(
        "200M",
        "Memory that systemd protects from reclaim (MemoryLow); etcdadm's value, enough for a small member.",
        "1G",
    )
    extra: dict[Annotated[str, AfterValidator(setting_name)], FreeText] = entry(
        {},
        "Further ETCD_* settings, passed on as they are. Default: none. What other keys make is refused here.",
        {"ETCD_MAX_REQUEST_BYTES": "10485760"},
    )
    etc_hosts: bool = entry(
        False,
        "Whether to keep a marked block of all member names in /etc/hosts. Off, since DNS is usually someone's job.",
        True,
    )
    start_timeout: float = entry(
        120.0,
        "Seconds a member may take to become healthy; 120 covers reading 8 GiB from a slow disk.",
        300,
        gt=0,
        le=3600,
    )


class PkiSection(Section):
    """Certificates."""

    state_dir: WorkerPath | None = entry(
        None,
        "Directory on the worker, 0700, with the CA and the operator's certificate. Default: "
        "$XDG_STATE_HOME/etcd-flows/NAME, else ~/.local/state/etcd-flows/NAME, out of any repository.",
        "/srv/etcd-state/prod-a",
    )
    ca_key: Literal["operator", "hosts"] = entry(
        "operator",
        "Where the CA's key is kept: with the operator only, or on every member too, as etcdadm does. operator, "
        "because one stolen member must not be able to issue certificates.",
        "hosts",
    )
    passphrase: SecretReference | None = entry(
        None,
        "Encrypts the CA's key on the worker's disk, by reference. Default: none, file modes protect it.",
        "env:ETCD_CA_PASSPHRASE",
    )
    key_type: Literal["ec-p256", "rsa-2048", "rsa-3072", "rsa-4096"] = entry(
        "ec-p256", "Kind of all keys. EC P-256 by default: handshakes cost far less than with RSA.", "rsa-3072"
    )
    ca_days: int = entry(
        3650, "Days the CA is valid; ten years, as changing it touches every client.", 1825, ge=1, le=36_500
    )
    leaf_days: int = entry(
        365, "Days the other certificates are valid; a year, renewed without a restart.", 90, ge=1, le=36_500
    )
    extra_sans: tuple[SubjectName, ...] = entry(
        (),
        "Further names and addresses in the server certificates, for load balancers. Default: none are needed.",
        ["etcd.example.com", "10.0.0.10"],
    )


class ClusterSection(Section):
    """An etcd-flows cluster file."""

    name: ClusterName = entry(
        ..., "Name of the cluster; like a DNS label, since it becomes part of paths and metrics.", "prod-a"
    )
    hosts: tuple[HostSection, ...] = entry(
        ..., "The hosts, one member each; three or five.", [{"name": "etcd-01", "address": "10.0.0.11"}], max_length=50
    )
    ssh: SshSection = section(SshSection, "How to log in to all hosts.", {"user": "ubuntu"})
    etcd: EtcdSection = section(
        EtcdSection, "Version and settings of etcd, the same on all members.", {"version": "3.6.16"}
    )
    pki: PkiSection = section(PkiSection, "Certificates: lifetimes, kinds, where the CA's key is.", {"leaf_days": 90})
    snapshots: SnapshotsSection = section(
        SnapshotsSection,
        "Backups: when, where to, how protected, how long kept.",
        {"stores": [{"name": "local", "directory": "/srv/backups"}]},
    )
    drill: DrillSection = section(DrillSection, "Restore drills: what is expected of them.", {"rto": "15m"})
    restore: RestoreSection = section(
        RestoreSection,
        "What is done to the cluster's clients around a restore.",
        {"before_stop": [{"name": "stop-apiserver", "command": "kubectl ..."}]},
    )
    monitoring: MonitoringSection | None = entry(
        None,
        "Metrics, and what watches them. Default: none; members then show theirs on loopback only, where flows look.",
        {"metrics": {"scheme": "http"}},
    )


SECTIONS: dict[str, type[Section]] = {
    "": ClusterSection,
    "hosts": HostSection,
    "ssh": SshSection,
    "jump": JumpSection,
    "etcd": EtcdSection,
    "release": ReleaseSection,
    "auto_compaction": CompactionSection,
    "pki": PkiSection,
    "snapshots": SnapshotsSection,
    "stores": StoreSection,
    "s3": S3Section,
    "encryption": EncryptionSection,
    "signing": SigningSection,
    "retention": RetentionSection,
    "drill": DrillSection,
    "restore": RestoreSection,
    "before_stop": HookSection,
    "after_proof": HookSection,
    "monitoring": MonitoringSection,
    "metrics": MetricsSection,
    "alerts": AlertsSection,
    "host": MonitoringHostSection,
    "prometheus": PrometheusSection,
    "alertmanager": AlertmanagerSection,
    "node_exporter": NodeExporterSection,
    "receivers": ReceiverSection,
    "webhook": WebhookSection,
    "web": WebSection,
    "slack": SlackSection,
    "email": EmailSection,
}
