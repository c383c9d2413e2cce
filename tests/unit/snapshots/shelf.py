"""Snapshots for tests: real bytes with a trailer, signed manifests, in a real store. Only etcd is missing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.snapshots.catalog import Catalog, CatalogEntry, read_catalog
from tasks.snapshots.manifest import Manifest, data_key, manifest_key, to_json
from tasks.snapshots.marks import Level, pin, verification, write_mark
from tasks.snapshots.signing import SigningKey, public_key_text, seal
from tasks.snapshots.stores.base import Store

NOW = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
STRANGER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
TRUSTED = public_key_text(KEY)


def database(text: str, pages: int = 4) -> bytes:
    """Bytes that look like a snapshot as far as the trailer goes."""
    body = hashlib.shake_256(text.encode()).digest(pages * 512)
    return body + hashlib.sha256(body).digest()


def manifest_of(taken: datetime, data: bytes, number: int = 0, **changes: Any) -> Manifest:
    snapshot = f"{taken:%Y%m%dT%H%M%SZ}-{number:08x}"
    sha = hashlib.sha256(data).hexdigest()
    manifest = Manifest(
        id=snapshot,
        kind="scheduled",
        cluster="prod-a",
        cluster_uuid="6f3a9c1e-0000-4000-8000-000000000000",
        etcd_cluster_id="cdf818194e3a8c32",
        members=(),
        source="etcd-02",
        via="stream",
        etcd_version="3.6.14",
        revision_min=1000,
        revision_max=1010,
        raft_term=3,
        raft_index=2000,
        hashkv=None,
        compression="none",
        encryption="none",
        recipients=(),
        db_bytes=len(data),
        db_sha256=sha,
        object=data_key(snapshot, "none", "none"),
        object_bytes=len(data),
        object_sha256=sha,
        proof="read back",
        started=taken.timestamp(),
        finished=(taken + timedelta(seconds=4)).timestamp(),
        held_seconds=3.5,
        tool_version="0.1.0",
        run_id="run-1",
    )
    return replace(manifest, **changes)


def shelve(
    store: Store,
    taken: datetime = NOW,
    number: int = 0,
    *,
    key: SigningKey | None = KEY,
    level: Level | None = None,
    bad: str = "",
    pinned: bool = False,
    encode: Callable[[bytes], bytes] = lambda data: data,
    pages: int = 4,
    data: bytes | None = None,
    **changes: Any,
) -> Manifest:
    """Put a whole snapshot into a store, as a backup does.

    Args:
        key: That signs the manifest; None for an unsigned one.
        level: That a verification came to.
        bad: What a verification found.
        encode: Compression and encryption, to go with ``changes``.
        data: The database; bytes that look like one by default.
    """
    data = database(f"{taken}{number}", pages) if data is None else data
    stored = encode(data)
    manifest = manifest_of(taken, data, number, **changes)
    manifest = replace(
        manifest,
        object=data_key(manifest.id, manifest.compression, manifest.encryption),
        object_bytes=len(stored),
        object_sha256=hashlib.sha256(stored).hexdigest(),
    )
    with store.upload(manifest.object) as upload:
        upload.write(stored)
        upload.commit()
    store.put(manifest_key(manifest.id), sealed(manifest, key))
    if level or bad:
        write_mark(store, verification(manifest, level or "stored", taken + timedelta(hours=1), bad=bad), KEY)
    if pinned:
        write_mark(store, pin(manifest, taken + timedelta(hours=1), "kept for the audit"), KEY)
    return manifest


def sealed(manifest: Manifest, key: SigningKey | None) -> bytes:
    """The manifest as stored."""
    if key is not None:
        return seal(to_json(manifest), key)
    text = seal(to_json(manifest), KEY).decode()
    return (text[: text.index(',\n  "signature"')] + "\n}\n").encode()


def catalog_of(store: Store, trusted: str | None = TRUSTED) -> Catalog:
    return read_catalog(store, "prod-a", trusted)


def only(store: Store, trusted: str | None = TRUSTED) -> CatalogEntry:
    (entry,) = catalog_of(store, trusted).entries
    return entry
