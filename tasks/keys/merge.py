"""Two key spaces side by side, in one pass over both; and what is counted on the way. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from tasks.etcd.rpc_types import KeyValue

What = Literal["added", "changed", "removed", "unchanged"]

Pair = tuple[KeyValue | None, KeyValue | None]


def side_by_side(old: Iterable[KeyValue], new: Iterable[KeyValue]) -> Iterator[Pair]:
    """Every key that either has, in order, as each has it; both have to be in order. Holds one key of each."""
    left, right = iter(old), iter(new)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.key < other.key):
            yield one, None
            one = next(left, None)
        elif one is None or other.key < one.key:
            yield None, other
            other = next(right, None)
        else:
            yield one, other
            one, other = next(left, None), next(right, None)


def what_happened(pair: Pair) -> What:
    """From the old to the new; a key that was written again with the same value is unchanged."""
    old, new = pair
    if old is None:
        return "added"
    if new is None:
        return "removed"
    return "unchanged" if old.value == new.value else "changed"


@dataclass(frozen=True)
class Change:
    """What happened to one key, without its values.

    Args:
        old_bytes: Size of the value before; None if there was no such key.
        new_bytes: Size of it after; likewise.
        recreated: Whether it was deleted and made again in between.
    """

    key: bytes
    what: What
    old_bytes: int | None
    new_bytes: int | None
    recreated: bool

    @classmethod
    def of(cls, pair: Pair) -> Change:
        """The change between the two."""
        old, new = pair
        key = old.key if old else new.key if new else b""
        recreated = old is not None and new is not None and old.create_revision != new.create_revision
        sizes = (None if old is None else len(old.value), None if new is None else len(new.value))
        return cls(key, what_happened(pair), *sizes, recreated)


@dataclass
class Differences:
    """What is different, counted; of the changes themselves only the first are kept.

    Args:
        keep: How many changes to keep.
    """

    keep: int
    counts: Counter[What] = field(default_factory=Counter)
    first: list[Change] = field(default_factory=list)

    def add(self, change: Change) -> None:
        """Count one."""
        self.counts[change.what] += 1
        if change.what != "unchanged" and len(self.first) < self.keep:
            self.first.append(change)

    @property
    def different(self) -> int:
        """Keys that are not the same in both."""
        return sum(count for what, count in self.counts.items() if what != "unchanged")
