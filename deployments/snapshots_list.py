"""``etcd-flows snapshots list``: the catalog, for people and machines. Needs no Prefect."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from textwrap import shorten
from typing import Any

import click

from deployments.errors import show_error
from deployments.loading import load
from deployments.snapshots_words import Copies, age_of, copy_json, grouped, proven, revision
from tasks.cluster.values import Wrong
from tasks.cluster.values_snapshots import span
from tasks.errors import EtcdFlowsError
from tasks.reporting.human import plural, size, visible
from tasks.reporting.tables import as_text, table
from tasks.snapshots.catalog import Catalog, Damaged
from tasks.snapshots.find import NO_KEY, moment
from tasks.snapshots.library import Library, open_library

#: Columns for what is wrong with a snapshot; ``show`` tells all of it.
NOTE = 60


def run_list(
    cluster: str, *, as_json: bool, store: str, since: str, before: str, verified: bool, pinned: bool, kind: str | None
) -> int:
    """Show the catalog of all stores; exit code 1 if a store could not be read."""
    now = datetime.now(UTC)
    try:
        spec = load(cluster)
        first, last = _bound(since, now), _bound(before, now)
        with open_library(spec, store) as library:
            library.demand_some()
            shown = [
                copies
                for copies in grouped(library.catalogs)
                if (first is None or copies[0].taken >= first)
                and (last is None or copies[0].taken < last)
                and (not verified or any(copy.verified for copy in copies))
                and (not pinned or any(copy.pinned for copy in copies))
                and (kind is None or copies[0].kind == kind)
            ]
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    damaged = [found for catalog in library.catalogs for found in catalog.damaged]
    if as_json:
        click.echo(json.dumps(_list_json(library, shown, damaged, now), indent=2))
    else:
        _print_list(library, shown, damaged, now)
    for failed in () if as_json else library.failed.values():
        show_error(failed, as_json=False)
    return 1 if library.failed else 0


def _bound(text: str, now: datetime) -> datetime | None:
    """``7d`` means so long ago; anything else is a time."""
    if not text:
        return None
    try:
        return now - timedelta(days=span(text))
    except Wrong:
        return moment(text)


def _print_list(library: Library, shown: list[Copies], damaged: list[Damaged], now: datetime) -> None:
    rows = [_row(copies, now) for copies in shown]
    if rows:
        click.echo(as_text(table(("snapshot", "age", "size", "revision", "kind", "proven", "stores", ""), rows)))
    for found in damaged:
        what = found.id or visible(found.key)
        click.echo(click.style(f"{what} in {found.store} can't be used: {visible(found.why)}", fg="red"))
    for catalog in library.catalogs:
        click.echo(_summary(catalog, now))
    if any(catalog.trusted is None and catalog.entries for catalog in library.catalogs):
        click.echo(click.style(NO_KEY, fg="yellow"))


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


def _summary(catalog: Catalog, now: datetime) -> str:
    """How one store stands, in one line."""
    held = sum(entry.bytes for entries in catalog.objects.values() for entry in entries)
    verified = sum(entry.verified and not entry.unsound for entry in catalog.entries)
    newest = f"the newest is {age_of(now, catalog.newest.taken)} old" if catalog.newest else "no sound backup"
    return (
        f"{catalog.store} ({catalog.where}): {plural(len(catalog.entries), 'snapshot')}, {size(held)}, "
        f"{verified} verified; {newest}"
    )


def _list_json(library: Library, shown: list[Copies], damaged: list[Damaged], now: datetime) -> dict[str, Any]:
    """The list for ``--json``; keys are stable."""
    where = {catalog.store: catalog.where for catalog in library.catalogs}
    return {
        "ok": not library.failed,
        "cluster": library.cluster.name,
        "snapshots": [
            {
                "id": copies[0].id,
                "kind": copies[0].kind,
                "taken": copies[0].taken.isoformat(),
                "age_seconds": round((now - copies[0].taken).total_seconds()),
                "etcd_version": copies[0].manifest.etcd_version,
                "revision_min": copies[0].manifest.revision_min,
                "revision_max": copies[0].manifest.revision_max,
                "db_bytes": copies[0].manifest.db_bytes,
                "stores": [copy_json(copy, where) for copy in copies],
            }
            for copies in shown
        ],
        "damaged": [{**asdict(found), "modified": found.modified.isoformat()} for found in damaged],
        "newest": {catalog.store: catalog.newest.id if catalog.newest else None for catalog in library.catalogs},
        "failed": {name: error.message for name, error in library.failed.items()},
    }
