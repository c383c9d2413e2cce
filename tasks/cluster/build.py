"""From the file's keys to the complete cluster: defaults that depend on other keys, absolute paths."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from tasks.cluster.build_drill import build_drill
from tasks.cluster.build_monitoring import build_monitoring, build_release
from tasks.cluster.build_restore import build_restore
from tasks.cluster.build_snapshots import build_snapshots
from tasks.cluster.model import ClusterSection
from tasks.cluster.model_hosts import HostSection, JumpSection, SshSection
from tasks.cluster.spec import (
    Cluster,
    EtcdSettings,
    Host,
    Jump,
    Paths,
    PkiSettings,
    Ssh,
    is_ip,
)
from tasks.cluster.surroundings import Surroundings


def build(model: ClusterSection, around: Surroundings, source: Path | None) -> Cluster:
    """The resolved cluster.

    Args:
        model: A valid file.
        around: Directory and environment that paths depend on.
        source: The file's path, to be kept in the result.
    """
    etcd, pki = model.etcd, model.pki
    everywhere = _any_address(model.hosts)

    def resolve(host: HostSection) -> Host:
        return _host(host, model, around, everywhere)

    return Cluster(
        name=model.name,
        hosts=tuple(map(resolve, model.hosts)),
        release=build_release(etcd.version, etcd.release, around),
        etcd=EtcdSettings(
            user=etcd.user,
            quota_bytes=etcd.quota,
            auto_compaction_mode=etcd.auto_compaction.mode,
            auto_compaction_retention=etcd.auto_compaction.retention,
            heartbeat_ms=etcd.heartbeat_ms,
            election_ms=etcd.election_ms,
            snapshot_count=etcd.snapshot_count,
            tls_min_version=etcd.tls_min_version,
            corruption_checks=etcd.corruption_checks,
            log_level=etcd.log_level,
            memory_low=etcd.memory_low,
            extra=tuple(sorted(etcd.extra.items())),
            etc_hosts=etcd.etc_hosts,
            start_timeout=etcd.start_timeout,
            metrics=model.monitoring.metrics.detail if model.monitoring else "basic",
        ),
        pki=PkiSettings(
            state_dir=around.path(pki.state_dir) if pki.state_dir else around.state_home / "etcd-flows" / model.name,
            ca_key=pki.ca_key,
            passphrase=around.secret(pki.passphrase),
            key_type=pki.key_type,
            ca_days=pki.ca_days,
            leaf_days=pki.leaf_days,
            extra_sans=tuple(dict.fromkeys(pki.extra_sans)),
        ),
        snapshots=build_snapshots(model.snapshots, around),
        drill_schedule=None if model.drill.schedule == "never" else model.drill.schedule,
        rto_seconds=model.drill.rto * 86400 if model.drill.rto else None,
        drill_place=build_drill(model.drill, resolve),
        restore=build_restore(model.restore, model.hosts, around, resolve),
        monitoring=build_monitoring(model.monitoring, model.hosts, around, resolve) if model.monitoring else None,
        source=source,
    )


def _any_address(hosts: tuple[HostSection, ...]) -> str:
    """What "all addresses" is where an address is a name: :: only if the file's IP addresses are all IPv6."""
    given = [text for host in hosts for text in (host.address, host.peer_address) if text and is_ip(text)]
    only_six = given and all(ipaddress.ip_address(text).version == 6 for text in given)
    return "::" if only_six else "0.0.0.0"  # noqa: S104 - the documented default for names; TLS guards the port


def _host(host: HostSection, model: ClusterSection, around: Surroundings, everywhere: str) -> Host:
    listen = host.listen_address or (host.address if is_ip(host.address) else everywhere)
    peer_listen = host.peer_listen_address
    if peer_listen is None and host.peer_address is None:
        peer_listen = listen
    elif peer_listen is None:
        peer_listen = host.peer_address if is_ip(host.peer_address or "") else everywhere
    return Host(
        name=host.name,
        address=host.address,
        peer_address=host.peer_address or host.address,
        listen_address=listen,
        peer_listen_address=peer_listen or listen,
        client_port=host.client_port,
        peer_port=host.peer_port,
        metrics_port=host.metrics_port,
        labels=tuple(sorted(host.labels.items())),
        connection=host.connection,
        service=host.service,
        ssh=_ssh(merged_ssh(model.ssh, host.ssh), host.address, around),
        paths=_paths(host, model),
        metrics_address=_metrics_address(host, listen) if model.monitoring else None,
        metrics_scheme=model.monitoring.metrics.scheme if model.monitoring else "http",
    )


def _metrics_address(host: HostSection, listen: str) -> str | None:
    """One address that is this host's for sure, or None if the file names none."""
    for address in (host.metrics_address, listen, host.address):
        told = address is not None and address == host.metrics_address
        if address and is_ip(address) and (told or not ipaddress.ip_address(address).is_unspecified):
            return address
    return None


def merged_ssh(top: SshSection, own: SshSection) -> SshSection:
    """The host's login settings, key by key over the cluster's."""
    return top.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def _ssh(ssh: SshSection, address: str, around: Surroundings) -> Ssh:
    return Ssh(
        address=ssh.address or address,
        port=ssh.port,
        user=ssh.user,
        key=around.optional_path(ssh.key),
        key_passphrase=around.secret(ssh.key_passphrase),
        agent=ssh.agent,
        password=around.secret(ssh.password),
        sudo=ssh.sudo,
        sudo_password=around.secret(ssh.sudo_password),
        host_keys=ssh.host_keys,
        known_hosts=around.path(ssh.known_hosts),
        host_key=ssh.host_key,
        connect_timeout=ssh.connect_timeout,
        jump=_jump(ssh.jump, ssh.user, around),
    )


def _jump(jump: JumpSection | None, user: str, around: Surroundings) -> Jump | None:
    if jump is None:
        return None
    user = jump.user or user
    return Jump(
        address=jump.address,
        port=jump.port,
        user=user,
        key=around.optional_path(jump.key),
        password=around.secret(jump.password),
        host_key=jump.host_key,
        jump=_jump(jump.jump, user, around),
    )


def _paths(host: HostSection, model: ClusterSection) -> Paths:
    prefix, etcd = host.prefix or "", model.etcd
    return Paths(
        prefix=prefix,
        install_dir=prefix + etcd.install_dir,
        pki_dir=prefix + etcd.pki_dir,
        env_file=f"{prefix}{etcd.config_dir}/etcd.env",
        etcdctl_env=f"{prefix}{etcd.config_dir}/etcdctl.env",
        unit_file=f"{prefix}/etc/systemd/system/etcd.service",
        data_dir=prefix + (host.data_dir or etcd.data_dir),
        record_dir=f"{prefix}/var/lib/etcd-flows",
        etcdctl_wrapper=f"{prefix}/usr/local/bin/etcdctl",
    )
