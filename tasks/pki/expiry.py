"""How long the certificates on a host last, for reports. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.cluster.spec import Host
from tasks.hosts.facts import HostFacts
from tasks.pki.certificates import read_certificates, sans_of
from tasks.pki.judge import cert_path
from tasks.pki.leaves import LEAF_NAMES


@dataclass(frozen=True)
class CertificateExpiry:
    """One certificate file of a host; of a bundle, the certificate that ends first.

    Args:
        name: File name without ``.crt``.
        not_after: When it ends, None if it is there but could not be read.
        days_left: Whole days until then, negative once it is over.
    """

    name: str
    not_after: datetime | None
    days_left: int | None
    issuer: str = ""
    sans: tuple[str, ...] = ()


def expiries(host: Host, facts: HostFacts, *, now: datetime) -> tuple[CertificateExpiry, ...]:
    """All certificates of a host, the CA's first; those that are absent are left out."""
    found = []
    for name in ("ca", *LEAF_NAMES):
        fact = facts.file(cert_path(host, name))
        if fact.present:
            found.append(_expiry(name, fact.content, now))
    return tuple(found)


def _expiry(name: str, content: bytes | None, now: datetime) -> CertificateExpiry:
    try:
        certificates = read_certificates(content or b"")
    except ValueError:
        return CertificateExpiry(name, None, None)
    first = min(certificates, key=lambda certificate: certificate.not_valid_after_utc)
    end = first.not_valid_after_utc
    days = (end - now) // timedelta(days=1)
    return CertificateExpiry(name, end, days, first.issuer.rfc4514_string(), sans_of(first))
