"""Clusters as the loader would build them, for tests of the etcd room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.cluster.spec import Cluster, EtcdSettings, Host, Paths, PkiSettings, Release, Ssh

LOCAL = Ssh("127.0.0.1", 22, "me", None, None, True, None, "auto", None, "known_hosts", Path("kh"), None, 5.0, None)


def paths(prefix: str = "") -> Paths:
    return Paths(
        prefix=prefix,
        install_dir=f"{prefix}/opt/bin",
        pki_dir=f"{prefix}/etc/etcd/pki",
        env_file=f"{prefix}/etc/etcd/etcd.env",
        etcdctl_env=f"{prefix}/etc/etcd/etcdctl.env",
        unit_file=f"{prefix}/etc/systemd/system/etcd.service",
        data_dir=f"{prefix}/var/lib/etcd",
        record_dir=f"{prefix}/var/lib/etcd-flows",
        etcdctl_wrapper=f"{prefix}/usr/local/bin/etcdctl",
    )


def host(name: str = "etcd-01", address: str = "10.0.0.11", **changes: Any) -> Host:
    plain = Host(
        name=name,
        address=address,
        peer_address=address,
        listen_address=address,
        peer_listen_address=address,
        client_port=2379,
        peer_port=2380,
        metrics_port=2381,
        labels=(),
        connection="local",
        service="systemd",
        ssh=LOCAL,
        paths=paths(),
    )
    return replace(plain, **changes)


def settings(**changes: Any) -> EtcdSettings:
    plain = EtcdSettings(
        user="etcd",
        quota_bytes=8 * 1024**3,
        auto_compaction_mode="periodic",
        auto_compaction_retention="8h",
        heartbeat_ms=100,
        election_ms=1000,
        snapshot_count=None,
        tls_min_version="TLS1.2",
        corruption_checks=True,
        log_level="info",
        memory_low="200M",
        extra=(),
        etc_hosts=True,
        start_timeout=60.0,
    )
    return replace(plain, **changes)


def cluster(*hosts: Host, version: str = "3.6.16", source: str = "official", **changes: Any) -> Cluster:
    members = hosts or tuple(host(f"etcd-0{n}", f"10.0.0.1{n}") for n in (1, 2, 3))
    pki = PkiSettings(Path("state"), "operator", None, "ec-p256", 3650, 365, ())
    return Cluster("prod-a", members, Release(version, source, None, Path("cache")), settings(**changes), pki)
