"""``etcd-flows snapshots verify``: prove snapshots again, and write down what was found. Needs no Prefect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click

from deployments.errors import show_error
from deployments.loading import load
from deployments.meter import Meter
from deployments.snapshots_words import contents_words
from tasks.errors import EtcdFlowsError, InputError
from tasks.reporting.human import duration, plural, size
from tasks.snapshots.age_keys import keys_of
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.find import find
from tasks.snapshots.library import Library, key_at_hand, open_library
from tasks.snapshots.signing import SigningKey
from tasks.snapshots.verify import Verified, opener_for, record, verify

Found = list[tuple[CatalogEntry, Verified]]


def run_verify(
    cluster: str,
    snapshots: Sequence[str],
    *,
    level: Literal["stored", "opened"],
    store: str,
    scratch: Path | None,
    as_json: bool,
) -> int:
    """Verify snapshots in all stores that have them, or in one; exit code 1 if one is bad."""
    found: Found = []
    meter = Meter("reading", quiet=as_json)
    try:
        spec = load(cluster)
        with open_library(spec, store, renew=True) as library:
            library.demand_some()
            copies = _copies(library, snapshots)
            key, unrecorded = _key(library)
            keys = keys_of(spec.snapshots)
            opener = opener_for(spec.release) if level == "opened" else None
            for copy in copies:
                held = library.stores[copy.store]
                one = verify(copy, held, keys, opener=opener, where=scratch, progress=meter)
                meter.end()
                if key is not None:
                    record(copy, held, one, key, datetime.now(UTC))
                found.append((copy, one))
                if not as_json:
                    click.echo(_words(copy, one))
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    finally:
        meter.end()
    bad = [one for _, one in found if one.bad]
    if as_json:
        records = [_json(copy, one) for copy, one in found]
        answer = {"ok": not bad, "recorded": key is not None, "verified": records}
        click.echo(json.dumps({**answer, "failed": {n: e.message for n, e in library.failed.items()}}, indent=2))
    else:
        for failed in library.failed.values():
            show_error(failed, as_json=False)
        if unrecorded:
            click.echo(f"not written down: {unrecorded}", err=True)
        good = len(found) - len(bad)
        click.echo(f"{spec.name}: {plural(good, 'copy') if good == 1 else f'{good} copies'} good, {len(bad)} bad")
    return 1 if bad or library.failed else 0


def _copies(library: Library, snapshots: Sequence[str]) -> list[CatalogEntry]:
    """All copies of what was named, each once."""
    wanted = dict.fromkeys(find(library.catalogs, snapshot, accept="any").id for snapshot in snapshots)
    return [
        entry
        for snapshot in wanted
        for catalog in library.catalogs
        for entry in catalog.entries
        if entry.id == snapshot
    ]


def _key(library: Library) -> tuple[SigningKey | None, str]:
    """What signs the marks, or why there will be none: verifying is worth something all the same."""
    try:
        return key_at_hand(library.cluster), ""
    except InputError as error:
        return None, error.message


def _words(copy: CatalogEntry, found: Verified) -> str:
    where = f"{copy.id} in {copy.store}"
    untrusted = f"\n  but mind: {copy.untrusted}" if copy.untrusted else ""
    if found.bad:
        bad = click.style("BAD", fg="red", bold=True)
        return f"{where}: {bad}: {found.bad}\n  what to do: {found.remedy}{untrusted}"
    took = duration(found.seconds)
    if found.contents is None:
        return f"{where}: good: {size(copy.manifest.object_bytes)} read back, SHA-256 fits ({took}){untrusted}"
    return f"{where}: good: opened, {contents_words(found.contents)} ({took}){untrusted}"


def _json(copy: CatalogEntry, found: Verified) -> dict[str, Any]:
    """One verification for ``--json``; keys are stable."""
    contents = asdict(found.contents) if found.contents else None
    return {
        "snapshot": copy.id,
        "store": copy.store,
        "ok": not found.bad,
        "level": found.level,
        "bad": found.bad,
        "remedy": found.remedy,
        "contents": contents,
        "seconds": round(found.seconds, 3),
        "untrusted": copy.untrusted,
    }
