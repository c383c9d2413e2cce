"""A host as the rest of the program sees it, and how to log in to it; part of :mod:`tasks.cluster.spec`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class SecretRef:
    """Where a secret is to be had: ``env:NAME``, ``file:/path`` or ``block:type/name``. Holds no secret itself."""

    kind: Literal["env", "file", "block"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class Jump:
    """The bastion through which a host is reached (another jump may stand before it)."""

    address: str
    port: int
    user: str
    key: Path | None
    password: SecretRef | None
    host_key: str | None
    jump: Jump | None = None


@dataclass(frozen=True)
class Ssh:
    """How to log in to a host.

    Args:
        address: Where sshd listens (IP or name); the member address unless told otherwise.
        key: Private key file, or None for the agent and the default keys.
        key_passphrase: Of that key file.
        agent: Whether a running ssh-agent and ~/.ssh's default keys may be used.
        sudo: How to become root: ``auto`` (root needs none, others use sudo), ``none``.
        host_keys: ``known_hosts`` (unknown refused), ``accept-new`` (first use is trusted and remembered).
        host_key: Pinned public key, ``ssh-ed25519 AAAA...``; then known_hosts is not looked at.
        connect_timeout: Seconds to wait for a connection.
    """

    address: str
    port: int
    user: str
    key: Path | None
    key_passphrase: SecretRef | None
    agent: bool
    password: SecretRef | None
    sudo: Literal["auto", "none"]
    sudo_password: SecretRef | None
    host_keys: Literal["known_hosts", "accept-new"]
    known_hosts: Path
    host_key: str | None
    connect_timeout: float
    jump: Jump | None


def bracket(address: str) -> str:
    """The host part of a URL: IPv6 addresses get their brackets (RFC 3986, 3.2.2)."""
    return f"[{address}]" if ":" in address else address


def is_ip(address: str) -> bool:
    """Whether the address is an IP literal, not a name."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Paths:
    """Where things live on a host; etcdadm's layout, below an optional prefix."""

    prefix: str
    install_dir: str  # /opt/bin
    pki_dir: str  # /etc/etcd/pki
    env_file: str  # /etc/etcd/etcd.env
    etcdctl_env: str  # /etc/etcd/etcdctl.env
    unit_file: str  # /etc/systemd/system/etcd.service
    data_dir: str  # /var/lib/etcd
    record_dir: str  # /var/lib/etcd-flows: identity, release receipt, later locks and restore records
    etcdctl_wrapper: str  # /usr/local/bin/etcdctl

    @property
    def data_pointer(self) -> str:
        """The file that says where the data is after a restore: a directory inside ``data_dir``."""
        return f"{self.record_dir}/data-dir"


@dataclass(frozen=True)
class Host:
    """One host and the member that runs on it.

    Args:
        name: Member name; also the certificate's CN.
        address: Advertised to clients (IP or DNS name).
        peer_address: Advertised to peers (IP or DNS name).
        listen_address: IP that client traffic is bound to.
        peer_listen_address: IP that peer traffic is bound to.
        labels: Site, rack and the like; shown and used for placement.
        connection: ``ssh``, or ``local`` for the machine the worker runs on.
        service: Who keeps the process running: ``systemd`` or, for demos without root, ``supervisor``.
        metrics_address: IP on which metrics are shown besides loopback, None for nowhere.
        metrics_scheme: Of the listener there; https asks for a client certificate.
    """

    name: str
    address: str
    peer_address: str
    listen_address: str
    peer_listen_address: str
    client_port: int
    peer_port: int
    metrics_port: int
    labels: tuple[tuple[str, str], ...]
    connection: Literal["ssh", "local"]
    service: Literal["systemd", "supervisor"]
    ssh: Ssh
    paths: Paths
    metrics_address: str | None = None
    metrics_scheme: Literal["http", "https"] = "http"

    @property
    def client_url(self) -> str:
        """Advertised client URL."""
        return f"https://{bracket(self.address)}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        """Advertised peer URL; with the token it decides the member's id."""
        return f"https://{bracket(self.peer_address)}:{self.peer_port}"

    @property
    def loopback(self) -> str:
        """The loopback address that belongs to this member (its own, when members share one machine)."""
        if is_ip(self.listen_address) and ipaddress.ip_address(self.listen_address).is_loopback:
            return self.listen_address
        return "127.0.0.1"

    @property
    def metrics_url(self) -> str:
        """Plain-HTTP metrics and health listener on loopback; gates need it without a restart."""
        return f"http://{bracket(self.loopback)}:{self.metrics_port}"

    @property
    def scrape_url(self) -> str | None:
        """Where Prometheus finds the member's metrics; None if they are shown on loopback only."""
        if self.metrics_address is None:
            return None
        return f"{self.metrics_scheme}://{bracket(self.metrics_address)}:{self.metrics_port}"
