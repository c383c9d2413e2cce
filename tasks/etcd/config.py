"""All files that configure a member, rendered as pure functions: the same cluster file gives the same bytes.

The layout and the order of the settings are etcdadm's, whose hosts people know; what etcdadm leaves out follows after
them. GOMAXPROCS, which etcdadm sets to the number of CPUs, is left out: that is Go's default, and a fixed number would
keep newer Go versions from following the CPU limit of a cgroup.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Literal

from tasks.cluster.spec import Cluster, Host, bracket, is_ip
from tasks.errors import InputError
from tasks.etcd.envfile import diff_env, parse_env, render
from tasks.etcd.hostsfile import hosts_block, merge_hosts, remove_hosts
from tasks.etcd.unit import HEAD, render_etcdctl, render_etcdctl_env, render_supervisor, render_unit, supervisor_conf
from tasks.etcd.versions import Traits, traits

__all__ = [
    "MANAGED",
    "RenderedFile",
    "check_settings",
    "client_listen_urls",
    "config_dirs",
    "config_files",
    "diff_env",
    "hosts_block",
    "merge_hosts",
    "metrics_listen_urls",
    "parse_env",
    "peer_listen_urls",
    "remove_hosts",
    "render_env",
    "settings",
]

ETC_HOSTS = "/etc/hosts"

#: Settings that decide identity, addresses, keys and data: never overridden by ``extra``.
MANAGED = frozenset(
    {
        "ETCD_NAME",
        "ETCD_INITIAL_CLUSTER",
        "ETCD_INITIAL_CLUSTER_TOKEN",
        "ETCD_INITIAL_CLUSTER_STATE",
        "ETCD_INITIAL_ADVERTISE_PEER_URLS",
        "ETCD_LISTEN_PEER_URLS",
        "ETCD_CLIENT_CERT_AUTH",
        "ETCD_PEER_CERT_FILE",
        "ETCD_PEER_KEY_FILE",
        "ETCD_PEER_TRUSTED_CA_FILE",
        "ETCD_ADVERTISE_CLIENT_URLS",
        "ETCD_LISTEN_CLIENT_URLS",
        "ETCD_PEER_CLIENT_CERT_AUTH",
        "ETCD_CERT_FILE",
        "ETCD_KEY_FILE",
        "ETCD_TRUSTED_CA_FILE",
        "ETCD_DATA_DIR",
        "ETCD_LISTEN_METRICS_URLS",
        "ETCD_FORCE_NEW_CLUSTER",
        "ETCD_CONFIG_FILE",
    }
)


@dataclass(frozen=True)
class RenderedFile:
    """A file as it has to be on a host.

    Args:
        content: Kept out of the repr; none of these files holds a secret.
        owner: Empty for whoever runs the commands there (members without systemd need no root).
    """

    path: str
    content: bytes = field(repr=False)
    mode: int
    owner: str
    group: str


@dataclass(frozen=True)
class RenderedDir:
    """A directory that has to be on a host before its files are written."""

    path: str
    mode: int
    owner: str
    group: str


def client_listen_urls(host: Host) -> str:
    """Where client traffic is accepted: the address told, and the member's loopback for tools on the host itself."""
    addresses = [host.listen_address]
    if not _covers_loopback(host.listen_address):
        addresses.append(host.loopback)
    return ",".join(f"https://{bracket(address)}:{host.client_port}" for address in addresses)


def peer_listen_urls(host: Host) -> str:
    """Where peer traffic is accepted: exactly the address told."""
    return f"https://{bracket(host.peer_listen_address)}:{host.peer_port}"


def metrics_listen_urls(host: Host) -> str:
    """Where metrics and health are shown: on loopback for the flows' gates, and at the address told for Prometheus.

    https there is served with the client listener's certificates, and like it asks for one (etcd 3.6, embed/etcd.go,
    serveMetrics); 3.5 and 3.7 do the same.
    """
    return ",".join(dict.fromkeys(filter(None, (host.metrics_url, host.scrape_url))))


def _covers_loopback(address: str) -> bool:
    if not is_ip(address):
        return False
    ip = ipaddress.ip_address(address)
    return ip.is_unspecified or ip.is_loopback


