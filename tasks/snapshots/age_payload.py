"""The body of an age file: ChaCha20-Poly1305 over chunks of 64 KiB (https://c2sp.org/age, section "Payload").

Each chunk is sealed with its number, the last one marked as such. So a changed, cut, swapped or added byte is always
noticed, before anything of its chunk is given out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tasks.errors import DecryptionError
from tasks.snapshots.age_header import derive, new_header, open_header
from tasks.snapshots.age_keys import Keys, Locks
from tasks.snapshots.byte_source import Source

CHUNK = 64 * 1024
TAG = 16
NONCE_BYTES = 16
SEALED = CHUNK + TAG
_TOGETHER = 16  # chunks in one piece given out: 1 MiB
_OTHER = "use another snapshot, or the same one from another store"


class Encryptor:
    """Encrypts a stream; no piece given in has to be of any size."""

    def __init__(self, locks: Locks) -> None:
        header, file_key = new_header(locks)
        nonce = os.urandom(NONCE_BYTES)
        self._cipher = ChaCha20Poly1305(derive(file_key, nonce, b"payload"))
        self._counter = 0
        self._kept = b""
        self._start = header + nonce

    def update(self, data: bytes) -> bytes:
        """The next bytes, as far as chunks are full and surely not the last."""
        out, view, start = [self._start], memoryview(data), 0
        self._start = b""
        if self._kept:
            start = min(CHUNK - len(self._kept), len(data))
            self._kept += view[:start]
            if start < len(data):
                out.append(self._seal(self._kept, last=False))
                self._kept = b""
        while len(data) - start > CHUNK:
            out.append(self._seal(view[start : start + CHUNK], last=False))
            start += CHUNK
        if start < len(data):
            self._kept = bytes(view[start:])
        return b"".join(out)

    def finish(self) -> bytes:
        """The last bytes; nothing may follow."""
        start, self._start = self._start, b""
        return start + self._seal(self._kept, last=True)

    def _seal(self, chunk: bytes | memoryview, *, last: bool) -> bytes:
        sealed = self._cipher.encrypt(_nonce(self._counter, last), chunk, None)
        self._counter += 1
        return sealed


def decrypt(pieces: Iterator[bytes], keys: Keys | None) -> Iterator[bytes]:
    """Decrypt a stream; what is given out is proven to be what was encrypted, and at the end that it is all of it.

    Raises:
        DecryptionError: The key is wrong, or bytes were changed, cut off, moved or added: the message tells which.
    """
    source = Source(pieces)
    file_key = open_header(source.line, keys)
    nonce = source.take(NONCE_BYTES)
    if len(nonce) < NONCE_BYTES:
        raise _cut(0)
    cipher, counter = ChaCha20Poly1305(derive(file_key, nonce, b"payload")), 0
    ahead = source.take(SEALED * _TOGETHER)
    while len(ahead) == SEALED * _TOGETHER and (following := source.take(SEALED * _TOGETHER)):
        yield _opened(cipher, counter, ahead, last=False)
        counter, ahead = counter + _TOGETHER, following
    yield _opened(cipher, counter, ahead, last=True)


def _opened(cipher: ChaCha20Poly1305, first: int, sealed: bytes, *, last: bool) -> bytes:
    """Open the chunks that begin with that number; if they are the last ones, the end is checked too."""
    view, out = memoryview(sealed), []
    starts = range(0, max(len(sealed), 1), SEALED)
    for counter, start in enumerate(starts, first):
        chunk, final = view[start : start + SEALED], last and start == starts[-1]
        if final and (len(chunk) < TAG or (len(chunk) == TAG and counter > 0)):
            raise _cut(counter)
        try:
            out.append(cipher.decrypt(_nonce(counter, final), chunk, None))
        except InvalidTag:
            raise _explained(cipher, counter, chunk, final) from None
    return b"".join(out)


def _explained(cipher: ChaCha20Poly1305, counter: int, chunk: memoryview, final: bool) -> DecryptionError:
    """Why a chunk does not open: it would if the end of the file were elsewhere, or its bytes are others."""
    try:
        cipher.decrypt(_nonce(counter, not final), chunk, None)
    except InvalidTag:
        if final:
            where = f"its last bytes (from {counter * CHUNK:,} of the plain text on) are not what was written"
            return _refusal(f"{where}: they were changed, or the end was cut off or added to")
        where = f"bytes near {counter * CHUNK:,} of the plain text are not what was written"
        return _refusal(f"{where}: they were changed or moved, so somebody tampered with it or the store lost them")
    if final:
        return _cut(counter + 1)
    return _refusal(f"after its end, at {(counter + 1) * CHUNK:,} of the plain text, bytes were added")


def _nonce(counter: int, last: bool) -> bytes:
    return counter.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def _cut(counter: int) -> DecryptionError:
    return _refusal(f"its end is missing: after {counter * CHUNK:,} bytes of the plain text it was cut off")


def _refusal(why: str) -> DecryptionError:
    return DecryptionError(
        f"the snapshot can't be decrypted: the key is right, but {why}",
        state="nothing of it may be used",
        remedy=_OTHER,
    )
