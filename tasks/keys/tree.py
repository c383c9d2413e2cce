"""Counts below prefixes, as deep as wanted; memory goes with the number of prefixes, not of keys. Pure."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tasks.etcd.rpc_types import KeyValue
from tasks.keys.kubernetes import REGISTRY, Named, named

_SEPARATOR = b"/"


def prefixes_of(key: bytes, base: bytes, depth: int) -> Iterator[bytes]:
    """The prefixes that a key is below: the base itself, then one more part each, up to ``depth`` parts.

    ``/registry/pods/x/y`` is below ``/registry/`` (one part) and ``/registry/pods/`` (two).
    """
    yield base
    at = len(base)
    if key[at : at + 1] == _SEPARATOR:
        at += 1  # the slash at the beginning, or after a base without one, is no part of its own
    for _ in range(depth):
        found = key.find(_SEPARATOR, at)
        if found < 0:
            return
        at = found + 1
        yield key[:at]


@dataclass
class Weight:
    """Keys and the bytes of keys and values."""

    keys: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """One more key."""
        self.keys += 1
        self.bytes += size


@dataclass(frozen=True)
class Listed:
    """A key without its value.

    Args:
        bytes: Of the value.
        revision: Of its last change.
        object: What it is to Kubernetes, if anything.
    """

    key: bytes
    bytes: int
    revision: int
    object: Named | None


@dataclass
class Contents:
    """What is below a prefix.

    Args:
        base: The prefix.
        depth: How many more parts are told apart.
        largest: How many of the largest keys to keep.
        registry: Where Kubernetes keeps its objects.
        list_first: How many keys to list, in their order.
    """

    base: bytes
    depth: int
    largest: int
    registry: str = REGISTRY
    list_first: int = 0
    listed: list[Listed] = field(default_factory=list)
    tree: dict[bytes, Weight] = field(default_factory=dict)
    resources: dict[str, Weight] = field(default_factory=dict)
    namespaces: dict[str, Weight] = field(default_factory=dict)
    leased: int = 0
    _heap: list[tuple[int, bytes, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tree[self.base] = Weight()

    def add(self, item: KeyValue) -> None:
        """Count one key."""
        size = len(item.key) + len(item.value)
        for prefix in prefixes_of(item.key, self.base, self.depth):
            self.tree.setdefault(prefix, Weight()).add(size)
        found = named(item.key, self.registry)
        if found:
            self.resources.setdefault(found.resource, Weight()).add(size)
            if found.namespace:
                self.namespaces.setdefault(found.namespace, Weight()).add(size)
        if len(self.listed) < self.list_first:
            self.listed.append(Listed(item.key, len(item.value), item.mod_revision, found))
        self.leased += item.lease != 0
        entry = (len(item.value), item.key, item.mod_revision)
        if len(self._heap) < self.largest:
            heapq.heappush(self._heap, entry)
        elif self._heap and entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    @property
    def total(self) -> Weight:
        """Of everything."""
        return self.tree[self.base]

    @property
    def biggest(self) -> list[tuple[int, bytes, int]]:
        """Size of the value, key, revision of the last change; the largest first."""
        return sorted(self._heap, reverse=True)


@dataclass
class ChangeTree:
    """What happened below each prefix."""

    base: bytes
    depth: int
    tree: dict[bytes, Counter[str]] = field(default_factory=dict)

    def add(self, key: bytes, what: str) -> None:
        """Count one."""
        for prefix in prefixes_of(key, self.base, self.depth):
            self.tree.setdefault(prefix, Counter())[what] += 1