def settings(
    cluster: Cluster,
    host: Host,
    token: str,
    state: Literal["new", "existing"] = "new",
    *,
    initial_cluster: str | None = None,
    data_dir: str | None = None,
) -> tuple[tuple[str, str], ...]:
    """All ETCD_* settings of one member, in the order in which they are written.

    Args:
        cluster: The whole cluster.
        host: The member's host.
        token: Of the cluster; the same on all members, made once.
        state: ``new`` for a bootstrap or a restore, ``existing`` for a member that joins.
        initial_cluster: ``name=peer-url`` pairs when they are not all members of the cluster file.
        data_dir: When it is not the cluster file's (after a restore it is a directory inside that).

    Raises:
        InputError: ``etcd.extra`` holds what this version refuses, or what only the product may set.
    """
    known = traits(cluster.release.version)
    problems = check_settings(cluster)
    if problems:
        raise InputError("; ".join(problems), remedy="correct etcd.extra in the cluster file")
    paths, pki = host.paths, host.paths.pki_dir
    etcdadm = (
        ("ETCD_NAME", host.name),
        ("ETCD_INITIAL_CLUSTER", initial_cluster or cluster.initial_cluster),
        ("ETCD_INITIAL_CLUSTER_TOKEN", token),
        ("ETCD_INITIAL_CLUSTER_STATE", state),
        ("ETCD_INITIAL_ADVERTISE_PEER_URLS", host.peer_url),
        ("ETCD_LISTEN_PEER_URLS", peer_listen_urls(host)),
        ("ETCD_CLIENT_CERT_AUTH", "true"),
        ("ETCD_PEER_CERT_FILE", f"{pki}/peer.crt"),
        ("ETCD_PEER_KEY_FILE", f"{pki}/peer.key"),
        ("ETCD_PEER_TRUSTED_CA_FILE", f"{pki}/ca.crt"),
        ("ETCD_ADVERTISE_CLIENT_URLS", host.client_url),
        ("ETCD_LISTEN_CLIENT_URLS", client_listen_urls(host)),
        ("ETCD_PEER_CLIENT_CERT_AUTH", "true"),
        ("ETCD_CERT_FILE", f"{pki}/server.crt"),
        ("ETCD_KEY_FILE", f"{pki}/server.key"),
        ("ETCD_TRUSTED_CA_FILE", f"{pki}/ca.crt"),
        ("ETCD_DATA_DIR", data_dir or paths.data_dir),
        ("ETCD_STRICT_RECONFIG_CHECK", "true"),
        ("ETCD_LOGGER", "zap"),
        ("ETCD_LOG_OUTPUTS", "stderr"),
        ("ETCD_LISTEN_METRICS_URLS", metrics_listen_urls(host)),
    )
    return _with_extra((*etcdadm, *_tuning(cluster, known)), cluster.etcd.extra)


def _tuning(cluster: Cluster, known: Traits) -> tuple[tuple[str, str], ...]:
    """What etcdadm does not set; each with the version that knows it."""
    etcd = cluster.etcd
    rows = [
        ("ETCD_LOG_LEVEL", etcd.log_level),
        ("ETCD_QUOTA_BACKEND_BYTES", str(etcd.quota_bytes)),
        ("ETCD_AUTO_COMPACTION_MODE", etcd.auto_compaction_mode),
        ("ETCD_AUTO_COMPACTION_RETENTION", etcd.auto_compaction_retention),
        ("ETCD_HEARTBEAT_INTERVAL", str(etcd.heartbeat_ms)),
        ("ETCD_ELECTION_TIMEOUT", str(etcd.election_ms)),
    ]
    if etcd.metrics != "basic":
        rows.append(("ETCD_METRICS", etcd.metrics))
    if etcd.snapshot_count is not None:
        rows.append(("ETCD_SNAPSHOT_COUNT", str(etcd.snapshot_count)))
    if known.tls_min_version:
        rows.append(("ETCD_TLS_MIN_VERSION", etcd.tls_min_version))
    if etcd.corruption_checks:
        rows.extend(known.corruption_checks)
    return tuple(rows)


