"""What ``snapshots browse`` and ``snapshots diff`` share: shorter tables, a snapshot opened by the name people use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from deployments.meter import Meter
from tasks.keys.keyspace import Keyspace
from tasks.keys.opening import opened
from tasks.snapshots.find import find, passed_over
from tasks.snapshots.library import Library

#: Rows of a table on the terminal; --json has all.
_ROWS = 40


def shorter(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The first rows, and how many more there are."""
    if len(rows) <= _ROWS:
        return list(rows)
    more = (f"... and {len(rows) - _ROWS} more (--json shows all)", *("" for _ in rows[0][1:]))
    return [*rows[:_ROWS], more]


@contextmanager
def opened_snapshot(
    library: Library, wanted: str, scratch: Path | None, meter: Meter, *, accept_untrusted: bool
) -> Iterator[Keyspace]:
    """The keys of the snapshot that is meant."""
    library.demand_some()
    entry = find(library.catalogs, wanted, accept="untrusted" if accept_untrusted else "sound")
    for newer, why in passed_over(library.catalogs, entry) if wanted == "latest" else ():
        click.echo(f"passed over: {newer.id} in {newer.store}: {why}", err=True)
    with opened(library.cluster, entry, library.stores[entry.store], scratch, meter) as keyspace:
        meter.end()
        yield keyspace
