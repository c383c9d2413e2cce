"""Bytes that come in pieces of any size, taken as they are needed."""

from __future__ import annotations

from collections.abc import Iterator


class Source:
    """Lines and blocks from pieces of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._kept = bytearray()

    def line(self, limit: int) -> bytes:
        """Up to and with the next newline, at most so many bytes; less only at the end."""
        while (end := self._kept.find(b"\n", 0, limit)) < 0 and len(self._kept) < limit and self._more():
            pass
        return self._cut(end + 1 if end >= 0 else limit)

    def take(self, count: int) -> bytes:
        """So many bytes; less only at the end."""
        while len(self._kept) < count and self._more():
            pass
        return self._cut(count)

    def _more(self) -> bool:
        piece = next(self._pieces, None)
        self._kept += piece or b""
        return piece is not None

    def _cut(self, count: int) -> bytes:
        taken = bytes(memoryview(self._kept)[:count])
        del self._kept[:count]
        return taken
