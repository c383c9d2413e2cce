"""What ``snapshots browse`` and ``snapshots diff`` share: shorter tables, a snapshot opened by the name people use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from deployments.loading import load
from deployments.meter import Meter
from tasks.keys.keyspace import Keyspace
from tasks.keys.live import live
from tasks.keys.opening import opened
from tasks.snapshots.find import find, passed_over
from tasks.snapshots.library import Library, open_library

#: Rows of a table on the terminal; --json has all.
_ROWS = 40


def shorter(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The first rows, and how many more there are."""
    if len(rows) <= _ROWS:
        return list(rows)
    more = (f"... and {len(rows) - _ROWS} more (--json shows all)", *("" for _ in rows[0][1:]))
    return [*rows[:_ROWS], more]


@dataclass(frozen=True)
class Where:
    """Whose snapshots are meant, and how they are come by.

    Args:
        cluster: As the operator names it.
        store: Only this store; all of the cluster file if empty.
        scratch: Directory with room for the database, twice; None for the system's.
        accept_untrusted: Take a snapshot that no trusted key signed, too.
    """

    cluster: str
    store: str
    scratch: Path | None
    accept_untrusted: bool


@contextmanager
def key_spaces(where: Where, *wanted: str, quiet: bool) -> Iterator[list[Keyspace]]:
    """The keys of snapshots, each served by a member of its own; ``now`` are those of the running cluster.

    Args:
        wanted: Snapshots by the names that people use.
        quiet: Do not show how far the fetching is.

    Raises:
        EtcdFlowsError: One can't be had or opened.
    """
    spec, meter = load(where.cluster), Meter("fetching", quiet=quiet)
    with ExitStack() as stack:
        stack.callback(meter.end)
        library = stack.enter_context(open_library(spec, where.store))
        yield [
            stack.enter_context(live(spec)).keyspace()
            if one == "now"
            else stack.enter_context(_opened(library, one, where, meter))
            for one in wanted
        ]


@contextmanager
def _opened(library: Library, wanted: str, where: Where, meter: Meter) -> Iterator[Keyspace]:
    library.demand_some()
    entry = find(library.catalogs, wanted, accept="untrusted" if where.accept_untrusted else "sound")
    for newer, why in passed_over(library.catalogs, entry) if wanted == "latest" else ():
        click.echo(f"passed over: {newer.id} in {newer.store}: {why}", err=True)
    with opened(library.cluster, entry, library.stores[entry.store], where.scratch, meter) as keyspace:
        meter.end()
        yield keyspace
