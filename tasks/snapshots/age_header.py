"""The head of an age file: the key of the file, wrapped for those who may open it.

The format is age v1, https://c2sp.org/age (sections "Header", "The X25519 recipient type", "The scrypt recipient
type"), so that stock ``age`` opens a backup on any machine. pyrage checks and converts the keys of people. It can't
hand out a file's key, streams no passphrase, and encrypts at a third of the speed of OpenSSL's ChaCha20 (899 against
2524 MiB/s measured) while it keeps Python's lock: hence this module and :mod:`tasks.snapshots.age_payload`. Tests hold
both against stock ``age`` and pyrage, in both directions.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tasks.cluster.secrets import Secret
from tasks.errors import DecryptionError
from tasks.snapshots.age_keys import Keys, Locks, bech32_bytes

VERSION = b"age-encryption.org/v1\n"
FILE_KEY_BYTES = 16
#: 2**16 (64 MiB while the key is derived). Stock age takes 2**18, but its 256 MiB would be more than a whole backup
#: may take; each step of two is one bit of the passphrase.
SCRYPT_LOG_N = 16
SCRYPT_LOG_N_MAX = 20  # a forged head can't ask for more than 1 GiB
MAX_LINES = 2000
MAX_LINE = 8192

_ZERO_NONCE = bytes(12)
_X25519 = b"age-encryption.org/v1/X25519"
_SCRYPT = b"age-encryption.org/v1/scrypt"
_CHANGED = "its head was changed or is damaged"
_OTHER = "use another snapshot, or the same one from another store"


@dataclass(frozen=True)
class Stanza:
    """The file's key, wrapped for one recipient."""

    arguments: tuple[str, ...]
    body: bytes


def derive(key: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256, 32 bytes (RFC 5869)."""
    return HKDF(SHA256(), 32, salt or None, info).derive(key)


def new_header(locks: Locks) -> tuple[bytes, bytes]:
    """The head of a new file, and the new file's key."""
    file_key = os.urandom(FILE_KEY_BYTES)
    if locks.passphrase is not None:
        stanzas = [_for_passphrase(file_key, locks.passphrase)]
    else:
        stanzas = [_for_recipient(file_key, bech32_bytes(recipient)) for recipient in locks.recipients]
    head = VERSION + b"".join(_spelled(stanza) for stanza in stanzas) + b"---"
    return head + b" " + _base64(_mac(file_key, head)) + b"\n", file_key


def open_header(read_line: Callable[[int], bytes], keys: Keys | None) -> bytes:
    """Read a head and unwrap the file's key.

    Args:
        read_line: Gives the next line with its newline, at most so many bytes of it.
        keys: What is tried.

    Raises:
        DecryptionError: It is no age file, none of the keys opens it, or it was changed.
    """
    stanzas, head, mac = _parsed(read_line)
    if keys is None:
        raise DecryptionError(
            "the snapshot is encrypted, and no key to open it was given",
            remedy="name snapshots.encryption.identity (or passphrase) in the cluster file",
        )
    file_key = _unwrapped(stanzas, keys)
    if not hmac.compare_digest(_mac(file_key, head), mac):
        raise _refusal(f"{_CHANGED}: the key fits, but the head is not the one that was written with it")
    return file_key


def _unwrapped(stanzas: list[Stanza], keys: Keys) -> bytes:
    kinds = {stanza.arguments[0] for stanza in stanzas}
    if "scrypt" in kinds:
        if len(stanzas) > 1:
            raise _refusal(f"{_CHANGED}: a passphrase can't stand beside other keys")
        if keys.passphrase is None:
            raise _wrong("it was encrypted with a passphrase, and none was given", "snapshots.encryption.passphrase")
        return _with_passphrase(stanzas[0], keys.passphrase)
    if "X25519" not in kinds:
        raise DecryptionError(
            f"the snapshot is encrypted for keys of another kind ({', '.join(sorted(kinds))[:100]})",
            remedy="decrypt it with `age -d -i KEY` and import the result",
        )
    for stanza in (stanza for stanza in stanzas if stanza.arguments[0] == "X25519"):
        for raw in keys.raw:
            file_key = _with_identity(stanza, raw)
            if file_key is not None:
                return file_key
    if not keys.public:
        raise _wrong("it was encrypted for public keys, and no secret key was given", "snapshots.encryption.identity")
    raise _wrong(
        f"the key given ({', '.join(keys.public)}) is none of those it was encrypted for, or its head was changed "
        "(then its SHA-256 is not the manifest's)",
        "snapshots.encryption.identity",
    )


def _for_recipient(file_key: bytes, recipient: bytes) -> Stanza:
    ephemeral = X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    wrap = ChaCha20Poly1305(derive(shared, share + recipient, _X25519))
    return Stanza(("X25519", _base64(share).decode()), wrap.encrypt(_ZERO_NONCE, file_key, None))


def _with_identity(stanza: Stanza, raw: bytes) -> bytes | None:
    share = _unbase64(stanza.arguments[1]) if len(stanza.arguments) == 2 else b""
    if len(share) != 32:
        raise _refusal(_CHANGED)
    identity = X25519PrivateKey.from_private_bytes(raw)
    try:
        shared = identity.exchange(X25519PublicKey.from_public_bytes(share))
    except ValueError:  # all zero
        raise _refusal(_CHANGED) from None
    return _opened(derive(shared, share + identity.public_key().public_bytes_raw(), _X25519), stanza.body)


def _for_passphrase(file_key: bytes, passphrase: Secret) -> Stanza:
    salt = os.urandom(16)
    wrap = ChaCha20Poly1305(_scrypt(passphrase, salt, SCRYPT_LOG_N))
    arguments = ("scrypt", _base64(salt).decode(), str(SCRYPT_LOG_N))
    return Stanza(arguments, wrap.encrypt(_ZERO_NONCE, file_key, None))


def _with_passphrase(stanza: Stanza, passphrase: Secret) -> bytes:
    if len(stanza.arguments) != 3 or not re.fullmatch(r"[1-9][0-9]{0,2}", stanza.arguments[2]):
        raise _refusal(_CHANGED)
    salt, log_n = _unbase64(stanza.arguments[1]), int(stanza.arguments[2])
    if len(salt) != 16 or log_n > SCRYPT_LOG_N_MAX:
        raise _refusal(f"{_CHANGED} (work factor {log_n})")
    file_key = _opened(_scrypt(passphrase, salt, log_n), stanza.body)
    if file_key is None:
        raise _wrong(
            "the passphrase is another one than it was encrypted with, or its head was changed (then its SHA-256 is "
            "not the manifest's)",
            "snapshots.encryption.passphrase",
        )
    return file_key


def _scrypt(passphrase: Secret, salt: bytes, log_n: int) -> bytes:
    memory = 128 * 8 * (2**log_n + 64)
    return hashlib.scrypt(
        passphrase.reveal().encode(), salt=_SCRYPT + salt, n=2**log_n, r=8, p=1, dklen=32, maxmem=memory
    )


def _opened(key: bytes, body: bytes) -> bytes | None:
    if len(body) != FILE_KEY_BYTES + 16:  # or one text could be made that opens with many keys (partitioning oracle)
        raise _refusal(_CHANGED)
    try:
        return ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, body, None)
    except InvalidTag:
        return None


