"""Reading certificates: who signed them, for whom, how long. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


def read_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """All certificates of a PEM file, in order (a CA file may be a bundle).

    Raises:
        ValueError: There is none in it, or one of them can't be read.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("it holds no readable PEM certificate") from error


def pem_of(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER bytes in hexadecimal, the same as ``openssl x509 -fingerprint -sha256`` without colons."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def describe(certificate: x509.Certificate) -> str:
    """Subject and the start of the fingerprint, for people."""
    return f"{certificate.subject.rfc4514_string() or '(no subject)'} [SHA-256 {fingerprint(certificate)[:16]}]"


def canonical_san(name: str) -> str:
    """One spelling for a name or address: IPs as Python prints them, without a zone; names in lower case."""
    try:
        return str(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        return name.rstrip(".").lower()


def general_name(name: str) -> x509.GeneralName:
    """A SAN entry: IPs as iPAddress, all else as dNSName (RFC 5280, 4.2.1.6).

    Names with an underscore go out as they are: Go's verifier (crypto/x509, validHostname) allows them.

    Raises:
        ValueError: The name has characters outside ASCII.
    """
    canonical = canonical_san(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(canonical))
    except ValueError:
        return x509.DNSName(canonical)


def sans_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names and addresses a certificate is good for, in its own order; empty for pure client certificates."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(canonical_san(str(n.value)) for n in names if isinstance(n, x509.DNSName | x509.IPAddress))


def usages_of(certificate: x509.Certificate) -> frozenset[str]:
    """Which of ``server`` and ``client`` it may be used as; both where it says nothing (RFC 5280, 4.2.1.12)."""
    try:
        stated = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return frozenset(USAGES)
    except ValueError:
        return frozenset()
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in stated:
        return frozenset(USAGES)
    return frozenset(usage for usage, oid in USAGES.items() if oid in stated)


def issued_by(certificate: x509.Certificate, authorities: Iterable[x509.Certificate]) -> bool:
    """Whether one of the authorities signed it; issuer name and signature are both checked."""
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        return True
    return False


def authority_problem(certificate: x509.Certificate, now: datetime) -> str | None:
    """Why a certificate can't serve as the CA, or None if it can (RFC 5280, 4.2.1.9 and 4.2.1.3)."""
    try:
        extensions = certificate.extensions
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "it is not a CA certificate (basicConstraints says CA:FALSE)"
    except x509.ExtensionNotFound:
        return "it is not a CA certificate (it has no basicConstraints)"
    except ValueError:
        return "its extensions can't be read"
    try:
        if not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
            return "it may not sign certificates (keyUsage lacks keyCertSign)"
    except x509.ExtensionNotFound:
        pass
    if certificate.not_valid_after_utc <= now:
        return f"it expired on {when(certificate.not_valid_after_utc)}"
    if certificate.not_valid_before_utc > now:
        return f"it is not valid before {when(certificate.not_valid_before_utc)}"
    return None


def renewal_due(certificate: x509.Certificate, now: datetime, threshold: timedelta) -> bool:
    """Whether less than ``threshold`` of its life is left, or less than a third of it for short-lived certificates."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - now < min(threshold, life / 3)


def is_rsa(key: object) -> bool:
    """Whether it is an RSA key; only those encrypt key material in TLS."""
    return isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey)


def when(moment: datetime) -> str:
    """A moment for people, in UTC to the minute."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
