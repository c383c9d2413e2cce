"""restore-drill: restore the newest stored snapshot in a scratch place, prove it, say how long that took.

The runbook that this replaces: once a year, if at all, somebody tries whether a backup can be restored. It starts from
the store and the key alone; the cluster's hosts are neither needed nor touched.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from flows.drill_results import DrillResult, Past
from flows.ending import ends_in_state
from flows.events import tell
from flows.fan_out import all_hosts_at_once
from flows.prepare import load
from flows.publishing import publish_metrics
from flows.report import publish_picture, reporting
from flows.run_names import named
from tasks.cluster.spec import Cluster, DrillPlace
from tasks.errors import EtcdFlowsError, InputError
from tasks.monitoring.own_facts import drill_update
from tasks.reporting.human import size
from tasks.reporting.progress import emit
from tasks.snapshots.age_keys import keys_of
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.drill import Drilled, drill, record
from tasks.snapshots.find import find
from tasks.snapshots.library import Library, key_at_hand, open_library


@flow(
    name="restore-drill",
    flow_run_name=named("drill a restore of {cluster} from {snapshot}"),
    task_runner=all_hosts_at_once(),
    persist_result=False,
)
@ends_in_state
def restore_drill(
    cluster: str, snapshot: str = "latest", store: str = "", scratch: str = "", picture: str = "", here: bool = False
) -> DrillResult:
    """Restore a stored snapshot in a directory that is gone afterwards; write down what was found.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
        snapshot: ``latest``, ``before 2026-11-24T14:30``, an id or the beginning of one.
        store: Only from this store; by default from the first that has it.
        scratch: Directory, on the machine where the flow runs, with room for the database, twice; the system's for
            temporary files if empty.
        picture: File, on the machine where the flow runs, that gets the picture of all drills (SVG).
        here: Where the flow runs, even if the cluster file names another machine for drills.
    """
    with reporting():
        spec = load(cluster)
        try:
            with open_library(spec, store) as library:
                library.demand_some()
                local = Path(scratch) if scratch else None
                result = _drill(spec, library, snapshot, local if here or local else spec.drill_place)
        except EtcdFlowsError as error:
            tell("drill.failed", spec.name, {"why": error.message})
            publish_metrics(spec, drill_update(datetime.now(UTC), None))
            raise
        outcome = drill_update(result.at, None if result.drilled.bad else result.drilled.seconds)
        result = replace(result, untold=publish_metrics(spec, outcome))
        svg = result.picture()
        publish_picture("drills", spec.name, svg, result.drills(), f"Restore drills of {spec.name}")
        if picture:
            _draw_into(Path(picture), svg)
        payload = {"snapshot": result.drilled.snapshot, "seconds": round(result.drilled.seconds, 1)}
        tell("drill.failed" if result.drilled.bad else "drill.completed", spec.name, payload)
        return result


def _drill(spec: Cluster, library: Library, snapshot: str, where: Path | DrillPlace | None) -> DrillResult:
    entry = find(library.catalogs, snapshot, accept="untrusted")
    place = f" on {where.host.name}" if isinstance(where, DrillPlace) else ""
    emit("phase", f"restore {entry.id} from {entry.store} ({size(entry.manifest.db_bytes)}){place}")
    store = library.stores[entry.store]
    drilled = drill(
        entry,
        store,
        keys_of(spec.snapshots),
        spec.release,
        where=where,
        tell=lambda name, seconds: emit("done", name, seconds=seconds),
    )
    return DrillResult(
        spec.name, entry, drilled, _write_down(spec, library, entry, drilled), _past(library), spec.rto_seconds
    )


def _draw_into(file: Path, svg: str) -> None:
    try:
        file.write_text(svg)
    except OSError as error:  # the drill is worth as much without it
        emit("warning", f"the picture is not in {file}: {error.strerror}")


def _write_down(spec: Cluster, library: Library, entry: CatalogEntry, drilled: Drilled) -> str:
    """Sign what was found; where the key that signs is not at hand, why: the drill is worth something all the same."""
    try:
        record(entry, library.stores[entry.store], drilled, key_at_hand(spec), datetime.now(UTC))
    except InputError as error:
        emit("warning", f"not written down: {error.message}")
        return error.message
    return ""


def _past(library: Library) -> tuple[Past, ...]:
    """All drills that are on record, the newest first."""
    found = {
        seen.mark.id: Past(datetime.fromtimestamp(seen.mark.at, UTC), entry.id, entry.manifest.db_bytes, seen.mark)
        for catalog in library.catalogs
        for entry in catalog.entries
        for seen in entry.marks
        if seen.mark and not seen.ignored and seen.mark.level == "restored"
    }
    return tuple(sorted(found.values(), key=lambda past: past.at, reverse=True))
