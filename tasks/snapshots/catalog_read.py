"""The documents of a catalog, manifests and marks, as they lie in a store: read, and their signatures judged.

Reading each takes one request, so copies in an index are taken where there are any
(:mod:`tasks.snapshots.catalog_index`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tasks.errors import ManifestError, StoreMissing
from tasks.snapshots.catalog_index import Index, renew_index
from tasks.snapshots.manifest import manifest_key
from tasks.snapshots.marks import mark_key
from tasks.snapshots.signing import MAX_BYTES, Kind, Sealed, SigningKey, public_key_text, unseal, unseal_ours
from tasks.snapshots.stores.base import Entry, Store

#: Small objects read at once: as many as the S3 client keeps connections for (see S3Store).
READERS = 16
_AT_ONCE = 32  # objects that a reader takes at a time

#: A document as it was signed, or why it can't be read.
Document = Sealed | ManifestError


def read_documents(
    store: Store, listed: Sequence[Entry], trusted: str | None, index: Index, *, renew: SigningKey | None = None
) -> dict[str, Document]:
    """Read manifests and marks.

    Args:
        listed: All of them that there are.
        trusted: Public key that is trusted; None if none is known.
        index: What has copies.
        renew: The trusted key, if a new index may be written.

    Returns:
        By key; what was removed since it was listed is not there.

    Raises:
        StoreError: The store can't be read.
    """
    copies = index.copies(listed)
    found: dict[str, Document] = {}
    for key, copy in copies.items():
        document = _copied(key, copy, trusted)
        if document is not None:
            found[key] = document
    used = len(found)
    read = dict(_read(store, [entry for entry in listed if entry.key not in found]))
    found.update({key: _judged(key, data, trusted) for key, data in read.items()})
    if renew is not None and public_key_text(renew) == trusted:
        ours = {key: read.get(key) or copies[key] for key, document in found.items() if _is_ours(key, document)}
        renew_index(store, renew, index, listed, ours, used)
    return found


def _judged(key: str, data: bytes, trusted: str | None) -> Document:
    try:
        return unseal(data, trusted, _kind(key))
    except ManifestError as error:
        return error


def _copied(key: str, data: bytes, trusted: str | None) -> Document | None:
    """A document of the index, None if it is of no use here."""
    try:
        document = unseal_ours(data, trusted or "", _kind(key))
    except ManifestError:
        return None
    return document if _is_ours(key, document) else None


def _is_ours(key: str, document: Document) -> bool:
    """Whether the trusted key signed it, and for that very place."""
    if isinstance(document, ManifestError) or document.trust != "signed":
        return False
    payload = document.payload
    name = str(payload.get("id"))
    return key == (mark_key(str(payload.get("snapshot")), name) if _kind(key) == "mark" else manifest_key(name))


def _kind(key: str) -> Kind:
    return "mark" if key.startswith("marks/") else "manifest"


def _read(store: Store, unread: Sequence[Entry]) -> Iterable[tuple[str, bytes]]:
    def read(entries: Sequence[Entry]) -> list[tuple[str, bytes]]:
        found = []
        for entry in entries:
            if entry.bytes > MAX_BYTES:  # none of ours; who put it there may want to fill this memory
                found.append((entry.key, b""))
                continue
            try:
                found.append((entry.key, store.get(entry.key)))
            except StoreMissing:
                continue
        return found

    size = min(_AT_ONCE, -(-len(unread) // READERS) or 1)
    batches = [unread[start : start + size] for start in range(0, len(unread), size)]
    with ThreadPoolExecutor(READERS, thread_name_prefix="catalog") as readers:
        for batch in readers.map(read, batches):
            yield from batch
