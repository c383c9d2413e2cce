"""zstd, decompressed in bounded memory and with its end checked.

The zstandard library's bounded readers take a frame that was cut off for a whole one (seen with 0.25). Its
decompressobj tells, but returns all that a piece decompresses to at once, and a run of zeros is 32,768 times as long as
what it came from. So this module walks along the frame's blocks (RFC 8878, 3.1.1), each of which is at most 128 KiB,
and feeds a few of them at a time; that also shows where the frame ends.
"""

from __future__ import annotations

from collections.abc import Iterator

import zstandard

from tasks.errors import SnapshotError
from tasks.snapshots.byte_source import Source

WINDOW_MAX = 8 * 1024 * 1024  # zstd's own limit for what every decoder has to take (RFC 8878, 3.1.1.1.2)
_MAGIC = (0xFD2FB528).to_bytes(4, "little")
_BLOCK_MAX = 128 * 1024
_TOGETHER = 8  # blocks fed at once: what comes out is at most 1 MiB
_RLE = 1
_OTHER = "use another snapshot, or the same one from another store"


def decompress(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress one frame; what is given out comes in pieces of at most 1 MiB.

    Raises:
        SnapshotError: It is no zstd frame, its bytes were changed (as far as its checksum tells), its end is missing,
            or something follows it.
    """
    engine = zstandard.ZstdDecompressor(max_window_size=WINDOW_MAX).decompressobj()
    for part in _parts(Source(pieces)):
        try:
            plain = engine.decompress(part)
        except zstandard.ZstdError as error:
            raise damaged(f"zstd says: {error}") from None
        if plain:
            yield plain
    if not engine.eof:
        raise damaged("its end is missing")


def damaged(why: str) -> SnapshotError:
    """The refusal of compressed bytes."""
    return SnapshotError(
        f"the snapshot can't be decompressed: {why}: its bytes were changed or cut off",
        state="nothing of it may be used",
        remedy=_OTHER,
    )


def _parts(source: Source) -> Iterator[bytes]:
    head, with_checksum = _frame_header(source)
    group, blocks, last = [head], 0, False
    while not last:
        header = source.take(3)
        value = int.from_bytes(header, "little")
        last, kind, size = bool(value & 1), value >> 1 & 3, value >> 3
        if len(header) < 3 or (size > _BLOCK_MAX and kind != _RLE):
            raise damaged("its end is missing" if len(header) < 3 else "a block is too large")
        group += (header, source.take(1 if kind == _RLE else size))
        blocks += 1
        if blocks % _TOGETHER == 0 and not last:
            yield b"".join(group)
            group = []
    yield b"".join([*group, source.take(4 if with_checksum else 0)])
    if source.take(1):
        raise damaged("after its end, bytes were added")


def _frame_header(source: Source) -> tuple[bytes, bool]:
    """The bytes before the first block, and whether a checksum follows the last."""
    start = source.take(5)
    if len(start) < 5 or start[:4] != _MAGIC:
        raise damaged("it does not begin as zstd does")
    descriptor = start[4]
    single_segment = bool(descriptor & 0x20)
    size_bytes = (int(single_segment), 2, 4, 8)[descriptor >> 6]
    dictionary_bytes = (0, 1, 2, 4)[descriptor & 3]
    rest = source.take((not single_segment) + dictionary_bytes + size_bytes)
    return start + rest, bool(descriptor & 4)
