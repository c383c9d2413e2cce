"""Settings of etcd that the product makes itself, and where they come from; ``etcd.extra`` may not touch them."""

from __future__ import annotations

import re

from tasks.cluster.scalars import looks_secret
from tasks.cluster.values import Wrong

_BY_FLOW = "the flows set it; leave it out"
_PKI = "certificates come from `pki` and etcd.pki_dir"
_CORRUPTION = "use etcd.corruption_checks"

OWNED: dict[str, str] = {
    "ETCD_NAME": "use hosts[].name",
    "ETCD_INITIAL_CLUSTER": "it is made from `hosts`",
    "ETCD_INITIAL_CLUSTER_STATE": _BY_FLOW,
    "ETCD_INITIAL_CLUSTER_TOKEN": _BY_FLOW,
    "ETCD_INITIAL_ADVERTISE_PEER_URLS": "use hosts[].peer_address and hosts[].peer_port",
    "ETCD_LISTEN_PEER_URLS": "use hosts[].peer_listen_address and hosts[].peer_port",
    "ETCD_ADVERTISE_CLIENT_URLS": "use hosts[].address and hosts[].client_port",
    "ETCD_LISTEN_CLIENT_URLS": "use hosts[].listen_address and hosts[].client_port",
    "ETCD_LISTEN_METRICS_URLS": "use hosts[].metrics_address and hosts[].metrics_port",
    "ETCD_METRICS": "use monitoring.metrics.detail",
    "ETCD_DATA_DIR": "use etcd.data_dir or hosts[].data_dir",
    "ETCD_WAL_DIR": "the write-ahead log stays inside the data directory, which restores rely on; use etcd.data_dir",
    "ETCD_CONFIG_FILE": "etcd ignores its environment when given a file; use the keys of `etcd`",
    "ETCD_QUOTA_BACKEND_BYTES": "use etcd.quota",
    "ETCD_AUTO_COMPACTION_MODE": "use etcd.auto_compaction.mode",
    "ETCD_AUTO_COMPACTION_RETENTION": "use etcd.auto_compaction.retention",
    "ETCD_HEARTBEAT_INTERVAL": "use etcd.heartbeat_ms",
    "ETCD_ELECTION_TIMEOUT": "use etcd.election_ms",
    "ETCD_SNAPSHOT_COUNT": "use etcd.snapshot_count",
    "ETCD_TLS_MIN_VERSION": "use etcd.tls_min_version",
    "ETCD_LOG_LEVEL": "use etcd.log_level",
    "ETCD_STRICT_RECONFIG_CHECK": _BY_FLOW,
    "ETCD_FORCE_NEW_CLUSTER": "it makes a member forget all others; use the flow disaster-restore",
    "ETCD_UNSAFE_NO_FSYNC": "it loses acknowledged writes when a host fails; leave it out",
    "ETCD_DISCOVERY": "members come from `hosts`",
    "ETCD_DISCOVERY_SRV": "members come from `hosts`",
    "ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK": _CORRUPTION,
    "ETCD_EXPERIMENTAL_COMPACT_HASH_CHECK_ENABLED": _CORRUPTION,
    "ETCD_FEATURE_GATES": "it carries etcd.corruption_checks (3.6 and later)",
    "ETCD_AUTO_TLS": _PKI,
    "ETCD_PEER_AUTO_TLS": _PKI,
    "ETCD_CLIENT_CERT_AUTH": "client certificates are always required",
    "ETCD_PEER_CLIENT_CERT_AUTH": "client certificates are always required",
    "ETCD_TRUSTED_CA_FILE": _PKI,
    "ETCD_PEER_TRUSTED_CA_FILE": _PKI,
    "ETCD_CLIENT_CERT_FILE": _PKI,
    "ETCD_CLIENT_KEY_FILE": _PKI,
    "ETCD_CERT_FILE": _PKI,
    "ETCD_KEY_FILE": _PKI,
    "ETCD_PEER_CERT_FILE": _PKI,
    "ETCD_PEER_KEY_FILE": _PKI,
    "ETCD_PEER_CLIENT_CERT_FILE": _PKI,
    "ETCD_PEER_CLIENT_KEY_FILE": _PKI,
}


def setting_name(name: str) -> str:
    """Check a name in ``etcd.extra``.

    Raises:
        Wrong: Not an ETCD_ name, made by another key, or a place for a secret.
    """
    if name in OWNED:
        raise Wrong("this setting is made by another key", OWNED[name])
    if not re.fullmatch(r"ETCD_[A-Z][A-Z0-9_]{0,80}", name):
        raise Wrong("a setting's name starts with ETCD_ and has only capitals, digits and _", "ETCD_MAX_REQUEST_BYTES")
    if looks_secret(name):
        raise Wrong("this looks like a secret, and settings are written to the hosts in plain", "leave it out")
    return name
