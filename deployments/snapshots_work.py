"""``etcd-flows snapshots fetch|pin|unpin|key``: work on single snapshots. Needs no Prefect."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from deployments.errors import show_error
from deployments.loading import load
from deployments.meter import Meter
from tasks.errors import EtcdFlowsError, Refused
from tasks.reporting.human import size
from tasks.snapshots.age_keys import keys_of
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.fetch import fetch
from tasks.snapshots.find import find, passed_over
from tasks.snapshots.library import Library, key_at_hand, open_library
from tasks.snapshots.marks import pin, unpin, write_mark
from tasks.snapshots.signing import ensure_signing_key, public_key_text, trusted_key


def run_fetch(
    cluster: str, snapshot: str, destination: Path | None, *, store: str, accept_untrusted: bool, as_json: bool
) -> int:
    """Get one snapshot into a file."""
    meter = Meter("fetching", quiet=as_json)
    try:
        spec = load(cluster)
        with open_library(spec, store) as library:
            library.demand_some()
            entry = find(library.catalogs, snapshot, accept="untrusted" if accept_untrusted else "sound")
            for newer, why in passed_over(library.catalogs, entry) if snapshot == "latest" else ():
                click.echo(f"passed over: {newer.id} in {newer.store}: {why}", err=True)
            target = destination or Path(f"{entry.id}.db")
            target = target / f"{entry.id}.db" if target.is_dir() else target
            fetched = fetch(entry, library.stores[entry.store], keys_of(spec.snapshots), target, meter)
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    finally:
        meter.end()
    if as_json:
        found = {"path": str(fetched.path), "bytes": fetched.bytes, "sha256": fetched.sha256}
        click.echo(json.dumps({"ok": True, "snapshot": entry.id, "store": entry.store, **found}, indent=2))
    else:
        whole = "object, database and etcd's own SHA-256 fit" if fetched.has_trailer else "object and database fit"
        click.echo(f"{entry.id} from {entry.store}: {fetched.path} ({size(fetched.bytes)}; {whole})")
        click.echo(
            "It holds every secret of the cluster in clear: keep it as safe as the members, and remove it after."
        )
    return 0


def run_pin(cluster: str, snapshot: str, reason: str, *, store: str, as_json: bool) -> int:
    """Pin a snapshot in all stores that have it, or in one."""
    try:
        with open_library(load(cluster), store) as library:
            key = key_at_hand(library.cluster)
            copies = _copies(library, snapshot)
            for copy in copies:
                write_mark(library.stores[copy.store], pin(copy.manifest, datetime.now(UTC), reason), key)
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    return _marked(library, copies, "pinned", as_json=as_json)


def run_unpin(cluster: str, snapshot: str, reason: str, *, store: str, as_json: bool) -> int:
    """End all pins of a snapshot in all stores that have it, or in one."""
    try:
        with open_library(load(cluster), store) as library:
            key = key_at_hand(library.cluster)
            copies = [copy for copy in _copies(library, snapshot) if copy.pinned]
            if not copies:
                raise Refused(
                    f"snapshot {snapshot[:60]} is not pinned",
                    state="nothing was changed",
                    remedy="`etcd-flows snapshots list CLUSTER --pinned` shows those that are",
                )
            for copy in copies:
                mark = unpin(copy.manifest, datetime.now(UTC), copy.standing.pins, reason)
                write_mark(library.stores[copy.store], mark, key)
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    return _marked(library, copies, "unpinned", as_json=as_json)


def run_key(cluster: str, *, as_json: bool) -> int:
    """Print the public signing key; the pair is made if backups were never made."""
    try:
        spec = load(cluster)
        known = trusted_key(spec)
        text = known or public_key_text(ensure_signing_key(spec))
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    if as_json:
        click.echo(json.dumps({"ok": True, "cluster": spec.name, "public_key": text}, indent=2))
        return 0
    click.echo(text)
    if known is None:
        click.echo(f"a new signing key was made in {spec.pki.state_dir}: keep that directory safe", err=True)
    return 0


def _copies(library: Library, snapshot: str) -> list[CatalogEntry]:
    """One snapshot wherever it is; all stores have to have answered, since a mark that misses one surprises later."""
    if library.failed:
        raise next(iter(library.failed.values()))
    wanted = find(library.catalogs, snapshot, accept="any").id
    return [entry for catalog in library.catalogs for entry in catalog.entries if entry.id == wanted]


def _marked(library: Library, copies: list[CatalogEntry], what: str, *, as_json: bool) -> int:
    stores = [copy.store for copy in copies]
    if as_json:
        click.echo(json.dumps({"ok": True, "snapshot": copies[0].id, what: stores}, indent=2))
    else:
        click.echo(f"{library.cluster.name}: {copies[0].id} is {what} in {', '.join(stores)}")
    return 0
