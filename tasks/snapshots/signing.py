"""Who made a manifest: Ed25519 signatures (RFC 8032), and the key that makes them.

A signed document is JSON for people to read::

    {
      "manifest": {...},
      "signature": {"algorithm": "ed25519", "signer": "ed25519:BASE64", "value": "BASE64"}
    }

What is signed are the words ``etcd-flows manifest``, a newline (domain separation: a mark is never a manifest)
and the payload in canonical form: Python's ``json.dumps`` with sorted keys, an indent of two, UTF-8 without escapes,
no NaN. The document itself has to be what :func:`seal` writes, byte for byte: nothing in it can be changed, not even a
space, and there is no second way to read it (a key given twice, say).

Public-key encryption tells nothing about who encrypted: whoever may write to a store could place a snapshot of their
own there. Hence the key that is trusted stands in the cluster file or the state directory, never in the store.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tasks.cluster.secrets import resolve
from tasks.cluster.spec import Cluster
from tasks.errors import InputError, ManifestError
from tasks.pki import signing as pki_signing
from tasks.pki import store

KEY_FILE = "snapshot-signing.key"
MAX_BYTES = 4 * 1024 * 1024

Kind = Literal["manifest", "mark", "bundle", "index", "restore"]
Trust = Literal["signed", "foreign", "unsigned"]

#: As :func:`_text` has it; there is nothing in base64 that JSON writes in another way.
_SIGNATURE = '{\n  "algorithm": "ed25519",\n  "signer": "%s",\n  "value": "%s"\n}'

_OTHER_SNAPSHOT = "use another snapshot, or get this one's manifest from another store; find out who changed it"


@dataclass(frozen=True)
class SigningKey:
    """A private key that signs; not shown."""

    private: Ed25519PrivateKey = field(repr=False)


@dataclass(frozen=True)
class Sealed:
    """A document whose signature, if any, fits.

    Args:
        payload: The manifest or mark.
        trust: ``signed`` by the key that is trusted; ``foreign``: by another one; ``unsigned``: by none. Anything but
            ``signed`` may have been made by anyone who can write to the store.
        signer: Public key that signed, empty if none did.
    """

    payload: dict[str, Any]
    trust: Trust
    signer: str


def public_key_text(key: SigningKey | Ed25519PublicKey) -> str:
    """As the cluster file has it: ``ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=``."""
    public = key.private.public_key() if isinstance(key, SigningKey) else key
    return f"ed25519:{base64.b64encode(public.public_bytes_raw()).decode()}"


def seal(payload: dict[str, Any], key: SigningKey, kind: Kind = "manifest") -> bytes:
    """The signed document of a payload; a payload that went through JSON comes back equal.

    Args:
        kind: What it is; a document of one kind is never accepted as another.
    """
    text = _text(payload)
    return _document(text, kind, public_key_text(key), key.private.sign(_signed_bytes(text, kind)))


def unseal(data: bytes, trusted: str | None, kind: Kind = "manifest") -> Sealed:
    """Read a document and judge who made it.

    Args:
        data: As stored.
        trusted: Public key that is trusted; None if none is known, then nothing is ``signed``.
        kind: What it has to be.

    Raises:
        ManifestError: It is damaged, or it was changed after it was signed.
    """
    document = _parse(data, kind)
    payload = document[kind]
    if "signature" not in document:
        return Sealed(payload, "unsigned", "")
    signer, value = _signature(document["signature"], kind)
    signer_text = public_key_text(signer)
    text = _payload_text(data, kind)
    try:
        signer.verify(value, _signed_bytes(text, kind))
        untouched = data == _document(text, kind, signer_text, value)
    except InvalidSignature:
        untouched = False
    if not untouched:
        raise _changed(kind, signer_text, trusted)
    return Sealed(payload, "signed" if signer_text == trusted else "foreign", signer_text)


def unseal_ours(data: bytes, trusted: str, kind: Kind = "manifest") -> Sealed:
    """Read a document of which it is known that the trusted key signed it.

    Raises:
        ManifestError: It is none.
    """
    return Sealed(_parse(data, kind)[kind], "signed", trusted)


def sign_bytes(data: bytes, key: SigningKey, kind: Kind) -> bytes:
    """Any bytes, signed: the signature (64 bytes), then they themselves."""
    return key.private.sign(_domain(kind) + data) + data


def signed_bytes(data: bytes, trusted: str | None, kind: Kind) -> bytes:
    """What :func:`sign_bytes` was given.

    Raises:
        ManifestError: The trusted key did not sign it, or none is known.
    """
    value, rest = data[:64], data[64:]
    try:
        raw = base64.b64decode((trusted or "").partition(":")[2], validate=True)
        Ed25519PublicKey.from_public_bytes(raw).verify(value, _domain(kind) + rest)
    except (InvalidSignature, ValueError):
        raise ManifestError(
            f"this {kind} is not signed by the key that is trusted here",
            remedy="if it is yours, pin its key as snapshots.signing.public_key; else somebody forged it",
        ) from None
    return rest


def ensure_signing_key(cluster: Cluster) -> SigningKey:
    """The key that signs this cluster's manifests; made in the state directory at the first backup.

    Raises:
        InputError: The cluster file's key can't be had or used, or is not the one whose public half is pinned there.
        PkiError: The state directory, or the key in it, can't be used.
    """
    settings = cluster.snapshots
    if settings.private_key is not None:
        where = str(settings.private_key)
        key = _load(resolve(settings.private_key).reveal().encode(), where)
    else:
        path = cluster.pki.state_dir / KEY_FILE
        where, key = str(path), _kept_or_new(path, settings.public_key)
    if settings.public_key not in (None, public_key_text(key)):
        raise InputError(
            f"the key in {where} belongs to {public_key_text(key)}, but snapshots.signing.public_key pins another: "
            "what it signs would not be trusted",
            state="nothing was touched",
            remedy="bring the key that belongs to the pinned one, or pin this one",
        )
    return key


def trusted_key(cluster: Cluster) -> str | None:
    """Public key that this cluster's manifests have to be signed with.

    Returns:
        The pinned one, else that of the private key if there is one at hand; None if neither is known, as on a new
        machine without the state directory, or where the secret is not given: reading needs no secret.

    Raises:
        InputError, PkiError: There is a private key, but it can't be used.
    """
    settings = cluster.snapshots
    if settings.public_key is not None:
        return settings.public_key
    if settings.private_key is None:
        kept = _kept(cluster.pki.state_dir / KEY_FILE)
        return public_key_text(kept) if kept else None
    try:
        secret = resolve(settings.private_key)
    except InputError:
        return None
    return public_key_text(_load(secret.reveal().encode(), str(settings.private_key)))


def key_is_here(cluster: Cluster) -> bool:
    """Whether the private key is at hand, without a look at what it is."""
    if cluster.snapshots.private_key is None:
        return (cluster.pki.state_dir / KEY_FILE).is_file()
    try:
        resolve(cluster.snapshots.private_key)
    except InputError:
        return False
    return True


def _kept(path: Path) -> SigningKey | None:
    if not path.parent.exists():
        return None
    pem = store.read(path, private=True)
    return _load(pem, str(path)) if pem is not None else None


def _kept_or_new(path: Path, pinned: str | None) -> SigningKey:
    store.prepare_directory(path.parent)
    with store.locked(path.parent):
        kept = _kept(path)
        if kept is not None:
            return kept
        if pinned is not None:
            raise InputError(
                f"snapshots.signing.public_key is pinned, but its private key is not at {path}",
                state="nothing was touched",
                remedy=f"put the key there (mode 0600), name it in snapshots.signing.private_key, "
                f"or remove the pin to have a new one made ({pinned[:24]}... is then no longer trusted)",
            )
        key = SigningKey(Ed25519PrivateKey.generate())
        store.write(path, pki_signing.key_pem(key.private, None), 0o600)
        return key


def _load(pem: bytes, where: str) -> SigningKey:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        # Not chained: what the parser says may quote the key.
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(
            f"{where} holds no Ed25519 private key in PEM without a passphrase",
            state="nothing was touched",
            remedy="openssl genpkey -algorithm ed25519 makes one",
        )
    return SigningKey(key)


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _signed_bytes(payload: str, kind: Kind) -> bytes:
    return _domain(kind) + payload.encode()


def _domain(kind: Kind) -> bytes:
    return f"etcd-flows {kind}\n".encode()


def _document(payload: str, kind: Kind, signer: str, value: bytes) -> bytes:
    """What :func:`_text` makes of both together. Put together from texts, as a catalog reads thousands: a text has no
    line breaks but those between its lines, and all kinds stand before "signature" in the alphabet.
    """
    signature = _SIGNATURE % (signer, base64.b64encode(value).decode())
    inner = [text.replace("\n", "\n  ") for text in (payload, signature)]
    return f'{{\n  "{kind}": {inner[0]},\n  "signature": {inner[1]}\n}}\n'.encode()


def _payload_text(data: bytes, kind: Kind) -> str:
    """The payload as :func:`seal` had it before it put it into a document; something else if that is no such document.

    To take it from there is six times as quick as to make it again. It is what was parsed, too: line breaks can't stand
    inside JSON's texts, and nothing but the payload and the signature is in the document (:func:`_parse`).
    """
    inner = data.decode().removeprefix(f'{{\n  "{kind}": ').rpartition(',\n  "signature": ')[0]
    return inner.replace("\n  ", "\n")


def _parse(data: bytes, kind: Kind) -> dict[str, Any]:
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"{len(data)} bytes are too many")
        document = json.loads(data.decode(), object_pairs_hook=_unambiguous, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ManifestError(
            f"this is no {kind}, or a damaged one ({str(error)[:100]})", remedy=_OTHER_SNAPSHOT
        ) from None
    if not isinstance(document, dict) or not isinstance(document.get(kind), dict):
        raise ManifestError(f"this is no {kind} of etcd-flows, or a damaged one", remedy=_OTHER_SNAPSHOT)
    if not document.keys() <= {kind, "signature"}:
        raise ManifestError(f"this {kind} was changed: something was added beside it", remedy=_OTHER_SNAPSHOT)
    return document


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _signature(found: Any, kind: Kind) -> tuple[Ed25519PublicKey, bytes]:
    try:
        name, _, text = found["signer"].partition(":")
        raw, value = base64.b64decode(text, validate=True), base64.b64decode(found["value"], validate=True)
        if (found["algorithm"], name) != ("ed25519", "ed25519") or len(found) != 3:
            raise ValueError
        return Ed25519PublicKey.from_public_bytes(raw), value
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error):
        raise ManifestError(
            f"the signature of this {kind} is damaged, or of a kind that this version does not know",
            remedy=_OTHER_SNAPSHOT,
        ) from None


def _changed(kind: Kind, signer: str, trusted: str | None) -> ManifestError:
    whose = "the key that is trusted here" if signer == trusted else signer
    return ManifestError(
        f"this {kind} was changed after it was signed: it names {whose} as its signer, but that key did not sign this",
        state="nothing in it can be believed",
        remedy=_OTHER_SNAPSHOT,
    )
