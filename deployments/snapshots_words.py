"""Words and records that several ``etcd-flows snapshots`` commands share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tasks.reporting.human import plural
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.marks import Contents


def contents_words(contents: Contents) -> str:
    """What a database said of itself."""
    keys = "keys not counted" if contents.keys is None else plural(contents.keys, "key")
    return f"revision {contents.revision}, {keys}, hash {contents.hash}"


def copy_json(copy: CatalogEntry, where: Mapping[str, str]) -> dict[str, Any]:
    """One copy for ``--json``; keys are stable.

    Args:
        where: Of the stores, by name.
    """
    at = copy.verified_at
    return {
        "store": copy.store,
        "where": where[copy.store],
        "object": copy.manifest.object,
        "object_bytes": copy.manifest.object_bytes,
        "level": copy.level,
        "verified": copy.verified,
        "verified_at": None if at is None else datetime.fromtimestamp(at, UTC).isoformat(),
        "pinned": copy.pinned,
        "trust": copy.trust,
        "signer": copy.signer,
        "unsound": copy.unsound,
        "bundle": copy.bundle,
    }
