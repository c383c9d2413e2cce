"""The operator's certificate authority: kept in the state directory, never needed on the members.

An existing CA is imported by placing its ``ca.crt`` and ``ca.key`` (mode 0600) in the state directory. With ``ca.crt``
alone certificates can be checked but not issued.

Creation stages both files (``ca.key.new``, ``ca.crt.new``) and then gives them their names, key first, by hard links,
which never replace a file. A run killed in between leaves a key whose staged certificate tells that it is ours: the
next run finishes it. A lone key without one is somebody's import and is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tasks.cluster.secrets import resolve
from tasks.cluster.spec import PkiSettings
from tasks.errors import PkiError
from tasks.pki import signing, store
from tasks.pki.certificates import (
    USAGES,
    authority_problem,
    fingerprint,
    general_name,
    is_rsa,
    pem_of,
    read_certificates,
    when,
)
from tasks.pki.leaves import LeafSpec
from tasks.pki.signing import PrivateKey


@dataclass(frozen=True)
class IssuedLeaf:
    """A fresh certificate with its private key (PKCS #8, PEM, not encrypted: etcd can't ask for a passphrase)."""

    cert_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True)
class Authority:
    """A CA.

    Args:
        cert: The certificate that signs.
        cert_pem: The whole of ca.crt; a bundle while one CA takes over from another.
        key: Its private key, None if that is kept elsewhere or was not read; then nothing can be issued.
        trusted: All certificates of ca.crt.
        key_here: Whether ca.key is in the state directory, read or not.
    """

    cert: x509.Certificate
    cert_pem: bytes
    key: PrivateKey | None = field(default=None, repr=False)
    trusted: tuple[x509.Certificate, ...] = ()
    key_here: bool = False

    @property
    def can_issue(self) -> bool:
        """Whether the key is at hand; :func:`load_authority` has to be told to read it."""
        return self.key_here or self.key is not None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate in hexadecimal."""
        return fingerprint(self.cert)

    def key_pem(self) -> bytes:
        """The private key without encryption, for ``pki.ca_key: hosts``; never to be logged.

        Raises:
            PkiError: The key is not here.
        """
        return signing.key_pem(self._demand_key(), None)

    def issue(self, leaf: LeafSpec, now: datetime) -> IssuedLeaf:
        """Sign a new certificate with a new key.

        It is valid from five minutes ago (clock skew), but never outside the CA's own time. The serial number has 159
        random bits (RFC 5280, 4.1.2.2).

        Raises:
            PkiError: The CA's key is not here, or the CA has expired.
        """
        signer = self._demand_key()
        now = now.replace(microsecond=0)
        begin = max(now - signing.CLOCK_SKEW, self.cert.not_valid_before_utc)
        end = min(now + timedelta(days=leaf.days), self.cert.not_valid_after_utc)
        if end <= now:
            raise PkiError(
                f"the CA expired on {when(self.cert.not_valid_after_utc)}, {leaf.name}.crt can't be issued",
                state=store.UNTOUCHED,
                remedy="the CA must be replaced first",
            )
        key = signing.KEY_MAKERS[leaf.key_type]()
        builder = (
            signing.builder(signing.subject(leaf.common_name, leaf.organization), self.cert.subject, key, begin, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(signing.key_usage(digital_signature=True, key_encipherment=is_rsa(key)), critical=True)
            .add_extension(x509.ExtendedKeyUsage([USAGES[usage] for usage in leaf.usages]), critical=False)
            .add_extension(self._key_identifier(), critical=False)
        )
        if leaf.sans:
            names = x509.SubjectAlternativeName([general_name(name) for name in leaf.sans])
            builder = builder.add_extension(names, critical=False)
        return IssuedLeaf(pem_of(signing.sign(builder, signer)), signing.key_pem(key, None))

    def _demand_key(self) -> PrivateKey:
        if self.key is None:
            raise PkiError(
                "the private key of the CA is not in the state directory: certificates can be checked, not issued",
                state=store.UNTOUCHED,
                remedy="put ca.key (mode 0600) beside ca.crt in pki.state_dir for this run",
            )
        return self.key

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        make = x509.AuthorityKeyIdentifier
        try:
            identifier = self.cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return make.from_issuer_public_key(cast(CertificateIssuerPublicKeyTypes, self.cert.public_key()))
        return make.from_issuer_subject_key_identifier(identifier)


def load_authority(settings: PkiSettings, *, now: datetime | None = None, with_key: bool = True) -> Authority | None:
    """The CA in the state directory, or None if there is none yet.

    Args:
        settings: Where it is, and the passphrase of its key.
        now: The time to judge by, the present if not given.
        with_key: False leaves the key alone, so that its passphrase is not needed.

    Raises:
        PkiError: Permissions are too open, the passphrase is wrong, key and certificate do not belong together, it
            is no CA certificate, it has expired, or there is a key without its certificate.
        InputError: The passphrase can't be had from where the cluster file says.
    """
    directory = settings.state_dir
    if not directory.exists():
        return None
    store.check_directory(directory)
    cert_path, key_path = directory / "ca.crt", directory / "ca.key"
    cert_pem = store.read(cert_path, private=False)
    key_pem = store.read(key_path, private=True)
    if cert_pem is None:
        if key_pem is None or _staged(cert_path).exists():
            return None
        raise PkiError(
            f"{key_path} has no certificate beside it",
            state=store.UNTOUCHED,
            remedy=f"put the CA's certificate at {cert_path}, or move the key away to have a new CA made",
        )
    authority = parse_authority(cert_pem, str(cert_path), now or datetime.now(UTC))
    if key_pem is None or not with_key:
        return replace(authority, key_here=key_pem is not None)
    key = _load_key(key_pem, key_path, settings)
    _demand_pair(authority, key, key_path, cert_path)
    return replace(authority, key=key, key_here=True)


def parse_authority(cert_pem: bytes, where: str, now: datetime) -> Authority:
    """A CA file without its key; the first certificate of a bundle is the one that signs.

    Raises:
        PkiError: It can't be read, or can't serve as a CA.
    """
    try:
        trusted = read_certificates(cert_pem)
        problem = authority_problem(trusted[0], now)
    except ValueError as error:
        problem = str(error)
    if problem:
        raise PkiError(
            f"{where} can't serve as the CA: {problem}",
            state=store.UNTOUCHED,
            remedy="put a valid CA certificate there",
        )
    return Authority(trusted[0], cert_pem, None, trusted)


def create_authority(settings: PkiSettings, cluster_name: str, now: datetime) -> Authority:
    """Make the CA, or finish one whose making was cut off; of several processes at once all get the same one.

    Raises:
        PkiError: The state directory is not private or not writable, or what is there already can't be used.
        InputError: The passphrase can't be had from where the cluster file says.
    """
    directory = settings.state_dir
    store.prepare_directory(directory)
    cert_path, key_path = directory / "ca.crt", directory / "ca.key"
    with store.locked(directory):
        if load_authority(settings, now=now, with_key=False) is None:
            if not key_path.exists():
                key = signing.KEY_MAKERS[settings.key_type]()
                staged_cert = pem_of(signing.self_signed(key, cluster_name, settings.ca_days, now))
                store.write(_staged(key_path), signing.key_pem(key, _passphrase(settings)), 0o600)
                store.write(_staged(cert_path), staged_cert, 0o644)
                store.publish(_staged(key_path), key_path)
            else:
                # Cut off between the two: nothing was ever signed with this key, but is the staged certificate its own?
                staged = parse_authority(_staged(cert_path).read_bytes(), str(_staged(cert_path)), now)
                _demand_pair(staged, _load_key(key_path.read_bytes(), key_path, settings), key_path, _staged(cert_path))
            store.publish(_staged(cert_path), cert_path)
        authority = load_authority(settings, now=now)
        _staged(key_path).unlink(missing_ok=True)
        _staged(cert_path).unlink(missing_ok=True)
    if authority is None:
        raise PkiError(
            f"the CA in {directory} vanished while it was made", remedy="see who else writes there, run again"
        )
    return authority


def adopt_authority(settings: PkiSettings, cert_pem: bytes, now: datetime) -> Authority:
    """Take the CA certificate found on the hosts into the state directory; the key is not touched.

    Raises:
        PkiError: It can't serve as a CA, or the state directory holds another CA or a lone key.
    """
    parse_authority(cert_pem, "the hosts' ca.crt", now)
    directory = settings.state_dir
    store.prepare_directory(directory)
    with store.locked(directory):
        present = load_authority(settings, now=now)
        if present is None:
            if (directory / "ca.key").exists():
                raise PkiError(
                    f"{directory / 'ca.key'} was made for a new CA, but the hosts have one already",
                    state=store.UNTOUCHED,
                    remedy="move it away (nothing was signed with it) and run again",
                )
            store.write(directory / "ca.crt", cert_pem, 0o644)
            present = load_authority(settings, now=now)
    if present is None or present.cert_pem != cert_pem:
        raise PkiError(
            f"{directory} holds another CA than the hosts", state=store.UNTOUCHED, remedy="see pki.state_dir, run again"
        )
    return present


def _demand_pair(authority: Authority, key: PrivateKey, key_path: Path, cert_path: Path) -> None:
    if key.public_key() != authority.cert.public_key():
        raise PkiError(
            f"{key_path} is not the key of {cert_path}",
            state=store.UNTOUCHED,
            remedy="put the two that belong together there",
        )


def _staged(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _passphrase(settings: PkiSettings) -> bytes | None:
    if settings.passphrase is None:
        return None
    secret = resolve(settings.passphrase).reveal()
    if not secret:
        raise PkiError(
            f"the passphrase of the CA's key ({settings.passphrase}) is empty", state=store.UNTOUCHED, remedy="set it"
        )
    return bytes(secret.encode())


def _load_key(pem: bytes, path: Path, settings: PkiSettings) -> PrivateKey:
    passphrase = _passphrase(settings)
    try:
        key = load_pem_private_key(pem, passphrase)
    except TypeError as error:
        # cryptography tells both ways of passphrase and file not fitting together by a TypeError.
        if passphrase is None:
            what, remedy = "is encrypted and no passphrase is configured", "set pki.passphrase in the cluster file"
        else:
            what = "is not encrypted, although pki.passphrase is set"
            remedy = f"encrypt it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in {path} -out NEW, then put NEW in its place"
        raise PkiError(f"{path} {what}", state=store.UNTOUCHED, remedy=remedy) from error
    except (ValueError, UnsupportedAlgorithm):
        if passphrase is not None and b"ENCRYPTED" in pem:
            what, remedy = "can't be decrypted: wrong passphrase", f"check {settings.passphrase}"
        else:
            what, remedy = "is not a readable PEM private key", "put the CA's key there"
        # The library's text might quote the input, so the cause is cut off.
        raise PkiError(f"{path} {what}", state=store.UNTOUCHED, remedy=remedy) from None
    if not isinstance(key, PrivateKey):
        raise PkiError(f"{path} is neither an EC, an RSA nor an Ed25519 key", state=store.UNTOUCHED, remedy="use one")
    return key
