"""``etcd-flows restores``: what restores there were, as the stores know them. Needs no Prefect and no host."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from deployments.errors import error_json, show_error
from deployments.loading import load
from tasks.errors import EtcdFlowsError
from tasks.reporting.human import duration, visible
from tasks.reporting.tables import as_text, table
from tasks.restore.notes import Noted, merged, read_notes
from tasks.snapshots.library import chosen
from tasks.snapshots.signing import trusted_key
from tasks.snapshots.stores.open import open_stores

_HEADINGS = ("begun (UTC)", "restore", "snapshot", "ended", "no writes for", "by", "reason")


def run_list(cluster: str, *, as_json: bool) -> int:
    """Show all restores; exit code 1 if a store could not be asked."""
    try:
        spec = load(cluster)
        trusted = trusted_key(spec)
        stores = chosen(open_stores(spec), "")
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    found: list[tuple[Noted, ...]] = []
    errors: list[EtcdFlowsError] = []
    for store in stores.values():
        try:
            found.append(read_notes(store, spec.name, trusted))
        except EtcdFlowsError as error:
            errors.append(error)
        finally:
            store.close()
    noted = merged(found)
    if as_json:
        failed = [error_json(error) for error in errors]
        records = [_record(one) for one in noted]
        click.echo(
            json.dumps({"ok": not errors, "cluster": spec.name, "restores": records, "errors": failed}, indent=2)
        )
        return 1 if errors else 0
    for failure in errors:
        show_error(failure, as_json=False)
    if noted:
        click.echo(as_text(table(_HEADINGS, [_row(one) for one in noted])))
    elif not errors:
        click.echo(f"{spec.name}: no restore is on record")
    return 1 if errors else 0


def _row(one: Noted) -> tuple[str, ...]:
    record, end = one.record, one.end
    by = record.requested_by or (end.by if end else "")
    waited = duration(end.writable) if end and end.writable is not None else "-"
    ended = f"{one.state}, {datetime.fromtimestamp(end.at, UTC):%Y-%m-%d %H:%M}" if end else one.state
    if end and (end.requested_by or end.reason):
        ended += visible(f" ({': '.join(said for said in (end.requested_by, end.reason) if said)})")
    began = f"{datetime.fromtimestamp(record.began, UTC):%Y-%m-%d %H:%M}"
    return (began, record.id[:8], visible(record.snapshot), ended, waited, visible(by), visible(record.reason))


def _record(one: Noted) -> dict[str, Any]:
    """One restore for ``--json``; keys are stable."""
    record, end = one.record, one.end
    return {
        "id": record.id,
        "began": record.began,
        "snapshot": record.snapshot,
        "sha256": record.sha256,
        "revision": record.revision,
        "bump": record.bump,
        "members": [name for name, _ in record.members],
        "dead": list(record.dead),
        "requested_by": record.requested_by,
        "reason": record.reason,
        "state": one.state,
        "ended": end.at if end else None,
        "ended_by": end.by if end else "",
        "taken_back_for": end.requested_by if end else "",
        "taken_back_reason": end.reason if end else "",
        "seconds_until_writable": end.writable if end else None,
        "phases": [{"phase": name, "seconds": seconds} for name, seconds in end.phases] if end else [],
    }
