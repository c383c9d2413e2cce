"""Ranges of keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.etcd.client import range_end


@dataclass(frozen=True)
class Span:
    """Keys from ``start`` on, up to but without ``end``; to the very last if that is None."""

    start: bytes
    end: bytes | None

    def __contains__(self, key: bytes) -> bool:
        return self.start <= key and (self.end is None or key < self.end)


EVERYTHING = Span(b"", None)


def only(key: bytes) -> Span:
    """A single key."""
    return Span(key, key + b"\0")


def below(prefix: bytes) -> Span:
    """All keys that start with these bytes."""
    end = range_end(prefix)
    return Span(prefix, None if end == b"\0" else end)


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same keys in ranges that are in order and do not overlap, so that each key is read once."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if not found or (found[-1].end is not None and found[-1].end < span.start):
            found.append(span)
            continue
        end = found[-1].end
        if end is not None and (span.end is None or span.end > end):
            found[-1] = Span(found[-1].start, span.end)
    return tuple(found)
