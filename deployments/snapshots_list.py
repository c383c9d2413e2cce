"""``etcd-flows snapshots list``: the catalog, for people and machines. Needs no Prefect."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from deployments.errors import show_error
from deployments.loading import load
from deployments.snapshots_words import copy_json
from tasks.cluster.values import Wrong
from tasks.cluster.values_snapshots import span
from tasks.errors import EtcdFlowsError
from tasks.reporting.human import visible
from tasks.reporting.tables import as_text
from tasks.snapshots.catalog import Damaged
from tasks.snapshots.find import NO_KEY, moment
from tasks.snapshots.library import Library, open_library
from tasks.snapshots.listing import Copies, grouped, snapshots_table, summary


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
    if shown:
        click.echo(as_text(snapshots_table(shown, now)))
    for found in damaged:
        what = found.id or visible(found.key)
        click.echo(click.style(f"{what} in {found.store} can't be used: {visible(found.why)}", fg="red"))
    for catalog in library.catalogs:
        click.echo(summary(catalog, now))
    if any(catalog.trusted is None and catalog.entries for catalog in library.catalogs):
        click.echo(click.style(NO_KEY, fg="yellow"))


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
