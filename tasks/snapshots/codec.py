"""From a snapshot's bytes to those that are stored, and back: zstd, then age; each may be left out."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import zstandard

from tasks.snapshots.age_keys import Keys, Locks
from tasks.snapshots.age_payload import Encryptor, decrypt
from tasks.snapshots.zstd_frame import damaged, decompress

Compression = Literal["none", "zstd", "gzip"]
Encryption = Literal["none", "age"]

MIB = 1024 * 1024
PIECE = MIB
#: Measured on an etcd with Kubernetes-like JSON: level 1 leaves 7.3% at 817 MB a second of CPU, level 3 leaves 8.1% at
#: 402 (zstd's threads make it no cheaper). Random data pass level 1 at 1755 MB/s.
LEVEL = 1
#: The first pages hold bbolt's own records and some free ones; 8 MiB told the whole to 0.5% on all that was measured.
SAMPLE_BYTES = 8 * MIB
#: Compress if that leaves at most so much. A byte not stored saves its encryption, hash and upload, at the very least
#: 5 ns; zstd takes 0.6 ns for each byte that it can't shrink: they break even where it saves 11%.
WORTH_IT = 0.9


@dataclass(frozen=True)
class Codec:
    """How a snapshot is stored.

    Args:
        compression: ``zstd`` or ``none``; gzip is only read (imports).
        locks: What it is encrypted with, None for clear.
    """

    compression: Literal["none", "zstd"] = "none"
    locks: Locks | None = field(default=None)

    @property
    def encryption(self) -> Encryption:
        """As the manifest calls it."""
        return "age" if self.locks else "none"

    @property
    def recipients(self) -> tuple[str, ...]:
        """Public keys that can open it."""
        return self.locks.recipients if self.locks else ()

    @property
    def plain(self) -> bool:
        """Whether the stored bytes are the snapshot's own."""
        return self.compression == "none" and self.locks is None


class Compressor:
    """The first half of an encoder: zstd, or nothing."""

    def __init__(self, codec: Codec) -> None:
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        self._zstd = compressor.compressobj() if codec.compression == "zstd" else None

    def update(self, data: bytes) -> bytes:
        """What there is of the bytes so far."""
        return self._zstd.compress(data) if self._zstd is not None else data

    def finish(self) -> bytes:
        """The rest."""
        return self._zstd.flush() if self._zstd is not None else b""


class Encoder:
    """One pass of bytes through a :class:`Codec`; with the same codec each pass has its own key."""

    def __init__(self, codec: Codec) -> None:
        self._compressor, self._encryptor = Compressor(codec), encryptor_of(codec)

    def update(self, data: bytes) -> bytes:
        """What there is to store of the bytes so far."""
        data = self._compressor.update(data)
        return self._encryptor.update(data) if self._encryptor is not None else data

    def finish(self) -> bytes:
        """The rest."""
        data = self._compressor.finish()
        return self._encryptor.update(data) + self._encryptor.finish() if self._encryptor is not None else data


def encryptor_of(codec: Codec) -> Encryptor | None:
    """The second half of an encoder: age, or None."""
    return Encryptor(codec.locks) if codec.locks else None


def choose_compression(
    pieces: Iterator[bytes], setting: Literal["auto", "zstd", "none"]
) -> tuple[Literal["none", "zstd"], Iterator[bytes]]:
    """Whether a snapshot is compressed, and the whole snapshot again.

    Args:
        pieces: The snapshot; for ``auto`` its first :data:`SAMPLE_BYTES` are looked at, piece by piece: at once they
            would take three times as much memory.
        setting: As the cluster file has it.
    """
    if setting != "auto":
        return setting, pieces
    engine = zstandard.ZstdCompressor(level=LEVEL).compressobj()
    first: list[bytes] = []
    total = smaller = 0
    while total < SAMPLE_BYTES and (piece := next(pieces, None)) is not None:
        first.append(piece)
        total += len(piece)
        smaller += len(engine.compress(piece))
    smaller += len(engine.flush())
    return "zstd" if smaller <= total * WORTH_IT else "none", _chained(first, pieces)


def decode(
    pieces: Iterator[bytes], compression: Compression, encryption: Encryption, keys: Keys | None = None
) -> Iterator[bytes]:
    """The snapshot again, in pieces of at most about 1 MiB and with bounded memory.

    Args:
        pieces: As stored, in pieces of any size.
        keys: What decrypts, if it is encrypted.

    Raises:
        DecryptionError: The key is wrong, or bytes were changed, cut off or added.
        SnapshotError: It can't be decompressed: it is damaged.
    """
    if encryption == "age":
        pieces = decrypt(pieces, keys)
    if compression == "zstd":
        return decompress(pieces)
    return _gunzipped(pieces) if compression == "gzip" else pieces


def _chained(first: list[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    while first:
        yield first.pop(0)
    yield from rest


def _gunzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """One or several gzip members (RFC 1952, 2.2); zlib checks their CRC and length."""
    engine, begun = zlib.decompressobj(wbits=31), False
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if engine.eof:
                    engine, begun = zlib.decompressobj(wbits=31), False
                begun = True
                plain = engine.decompress(rest, PIECE)
                rest = engine.unconsumed_tail or engine.unused_data
                if plain:
                    yield plain
    except zlib.error as error:
        raise damaged(f"gzip says: {error}") from None
    if not begun or not engine.eof:
        raise damaged("its end is missing")
