"""The catalog of all stores as a table: for the command line, and for Prefect's artifacts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from textwrap import shorten

from tasks.reporting.human import age, plural, size, visible
from tasks.reporting.tables import Table, table
from tasks.snapshots.catalog import Catalog, CatalogEntry
from tasks.snapshots.manifest import Manifest

#: Columns for what is wrong with a snapshot; ``snapshots show`` tells all of it.
NOTE = 60

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
    return f"{copy.level}, {ago(now, datetime.fromtimestamp(copy.verified_at, UTC))}"


def age_of(now: datetime, then: datetime) -> str:
    """How long ago."""
    return age((now - then).total_seconds())


def ago(now: datetime, then: datetime) -> str:
    """The same in a sentence; clocks go wrong."""
    return f"{age_of(now, then)} ago" if then <= now else age_of(now, then)


def snapshots_table(groups: Sequence[Copies], now: datetime) -> Table:
    """One row a snapshot, in the order given."""
    headings = ("snapshot", "age", "size", "revision", "kind", "proven", "stores", "")
    return table(headings, [_row(copies, now) for copies in groups])


def _row(copies: Copies, now: datetime) -> tuple[str, ...]:
    manifest = copies[0].manifest
    stores = ", ".join(copy.store for copy in copies)
    notes = [
        _each([(copy.store, shorten(visible(copy.unsound), NOTE, placeholder=" ...")) for copy in copies]),
        "pinned" if any(c.pinned for c in copies) else "",
    ]
    return (
        copies[0].id,
        age_of(now, copies[0].taken),
        size(manifest.db_bytes),
        revision(manifest),
        manifest.kind,
        _proven_everywhere(copies, now),
        stores,
        "; ".join(note for note in notes if note),
    )


def _each(values: list[tuple[str, str]]) -> str:
    """One text for all stores, or each store's own where they differ."""
    texts = {text for _, text in values}
    if len(texts) == 1:
        return texts.pop()
    return "; ".join(f"{store}: {text}" for store, text in values if text)


def _proven_everywhere(copies: Copies, now: datetime) -> str:
    """How far, and when last, the copies were proven: of the one that was longest ago where all are alike."""
    if len({(copy.level, copy.unsound) for copy in copies}) > 1:
        return _each([(copy.store, proven(copy, now)) for copy in copies])
    return proven(min(copies, key=lambda copy: copy.verified_at or 0.0), now)


def summary(catalog: Catalog, now: datetime) -> str:
    """How one store stands, in one line."""
    held = sum(entry.bytes for entries in catalog.objects.values() for entry in entries)
    verified = sum(entry.verified and not entry.unsound for entry in catalog.entries)
    newest = "no sound backup"
    if catalog.newest:
        taken = catalog.newest.taken
        newest = f"the newest is {'from the future' if taken > now else f'{age_of(now, taken)} old'}"
    return (
        f"{catalog.store} ({catalog.where}): {plural(len(catalog.entries), 'snapshot')}, {size(held)}, "
        f"{verified} verified; {newest}"
    )
