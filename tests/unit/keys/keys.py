"""Key spaces and objects for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.etcd.rpc_keys import Page
from tasks.etcd.rpc_types import KeyValue
from tasks.keys.keyspace import Keyspace


def kv(key: bytes, value: bytes = b"", created: int = 1, changed: int = 1, lease: int = 0) -> KeyValue:
    return KeyValue(key, value, created, changed, 1, lease)


@dataclass
class Asked:
    """Serves pages out of a dictionary, as a member does; remembers how large they were, and what that took.

    Args:
        largest: Bytes of values in a page.
        counted: Keys that a member counts for all pages.
    """

    data: Mapping[bytes, bytes]
    largest: int = 0
    counted: int = 0

    def __call__(self, start: bytes, end: bytes | None, limit: int, revision: int, keys_only: bool) -> Page:
        found = [key for key in sorted(self.data) if start <= key and (end is None or key < end)]
        page = tuple(kv(key, b"" if keys_only else self.data[key]) for key in found[:limit])
        self.largest = max(self.largest, sum(len(item.value) for item in page))
        self.counted += len(found)
        return Page(page, len(found) > limit, revision)


def space(data: Mapping[bytes, bytes]) -> Keyspace:
    return Keyspace("test", 1, Asked(data))


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf; short ones only."""
    assert len(content) < 1 << 14
    length = bytes([len(content)]) if len(content) < 128 else bytes([len(content) & 127 | 128, len(content) >> 7])
    tag = number << 3 | 2
    return (bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])) + length + content


def protobuf_object(name: str, uid: str, *owners: tuple[str, str, str]) -> bytes:
    """A value as kube-apiserver writes built-in resources: owners are kind, name and UID."""
    metadata = field(1, name.encode()) + field(5, uid.encode()) + b"\x38\x07"  # generation: 7
    for kind, owner, owner_uid in owners:
        reference = field(1, kind.encode()) + field(3, owner.encode()) + field(4, owner_uid.encode()) + b"\x30\x01"
        metadata += field(13, reference)
    raw = field(1, metadata) + field(2, b"spec of " + name.encode())
    unknown = field(1, field(1, b"v1") + field(2, b"Pod")) + field(2, raw)
    return b"k8s\0" + unknown


def json_object(name: str, uid: str, *owners: tuple[str, str, str]) -> bytes:
    """A custom resource."""
    references = [{"kind": kind, "name": owner, "uid": owner_uid} for kind, owner, owner_uid in owners]
    return json.dumps(
        {"kind": "Widget", "metadata": {"name": name, "uid": uid, "ownerReferences": references}}
    ).encode()
