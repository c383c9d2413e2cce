"""The operator's own client certificate, kept beside the CA in the state directory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tasks.cluster.spec import PkiSettings
from tasks.errors import Refused
from tasks.pki import store
from tasks.pki.authority import Authority
from tasks.pki.certificates import describe, issued_by, read_certificates, renewal_due
from tasks.pki.leaves import operator_leaf

RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class ClientFiles:
    """What a client of the cluster needs to log in."""

    ca: Path
    cert: Path
    key: Path


def client_files(settings: PkiSettings) -> ClientFiles:
    """Where the operator's client certificate is, whether it is there or not."""
    directory = settings.state_dir
    return ClientFiles(directory / "ca.crt", directory / "client.crt", directory / "client.key")


def ensure_client(settings: PkiSettings, authority: Authority, now: datetime) -> ClientFiles:
    """The operator's client certificate; issued if it is missing or has less than 30 days left.

    A pair half replaced by a run that was killed does not fit together and is issued anew.

    Raises:
        PkiError: It has to be issued and the CA's key is not here, or the files can't be read or written.
        Refused: There is a client certificate that another CA signed.
    """
    directory, files = settings.state_dir, client_files(settings)
    store.prepare_directory(directory)
    with store.locked(directory):
        cert, key = store.read(files.cert, private=False), store.read(files.key, private=True)
        if client_due(files, cert, key, authority, now):
            made = authority.issue(operator_leaf(settings), now)
            store.write(files.key, made.key_pem, 0o600)
            store.write(files.cert, made.cert_pem, 0o600)
    return files


def client_due(files: ClientFiles, cert: bytes | None, key: bytes | None, authority: Authority, now: datetime) -> bool:
    """Whether the client certificate has to be issued. Pure.

    Raises:
        Refused: Another CA signed the one that is there, or it can't be read.
    """
    if cert is None:
        return True
    try:
        certificate = read_certificates(cert)[0]
        problem = (
            None
            if issued_by(certificate, authority.trusted or (authority.cert,))
            else (f"{describe(certificate)} was not signed by {describe(authority.cert)}")
        )
    except ValueError as error:
        problem = str(error)
    if problem:
        raise Refused(
            f"{files.cert}: {problem}", state="nothing was changed", remedy=f"move it and {files.key} away, run again"
        )
    if key is None:
        return True
    try:
        fits = load_pem_private_key(key, None).public_key() == certificate.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        fits = False
    return not fits or certificate.not_valid_before_utc > now or renewal_due(certificate, now, RENEW_BEFORE)
