"""What etcdadm leaves on a host: its certificates, env file, unit and wrapper, written from what it is known to do.

File names, variables and their order, subjects, key type, names in the certificates and modes are those of etcdadm's
last release. Its binaries are upstream's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PKI = "/etc/etcd/pki"
ENV, UNIT_FILE, WRAPPER = "/etc/etcd/etcd.env", "/etc/systemd/system/etcd.service", "/opt/bin/etcdctl.sh"
LEAVES = ("server", "peer", "etcdctl-etcd-client", "apiserver-etcd-client")

UNIT = """[Unit]
Description=etcd
Documentation=https://github.com/coreos/etcd
Conflicts=etcd-member.service
Conflicts=etcd2.service

[Service]
EnvironmentFile=/etc/etcd/etcd.env
ExecStart=/opt/bin/etcd

Type=notify
TimeoutStartSec=0
Restart=on-failure
RestartSec=5s

LimitNOFILE=65536
Nice=-10
IOSchedulingClass=best-effort
IOSchedulingPriority=2
MemoryLow=200M

[Install]
WantedBy=multi-user.target
"""

ETCDCTL_ENV = f"""export ETCDCTL_API=3

export ETCDCTL_CACERT={PKI}/ca.crt
export ETCDCTL_CERT={PKI}/etcdctl-etcd-client.crt
export ETCDCTL_KEY={PKI}/etcdctl-etcd-client.key

export ETCDCTL_DIAL_TIMEOUT=3s
"""

ETCDCTL_SH = """#!/usr/bin/env sh
if ! [ -r "/etc/etcd/etcdctl.env" ]; then
  echo "Unable to read the etcdctl environment file '/etc/etcd/etcdctl.env'. The file must exist, and this wrapper must be run as root."
  exit 1
fi
. "/etc/etcd/etcdctl.env"
"/opt/bin/etcdctl" "$@"
"""  # noqa: E501 - as it is


def env(name: str, address: str, initial: Sequence[tuple[str, str]], token: str | None) -> str:
    """``etcd.env`` of a member; only the first, which was made by ``etcdadm init``, has a token.

    Args:
        initial: Name and address of the members that there were, this one last.
    """
    cluster = ",".join(f"{member}=https://{where}:2380" for member, where in initial)
    first = f"ETCD_INITIAL_CLUSTER_TOKEN={token}\n" if token else ""
    return f"""ETCD_NAME={name}

# Initial cluster configuration
ETCD_INITIAL_CLUSTER={cluster}
{first}ETCD_INITIAL_CLUSTER_STATE={"new" if token else "existing"}

# Peer configuration
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://{address}:2380
ETCD_LISTEN_PEER_URLS=https://{address}:2380

ETCD_CLIENT_CERT_AUTH=true
ETCD_PEER_CERT_FILE={PKI}/peer.crt
ETCD_PEER_KEY_FILE={PKI}/peer.key
ETCD_PEER_TRUSTED_CA_FILE={PKI}/ca.crt

# Client/server configuration
ETCD_ADVERTISE_CLIENT_URLS=https://{address}:2379
ETCD_LISTEN_CLIENT_URLS=https://{address}:2379,https://127.0.0.1:2379

ETCD_PEER_CLIENT_CERT_AUTH=true
ETCD_CERT_FILE={PKI}/server.crt
ETCD_KEY_FILE={PKI}/server.key
ETCD_TRUSTED_CA_FILE={PKI}/ca.crt

# Other
ETCD_DATA_DIR=/var/lib/etcd
ETCD_STRICT_RECONFIG_CHECK=true
GOMAXPROCS=2

# Logging configuration
"""


class Authority:
    """etcdadm's CA: RSA 2048, CN=etcd, ten years; its key is copied to every host."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self._begin = datetime.now(UTC) - timedelta(days=30)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "etcd")])
        builder = self._builder(self._name, self._key, 3650)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.cert = self._sign(builder.add_extension(_usage(sign=True), critical=True))
        self.key = _pem(self._key)

    def _builder(self, subject: x509.Name, key: rsa.RSAPrivateKey, days: int) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(self._begin).not_valid_after(self._begin + timedelta(days=days))

    def _sign(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def leaf(self, name: str, member: str, address: str) -> tuple[bytes, bytes]:
        """A certificate and its key."""
        suffix = {"etcdctl-etcd-client": "-etcdctl", "apiserver-etcd-client": "-kube-apiserver-etcd-client"}
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, member + suffix.get(name, ""))]
        if name in suffix:
            attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"))
        key = rsa.generate_private_key(65537, 2048)
        builder = self._builder(x509.Name(attributes), key, 365).add_extension(_usage(sign=False), critical=True)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if name not in suffix:
            usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
            ips = [address, "127.0.0.1"] if name == "server" else [address]
            names = [x509.DNSName(member), *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return self._sign(builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)), _pem(key)

    def files(self, member: str, address: str) -> dict[str, tuple[bytes, int]]:
        """All of ``/etc/etcd/pki`` with modes, by path."""
        found = {f"{PKI}/ca.crt": (self.cert, 0o644), f"{PKI}/ca.key": (self.key, 0o600)}
        for name in LEAVES:
            cert, key = self.leaf(name, member, address)
            found |= {f"{PKI}/{name}.crt": (cert, 0o644), f"{PKI}/{name}.key": (key, 0o600)}
        return found


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(True, False, True, False, False, sign, False, False, False)


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def files(
    ca: Authority, member: str, address: str, initial: Sequence[tuple[str, str]], token: str | None
) -> dict[str, tuple[bytes, int]]:
    """Everything that etcdadm writes on a host except the programs, by path, with modes; all of it is root's."""
    return ca.files(member, address) | {
        ENV: (env(member, address, initial, token).encode(), 0o600),
        "/etc/etcd/etcdctl.env": (ETCDCTL_ENV.encode(), 0o600),
        WRAPPER: (ETCDCTL_SH.encode(), 0o755),
        UNIT_FILE: (UNIT.encode(), 0o755),
    }
