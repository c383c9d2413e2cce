"""Which certificates a host needs, and what has to be in them. Pure.

File names, common names and organizations are etcdadm's, so that tools made for its layout keep working. Added are the
metrics client (Prometheus needs a client certificate of its own to scrape over https) and SANs for all the host's
addresses. Modes: the etcd user reads the keys of server and peer through its group; client keys are root's alone.
Under supervisor etcd runs as whoever started it, so there all keys are their owner's alone.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Literal

from tasks.cluster.spec import Cluster, Host, PkiSettings
from tasks.pki.certificates import canonical_san

KeyType = Literal["ec-p256", "rsa-2048", "rsa-3072", "rsa-4096"]
Usage = Literal["server", "client"]

LEAF_NAMES = ("server", "peer", "etcdctl-etcd-client", "apiserver-etcd-client", "metrics-etcd-client")
#: For those who come from outside; no member needs them to serve.
FOR_OTHERS = frozenset({"apiserver-etcd-client", "metrics-etcd-client"})
ADMINS = "system:masters"
COMMON_NAME_MAX = 64  # RFC 5280, appendix A: ub-common-name


@dataclass(frozen=True)
class LeafSpec:
    """One certificate as it is wanted.

    Args:
        name: File name without ``.crt`` and ``.key``.
        organization: The O of its subject, None for none.
        usages: What TLS may use it as.
        sans: Names and addresses in canonical spelling, without repetition.
        days: Lifetime; the CA's end cuts it short.
        key_mode: Permission bits of the key file.
        key_group: Group of the key file; root owns it.
    """

    name: str
    common_name: str
    organization: str | None
    usages: tuple[Usage, ...]
    sans: tuple[str, ...]
    key_type: KeyType
    days: int
    key_mode: int = 0o600
    key_group: str = "root"


def leaves_for(host: Host, cluster: Cluster) -> tuple[LeafSpec, ...]:
    """The certificates of one host, in the order of :data:`LEAF_NAMES`."""
    pki = cluster.pki
    mode, group = (0o640, cluster.etcd.user) if host.service == "systemd" else (0o600, "root")
    sans = host_sans(host, pki.extra_sans)

    def member(name: str) -> LeafSpec:
        return LeafSpec(
            name, common_name(host.name), None, ("server", "client"), sans, pki.key_type, pki.leaf_days, mode, group
        )

    def client(name: str, suffix: str, organization: str | None) -> LeafSpec:
        return LeafSpec(
            name, common_name(host.name, suffix), organization, ("client",), (), pki.key_type, pki.leaf_days
        )

    return (
        member("server"),
        member("peer"),
        client("etcdctl-etcd-client", "-etcdctl", ADMINS),
        client("apiserver-etcd-client", "-kube-apiserver-etcd-client", ADMINS),
        client("metrics-etcd-client", "-metrics", None),
    )


def operator_leaf(pki: PkiSettings) -> LeafSpec:
    """The operator's own client certificate; it stays in the state directory."""
    return LeafSpec("client", "etcd-flows-operator", None, ("client",), (), pki.key_type, pki.leaf_days)


def host_sans(host: Host, extra: tuple[str, ...]) -> tuple[str, ...]:
    """All names and addresses by which clients or peers may reach a member.

    Listening on 0.0.0.0 or :: names no address and adds none. Server and peer get the same: a peer dials either address
    when networks are rearranged, and etcd checks a peer's certificate against its SANs.
    """
    bound = (host.listen_address, host.peer_listen_address, *_metrics_over_tls(host))
    listening = (address for address in bound if not _unspecified(address))
    local = ("127.0.0.1", "::1", "localhost")
    wanted = (host.name, host.address, host.peer_address, *listening, *local, *extra)
    return tuple(dict.fromkeys(canonical_san(name) for name in wanted))


def essential_sans(host: Host, name: str, extra: tuple[str, ...]) -> tuple[str, ...]:
    """Of :func:`host_sans`, what a certificate can't do without: clients and peers dial it, or people asked for it.

    An existing certificate that lacks only the others (``::1``, ``localhost``, the member's name) serves as it is.
    """
    wanted = {
        "server": (host.address, host.listen_address, host.loopback, *_metrics_over_tls(host)),
        "peer": (host.peer_address, host.peer_listen_address),
    }.get(name)
    if wanted is None:
        return ()
    used = (*(address for address in wanted if not _unspecified(address)), *extra)
    return tuple(dict.fromkeys(canonical_san(address) for address in used))


def _metrics_over_tls(host: Host) -> tuple[str, ...]:
    """Where Prometheus checks the server certificate; plain http needs no name in it."""
    return (host.metrics_address,) if host.metrics_address and host.metrics_scheme == "https" else ()


def _unspecified(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


def common_name(name: str, suffix: str = "") -> str:
    """``name`` + ``suffix`` within the 64 characters of a CN; a long name is cut, a piece of its hash is added."""
    if len(name) + len(suffix) <= COMMON_NAME_MAX:
        return name + suffix
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: COMMON_NAME_MAX - len(suffix) - 9]}-{digest}{suffix}"
