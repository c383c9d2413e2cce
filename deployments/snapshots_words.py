"""Words and records that several ``etcd-flows snapshots`` commands share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tasks.reporting.human import age, plural
from tasks.snapshots.catalog import Catalog, CatalogEntry
from tasks.snapshots.manifest import Manifest
from tasks.snapshots.marks import Contents

#: Copies of one snapshot, in the order of the stores.
Copies = tuple[CatalogEntry, ...]


def grouped(catalogs: Iterable[Catalog]) -> list[Copies]:
    """The newest first; what says it is the same snapshot, but is not, stands alone."""
    groups: dict[tuple[str, str], list[CatalogEntry]] = {}
    for catalog in catalogs:
        for entry in catalog.entries:
            groups.setdefault((entry.id, entry.manifest.db_sha256), []).append(entry)
    return [tuple(groups[key]) for key in sorted(groups, key=lambda key: (groups[key][0].taken, key), reverse=True)]


def revision(manifest: Manifest) -> str:
    """The revision in it, or the bounds of it."""
    exact = manifest.revision_min == manifest.revision_max
    return str(manifest.revision_max) if exact else f"{manifest.revision_min}..{manifest.revision_max}"


def proven(copy: CatalogEntry, now: datetime) -> str:
    """How far a copy is proven, and when last."""
    if copy.unsound:
        return "-"
    if copy.verified_at is None:
        return copy.level
    return f"{copy.level}, {age_of(now, datetime.fromtimestamp(copy.verified_at, UTC))} ago"


def age_of(now: datetime, then: datetime) -> str:
    """How long ago."""
    return age((now - then).total_seconds())


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
