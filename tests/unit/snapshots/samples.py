"""Manifests and clusters for tests of snapshots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.cluster.spec import NO_SNAPSHOTS, Cluster, EtcdSettings, PkiSettings, Release, SnapshotSettings
from tasks.snapshots.manifest import HashKV, Manifest, ManifestMember, data_key

ID = "20261124T143000Z-6f3a9c1e"


def sample_manifest(**changes: Any) -> Manifest:
    """A manifest as a scheduled backup writes it."""
    manifest = Manifest(
        id=ID,
        kind="scheduled",
        cluster="prod-a",
        cluster_uuid="6d1d4d6c-7c55-4c6e-8d3b-0d9f3c1b2a10",
        etcd_cluster_id="cdf818194e3a8c32",
        members=(
            ManifestMember("a", "8e9e05c52164694d", ("https://10.0.0.1:2380",), ("https://10.0.0.1:2379",), False),
            ManifestMember("b", "91bc3c398fb3c146", ("https://[fd00::2]:2380",), ("https://[fd00::2]:2379",), False),
        ),
        source="b",
        via="stream",
        etcd_version="3.6.16",
        revision_min=1000,
        revision_max=1010,
        raft_term=3,
        raft_index=123456,
        hashkv=HashKV(1000, 900, 3735928559),
        compression="zstd",
        encryption="age",
        recipients=("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",),
        db_bytes=20512,
        db_sha256="ab" * 32,
        object=data_key(ID, "zstd", "age"),
        object_bytes=4096,
        object_sha256="cd" * 32,
        proof="checksum",
        started=1795530600.25,
        finished=1795530612.5,
        held_seconds=3.75,
        tool_version="0.1.0",
        run_id="b1946ac9-2492-4d23-8d2b-0c6e5b1d1f00",
        requested_by="Jürgen",
        reason="before the upgrade",
        notes=("first of its kind",),
    )
    return replace(manifest, **changes)


def sample_settings(**changes: Any) -> SnapshotSettings:
    return replace(NO_SNAPSHOTS, **changes)


def sample_cluster(state_dir: Path, **snapshots: Any) -> Cluster:
    """A cluster without hosts: what signing and encryption look at."""
    return Cluster(
        name="prod-a",
        hosts=(),
        release=Release("3.6.16", "official", None, state_dir / "cache"),
        etcd=EtcdSettings(
            "etcd", 2**31, "periodic", "1h", 100, 1000, None, "TLS1.2", True, "info", "warn", (), True, 60.0
        ),
        pki=PkiSettings(state_dir, "operator", None, "ec-p256", 3650, 365, ()),
        snapshots=sample_settings(**snapshots),
    )