def _parsed(read_line: Callable[[int], bytes]) -> tuple[list[Stanza], bytes, bytes]:
    """Stanzas, what the MAC is over, and the MAC."""
    version = read_line(len(VERSION))
    if version != VERSION:
        armored = version.startswith(b"-----BEGIN AGE")
        raise DecryptionError(
            "the snapshot is in age's text form (armor)"
            if armored
            else "this is not a file of age, or its first bytes were changed: nothing here says how it is encrypted",
            remedy="decrypt it with `age -d` and import the result" if armored else _OTHER,
        )
    head, stanzas = [version], list[Stanza]()
    while (line := _line(read_line, head)).startswith(b"-> "):
        body = b""
        while len(part := _line(read_line, head)) == 65:
            body += part[:-1]
        stanzas.append(Stanza(tuple(_arguments(line)), _unbase64((body + part[:-1]).decode("latin-1"))))
    if not stanzas or not line.startswith(b"--- "):
        raise _refusal(_CHANGED)
    mac = _unbase64(line[4:-1].decode("latin-1"))
    return stanzas, b"".join(head[:-1]) + b"---", mac


def _line(read_line: Callable[[int], bytes], head: list[bytes]) -> bytes:
    line = read_line(MAX_LINE)
    if not line.endswith(b"\n") or len(head) > MAX_LINES:
        cut = not line.endswith(b"\n") and len(line) < MAX_LINE
        raise _refusal("it ends within its head: it was cut off" if cut else _CHANGED)
    head.append(line)
    return line


def _arguments(line: bytes) -> list[str]:
    found = line[3:-1].decode("latin-1").split(" ")
    if not all(re.fullmatch(r"[!-~]+", argument) for argument in found):
        raise _refusal(_CHANGED)
    return found


def _spelled(stanza: Stanza) -> bytes:
    return b"-> %s\n%s\n" % (" ".join(stanza.arguments).encode(), _base64(stanza.body))


def _mac(file_key: bytes, head: bytes) -> bytes:
    return hmac.digest(derive(file_key, b"", b"header"), head, "sha256")


def _base64(data: bytes) -> bytes:
    """RFC 4648 without padding; one line, as ours are short."""
    return base64.b64encode(data).rstrip(b"=")


def _unbase64(text: str) -> bytes:
    """The reverse; only the one canonical spelling is taken."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _refusal(_CHANGED) from None
    if _base64(data).decode() != text:
        raise _refusal(_CHANGED)
    return data


def _refusal(why: str) -> DecryptionError:
    return DecryptionError(f"the snapshot can't be decrypted: {why}", remedy=_OTHER)


def _wrong(why: str, setting: str) -> DecryptionError:
    return DecryptionError(
        f"the snapshot can't be decrypted: {why}",
        state="the snapshot itself may be whole",
        remedy=f"see {setting}; keys change over the years, so take the one of that time",
    )
