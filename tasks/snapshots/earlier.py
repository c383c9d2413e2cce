"""What a run has stored in an earlier life: before its worker went away, and another one took the run up again.

Its report was lost with the worker, its snapshot was not: stored a second time it would only cost room and push older
ones out. Manifests say which run made them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tasks.snapshots.backup import Backup
from tasks.snapshots.catalog import Catalog
from tasks.snapshots.manifest import Manifest
from tasks.snapshots.pipeline import Pumped
from tasks.snapshots.source import Choice

WHY = "found in the stores"


def stored_by(run_id: str, catalogs: Iterable[Catalog], stores: Collection[str]) -> dict[str, Manifest]:
    """The snapshot that a run has put into all stores; the newest, should it have done so twice.

    Args:
        run_id: Of the run.
        catalogs: Of the stores that answered.
        stores: Names of all that have to have it.

    Returns:
        Manifests by store; empty unless every store has it, signed and sound: then there is a backup to be made.
    """
    of_run = {
        catalog.store: {
            entry.id: entry.manifest
            for entry in catalog.entries
            if entry.manifest.run_id == run_id and not entry.unsound
        }
        for catalog in catalogs
    }
    if not stores or any(name not in of_run for name in stores):
        return {}
    everywhere = set.intersection(*(set(of_run[name]) for name in stores))
    if not everywhere:
        return {}
    newest = max(everywhere)  # ids begin with the time
    return {name: of_run[name][newest] for name in stores}


def backup_of(manifests: dict[str, Manifest]) -> Backup:
    """The backup that these manifests tell of; not empty, all of one snapshot."""
    manifest = next(iter(manifests.values()))
    pumped = Pumped(
        db_bytes=manifest.db_bytes,
        db_sha256=manifest.db_sha256,
        trailer_ok=True,
        object_bytes=manifest.object_bytes,
        object_sha256=manifest.object_sha256,
        stored={},
        failed={},
        held_seconds=manifest.held_seconds,
        spooled_bytes=0,
        seconds=manifest.finished - manifest.started,
    )
    return Backup(manifests, {}, Choice(manifest.source, WHY), manifest.via, pumped, earlier=True)
