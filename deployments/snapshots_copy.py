"""``etcd-flows snapshots copy``: snapshots from one store into another. Needs no Prefect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from deployments.errors import show_error
from deployments.loading import load
from deployments.meter import Meter
from tasks.errors import EtcdFlowsError, InputError
from tasks.reporting.human import plural, size
from tasks.snapshots.catalog import Catalog, CatalogEntry
from tasks.snapshots.copy import Copied, copy, missing
from tasks.snapshots.find import find
from tasks.snapshots.library import Library, chosen, key_at_hand, open_library
from tasks.snapshots.marks import pin, write_mark
from tasks.snapshots.signing import SigningKey


def run_copy(
    cluster: str, snapshots: Sequence[str], *, source: str, target: str, pin_reason: str, as_json: bool
) -> int:
    """Copy the named snapshots, or all sound ones that the target has not."""
    copied: list[Copied] = []
    meter = Meter("copying", quiet=as_json)
    try:
        if source == target:
            raise InputError(
                "--from and --to name the same store",
                state="nothing was touched",
                remedy="name two of the cluster file's stores",
            )
        with open_library(load(cluster)) as library:
            here, there = _catalog(library, source), _catalog(library, target)
            key = _key(library, needed=bool(pin_reason))
            for entry in _wanted(here, there, snapshots):
                done = _one(library, entry, there, key, pin_reason, meter)
                copied.append(done)
                meter.end()
                if not as_json:
                    click.echo(_words(done))
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    finally:
        meter.end()
    if as_json:
        records = [
            {"snapshot": c.snapshot, "bytes": c.bytes, "proof": c.proof, "new": not c.there_before} for c in copied
        ]
        click.echo(json.dumps({"ok": True, "from": source, "to": target, "copied": records}, indent=2))
    else:
        new = [done for done in copied if not done.there_before]
        click.echo(f"{library.cluster.name}: {plural(len(new), 'snapshot')} copied from {source} to {target}")
    return 0


def _one(
    library: Library, entry: CatalogEntry, there: Catalog, key: SigningKey | None, pin_reason: str, meter: Meter
) -> Copied:
    target = library.stores[there.store]
    done = copy(entry, library.stores[entry.store], target, there, key, lambda: datetime.now(UTC), meter)
    if pin_reason and key is not None:
        write_mark(target, pin(entry.manifest, datetime.now(UTC), pin_reason), key)
    return done


def _catalog(library: Library, name: str) -> Catalog:
    chosen(library.stores, name)
    if name in library.failed:
        raise library.failed[name]
    return next(catalog for catalog in library.catalogs if catalog.store == name)


def _key(library: Library, *, needed: bool) -> SigningKey | None:
    try:
        return key_at_hand(library.cluster)
    except InputError:
        if needed:
            raise
        return None


def _wanted(here: Catalog, there: Catalog, snapshots: Sequence[str]) -> list[CatalogEntry]:
    if not snapshots:
        return missing(here, there)
    return [find([here], snapshot, accept="untrusted") for snapshot in snapshots]


def _words(done: Copied) -> str:
    if done.there_before:
        return f"{done.snapshot}: {done.target} has it already"
    return f"{done.snapshot}: {size(done.bytes)} copied and compared ({done.target} proved it by {done.proof})"
