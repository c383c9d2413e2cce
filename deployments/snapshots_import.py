"""``etcd-flows snapshots import``: a snapshot that others made, into the stores. Needs no Prefect."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from deployments.errors import show_error
from deployments.loading import load
from deployments.meter import Meter
from deployments.snapshots_words import contents_words
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, InputError
from tasks.etcd.worker_tools import release_for, worker_tools
from tasks.reporting.human import size
from tasks.snapshots.age_keys import locks_of
from tasks.snapshots.foreign import Foreign, read_foreign
from tasks.snapshots.importing import Imported, Plain, import_plain
from tasks.snapshots.keep import Into, Order
from tasks.snapshots.library import chosen
from tasks.snapshots.marks import who
from tasks.snapshots.opened import Opened, open_snapshot
from tasks.snapshots.pipeline import Progress
from tasks.snapshots.scratch import scratch
from tasks.snapshots.signing import ensure_signing_key
from tasks.snapshots.spool import spool_of
from tasks.snapshots.stores.open import open_stores
from tasks.snapshots.temporary import ROOM


def run_import(
    cluster: str, file: Path, *, store: str, reason: str, etcd_version: str, where: Path | None, as_json: bool
) -> int:
    """Import one file into all stores, or one; exit code 1 if a store did not take it."""
    meter = Meter("storing", quiet=as_json)
    try:
        spec = load(cluster)
        with _into(spec, store, meter) as into, scratch(where, needed=3 * _size(file) + ROOM) as place:
            foreign, plain = read_foreign(file, place)
            opened = _open(spec, plain, place, etcd_version)
            order = Order(spec, "", "imported", str(uuid.uuid4()), who(), reason)
            noted = replace(plain, notes=(*plain.notes, *_disagreement(foreign, opened)))
            done = import_plain(order, into, noted, lambda _: opened)
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    finally:
        meter.end()
    _tell(spec, done, as_json=as_json)
    return 1 if done.failed else 0


@contextmanager
def _into(spec: Cluster, store: str, meter: Meter) -> Iterator[Into]:
    stores = chosen(open_stores(spec), store)

    def progress(seen: Progress) -> None:
        meter(seen.captured, seen.expected or seen.captured)

    try:
        yield Into(stores, locks_of(spec.snapshots), ensure_signing_key(spec), spool_of(spec.snapshots), progress)
    finally:
        for opened in stores.values():
            opened.close()


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise InputError(
            f"{file} can't be read: {error.strerror}",
            state="nothing was imported",
            remedy="correct the path or the file's permissions",
        ) from error


def _disagreement(foreign: Foreign, opened: Opened) -> tuple[str, ...]:
    """What the name of a file says that is not so."""
    if foreign.revision in (None, opened.revision):
        return ()
    return (f"but it holds revision {opened.revision}",)


def _open(spec: Cluster, plain: Plain, place: Path, etcd_version: str) -> Opened:
    tools = worker_tools(release_for(spec.release, etcd_version))
    return open_snapshot(plain.path, tools, place, skip_hash_check=plain.via == "raw")


def _tell(spec: Cluster, done: Imported, *, as_json: bool) -> None:
    manifest = done.manifest
    if as_json:
        found = {"snapshot": manifest.id, "stores": list(done.manifests), "revision": manifest.revision_max}
        failed = {name: error.message for name, error in done.failed.items()}
        more = {"db_bytes": manifest.db_bytes, "notes": list(manifest.notes), "failed": failed}
        click.echo(json.dumps({"ok": not failed, **found, **more}, indent=2))
        return
    click.echo(
        f"{spec.name}: {manifest.source} is snapshot {manifest.id} in {', '.join(done.manifests)} "
        f"({size(manifest.db_bytes)}; opened, {contents_words(done.contents)})"
    )
    for note in manifest.notes:
        click.echo(f"  {note}")
    click.echo("  it is marked as imported: found by its id only, never by `latest`, and never removed by itself")
    for error in done.failed.values():
        show_error(error, as_json=False)
