"""The proof that an etcd snapshot carries in itself: the SHA-256 of everything before it, in its last 32 bytes.

The server appends it to the stream (etcd 3.4 to 3.7, server/etcdserver/api/v3rpc/maintenance.go), ``etcdctl snapshot
save`` keeps it. bbolt's pages are multiples of 512 bytes, so ``size % 512 == 32`` tells a file with it from a copy of
``member/snap/db`` without (the rule of ``etcdutl snapshot restore``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

TRAILER_BYTES = hashlib.sha256().digest_size
SECTOR = 512


@dataclass(frozen=True)
class Digest:
    """What went through a :class:`TrailerCheck`.

    Args:
        bytes: Size, trailer included.
        sha256: Of all of it, trailer included, in hex.
        has_trailer: Whether its size is that of a snapshot with trailer.
        ok: Whether the trailer is there and is the hash of what stands before it.
    """

    bytes: int
    sha256: str
    has_trailer: bool
    ok: bool


class TrailerCheck:
    """Hashes a snapshot once, as it comes by, for both its own checksum and that of its trailer."""

    def __init__(self) -> None:
        self._before = hashlib.sha256()
        self._last = b""
        self._bytes = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._bytes += len(data)
        if len(data) >= TRAILER_BYTES:
            self._before.update(self._last)
            self._before.update(memoryview(data)[:-TRAILER_BYTES])
            self._last = data[-TRAILER_BYTES:]
        else:
            joined = self._last + data
            self._before.update(joined[:-TRAILER_BYTES])
            self._last = joined[-TRAILER_BYTES:]

    @property
    def bytes(self) -> int:
        """So many so far."""
        return self._bytes

    def finish(self) -> Digest:
        """The result; more may be fed afterwards."""
        whole = self._before.copy()
        whole.update(self._last)
        has_trailer = self._bytes % SECTOR == TRAILER_BYTES and self._bytes > TRAILER_BYTES
        return Digest(self._bytes, whole.hexdigest(), has_trailer, has_trailer and self._before.digest() == self._last)
