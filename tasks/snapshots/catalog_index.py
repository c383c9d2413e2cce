"""Copies of many manifests and marks in one object, so that a catalog of 10,000 snapshots needs a few dozen requests to
an S3 server and not as many as there are snapshots.

The listing stays the truth of what there is: a copy is used only where the listing has an object of that key, size,
time and version; all else is read where it lies. Only documents that the trusted key signed are put into an index, byte
for byte, and the whole is signed by that key again, which spares a check for each. So an index that is old, damaged,
forged or gone costs time and changes nothing.

It is written by who writes to the store anyway and has the key (backups, verifications, most prunes), once
:data:`ENOUGH` documents are in no index; a store of usual size never has one. The new one is written before the old
ones are removed; cut off in between, the newest is read and the next writer removes the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import zstandard

from tasks.errors import ManifestError, StoreError
from tasks.snapshots.manifest import is_id, new_id
from tasks.snapshots.signing import SigningKey, sign_bytes, signed_bytes
from tasks.snapshots.stores.base import Entry, Store

FOLDER = "index/"
SUFFIX = ".json.zst"
FORMAT = "etcd-flows-index/1"
#: So many documents may be read one by one; to a near S3 server that takes half a second.
ENOUGH = 100
#: Bytes of a document that is put into an index; ours have 1 to 3 KiB.
LARGEST = 64 * 1024
#: Bytes of all documents in an index, and of what is taken for one: who put it there may want to fill this memory.
MOST = 128 * 1024 * 1024


@dataclass(frozen=True)
class Index:
    """What the newest index of a store holds.

    Args:
        objects: Keys of all index objects that there are, the one that was read among them.
        documents: By key: what the listing said of it (:func:`stamp`), and its bytes.
    """

    objects: tuple[str, ...] = ()
    documents: Mapping[str, tuple[str, bytes]] = field(default_factory=dict, repr=False)

    def copies(self, listed: Iterable[Entry]) -> dict[str, bytes]:
        """What it has of these objects as they are now, by key."""
        found = {}
        for entry in listed:
            known = self.documents.get(entry.key)
            if known is not None and known[0] == stamp(entry):
                found[entry.key] = known[1]
        return found


def read_index(store: Store, trusted: str | None) -> Index:
    """The newest index; an empty one if there is none that can be used.

    Args:
        trusted: Public key that has to have signed it.

    Raises:
        StoreError: The store can't be listed.
    """
    ours = (entry for entry in store.list(FOLDER) if is_id(entry.key.removeprefix(FOLDER).removesuffix(SUFFIX)))
    listed = sorted(ours, key=lambda entry: (entry.modified, entry.key))
    objects = tuple(entry.key for entry in listed)
    if not listed or listed[-1].bytes > MOST:
        return Index(objects)
    try:
        return Index(objects, _unpacked(store.get(listed[-1].key), trusted))
    except (
        StoreError,
        ManifestError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        zstandard.ZstdError,
    ):
        return Index(objects)


def renew_index(
    store: Store, key: SigningKey, index: Index, listed: Iterable[Entry], ours: Mapping[str, bytes], used: int
) -> None:
    """Write a new index if much is in none, or if most of what it holds is gone. Never raises: nothing depends on it.

    Args:
        key: The one that is trusted.
        index: As it was read.
        listed: All documents that there are.
        ours: Those that the trusted key signed, by key.
        used: How many of those came from the index.
    """
    if len(ours) - used <= ENOUGH and len(index.documents) <= 2 * used + ENOUGH:
        return
    with suppress(StoreError):
        name = f"{FOLDER}{new_id(datetime.now(UTC))}{SUFFIX}"
        store.put(name, sign_bytes(_packed(listed, ours), key, "index"), only_new=True, lasting=False)
        for old in index.objects:
            store.delete(old)


def stamp(entry: Entry) -> str:
    """What changes whenever the object does, as far as a listing tells."""
    return f"{entry.bytes} {entry.modified.timestamp():.6f} {entry.version}"


def _packed(listed: Iterable[Entry], ours: Mapping[str, bytes]) -> bytes:
    documents: dict[str, list[str]] = {}
    total = 0
    for entry in listed:
        document = ours.get(entry.key)
        if document is None or len(document) > LARGEST or total + len(document) > MOST // 2:
            continue
        total += len(document)
        documents[entry.key] = [stamp(entry), document.decode()]
    return zstandard.compress(json.dumps({"format": FORMAT, "documents": documents}).encode())


def _unpacked(signed: bytes, trusted: str | None) -> dict[str, tuple[str, bytes]]:
    """Raises:
    Exception: It is no index, or not ours.
    """
    data = signed_bytes(signed, trusted, "index")
    if not 0 <= zstandard.frame_content_size(data) <= MOST:
        raise ValueError("no size, or too large a one")
    found = json.loads(zstandard.decompress(data))
    if found["format"] != FORMAT:
        raise ValueError("another format")
    return {key: (stamped, text.encode()) for key, (stamped, text) in found["documents"].items()}