def _with_extra(rows: tuple[tuple[str, str], ...], extra: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """``extra`` in place of what it overrides, else at the end; feature gates of both are joined."""
    merged = dict(rows)
    for name, value in extra:
        merged[name] = _join_gates(merged.get(name, ""), value) if name == "ETCD_FEATURE_GATES" else value
    return tuple(merged.items())


def _join_gates(ours: str, theirs: str) -> str:
    gates: dict[str, str] = {}
    for pair in filter(None, f"{ours},{theirs}".split(",")):
        name, _, value = pair.partition("=")
        gates[name.strip()] = value.strip()
    return ",".join(f"{name}={value}" for name, value in gates.items())


def check_settings(cluster: Cluster) -> tuple[str, ...]:
    """Everything in ``etcd.extra`` that can't stay: one sentence each, empty when all is well.

    Raises:
        InputError: The version is none that is supported.
    """
    known = traits(cluster.release.version)
    found: list[str] = []
    for name, _ in cluster.etcd.extra:
        if not name.startswith("ETCD_"):
            found.append(f"{name} is not an etcd setting: its name has to start with ETCD_")
        elif name in MANAGED:
            found.append(f"{name} is set from the rest of the cluster file and can't be overridden")
        elif name.startswith("ETCD_EXPERIMENTAL_") and not known.experimental_flags:
            found.append(f"{name} was removed in etcd 3.7 (etcd {known.version} is wanted)")
        elif name == "ETCD_FEATURE_GATES" and not known.feature_gates:
            found.append(f"{name} exists from etcd 3.6 on (etcd {known.version} is wanted)")
        elif name == "ETCD_ENABLE_V2" and not known.v2_api:
            found.append(f"{name} was removed in etcd 3.6 (etcd {known.version} is wanted)")
    if cluster.etcd.tls_min_version != "TLS1.2" and not known.tls_min_version:
        found.append(f"etcd {known.version} has no --tls-min-version (it came with 3.5.8), so TLS1.3 can't be demanded")
    return tuple(found)


def render_env(
    cluster: Cluster,
    host: Host,
    token: str,
    state: Literal["new", "existing"] = "new",
    *,
    initial_cluster: str | None = None,
    data_dir: str | None = None,
) -> str:
    """``etcd.env`` of one member; parameters and errors as :func:`settings`."""
    rows = settings(cluster, host, token, state, initial_cluster=initial_cluster, data_dir=data_dir)
    head = f"# Member {host.name} of etcd cluster {cluster.name}, etcd {cluster.release.version}.\n# {HEAD}\n"
    return head + render(rows)


def config_dirs(cluster: Cluster, host: Host) -> tuple[RenderedDir, ...]:
    """The directories that :func:`config_files` and the service need, parents first; the data dir is not among them."""
    if host.service == "systemd":
        etc = host.paths.env_file.rpartition("/")[0]
        return (RenderedDir(etc, 0o755, "root", "root"),)
    prefix = host.paths.prefix
    names = (host.paths.env_file.rpartition("/")[0], f"{prefix}/etc", f"{prefix}/run", f"{prefix}/var/log")
    return tuple(RenderedDir(name, 0o700, "", "") for name in dict.fromkeys(names))


def config_files(
    cluster: Cluster,
    host: Host,
    token: str,
    state: Literal["new", "existing"] = "new",
    *,
    etc_hosts: bytes | None = None,
    initial_cluster: str | None = None,
    data_dir: str | None = None,
) -> tuple[RenderedFile, ...]:
    """Every configuration file of one member.

    Args:
        cluster: The whole cluster.
        host: The member's host.
        token: As in :func:`settings`.
        state: As in :func:`settings`.
        etc_hosts: What ``/etc/hosts`` holds now; None leaves it alone, as does a cluster without ``etcd.etc_hosts``.
        initial_cluster: As in :func:`settings`.
        data_dir: As in :func:`settings`.

    Raises:
        InputError: As :func:`settings`, or the wrapper would overwrite the program that it wraps.
    """
    paths = host.paths
    if paths.etcdctl_wrapper == f"{paths.install_dir}/etcdctl":
        raise InputError(
            f"install_dir {paths.install_dir} is where root's etcdctl wrapper goes, so one would overwrite the other",
            host=host.name,
            remedy="choose another install_dir, for instance /opt/bin",
        )
    env = render_env(cluster, host, token, state, initial_cluster=initial_cluster, data_dir=data_dir)
    systemd = host.service == "systemd"
    owner = "root" if systemd else ""
    files = [
        RenderedFile(paths.env_file, env.encode(), 0o640, owner, cluster.etcd.user if systemd else ""),
        RenderedFile(paths.etcdctl_env, render_etcdctl_env(cluster, host).encode(), 0o600, owner, owner),
        RenderedFile(paths.etcdctl_wrapper, render_etcdctl(cluster, host).encode(), 0o755, owner, owner),
    ]
    if systemd:
        files.append(RenderedFile(paths.unit_file, render_unit(cluster, host).encode(), 0o644, owner, owner))
        if cluster.etcd.etc_hosts and etc_hosts is not None:
            merged = merge_hosts(etc_hosts.decode(errors="surrogateescape"), hosts_block(cluster))
            content = merged.encode(errors="surrogateescape")
            files.append(RenderedFile(ETC_HOSTS, content, 0o644, owner, owner))
    else:
        files.append(
            RenderedFile(supervisor_conf(host), render_supervisor(cluster, host).encode(), 0o600, owner, owner)
        )
    return tuple(files)
