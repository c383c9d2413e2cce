"""verify-snapshots: open stored snapshots that nobody has opened yet, the newest first.

A backup is proven by its store's checksum when it is made (level ``stored``); whether the database in it opens shows
only when it is read back (level ``opened``), which retention counts as verified (rule 16). On its own schedule, so that
a backup takes no longer than it must, with bounds, so that no run goes on into the next.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.ending import ends_in_state
from flows.events import tell
from flows.fan_out import all_hosts_at_once
from flows.prepare import load
from flows.report import publish_table, reporting
from flows.run_names import named
from flows.verify_results import Look, VerifyResult
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, LockHeld, StoreError, StoreMissing
from tasks.reporting.human import size
from tasks.reporting.markdown import narrow
from tasks.reporting.progress import emit
from tasks.snapshots.age_keys import Keys, keys_of
from tasks.snapshots.alone import alone
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.due import Due, due
from tasks.snapshots.lean import share_one_heap
from tasks.snapshots.library import Library, key_at_hand, open_library
from tasks.snapshots.manifest import manifest_key
from tasks.snapshots.signing import SigningKey
from tasks.snapshots.stores.base import Store
from tasks.snapshots.verify import Opener, opener_for, record, verify


@flow(
    name="verify-snapshots",
    flow_run_name=named("open stored snapshots of {cluster}"),
    task_runner=all_hosts_at_once(),
    persist_result=False,
)
@ends_in_state
def verify_snapshots(
    cluster: str,
    store: str = "",
    at_most: Annotated[int, Field(ge=1)] = 10,
    minutes: Annotated[int, Field(ge=1)] = 60,
    scratch: str = "",
    plan_only: bool = False,
) -> VerifyResult:
    """Open stored snapshots that nobody has opened yet, the newest first, and write down what was found.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
        store: Only this store; all of the cluster file if empty.
        at_most: So many copies are opened; the others are left for the next run.
        minutes: After so many minutes no other copy is begun.
        scratch: Directory, on the machine where the flow runs, with room for the database, twice; the system's for
            temporary files if empty.
        plan_only: Only show what would be opened.
    """
    share_one_heap()
    with reporting():
        spec = load(cluster)
        bounds = Bounds(at_most, time.monotonic() + 60 * minutes, Path(scratch) if scratch else None)
        try:
            result = _verify(spec, store, bounds, plan_only)
        except LockHeld:
            raise
        except EtcdFlowsError as error:
            if not plan_only:
                tell("verification.failed", spec.name, {"why": error.message})
            raise
        publish_table("verification", spec.name, narrow(result.table()), f"Opened snapshots of {spec.name}")
        if not plan_only:
            _tell(result)
        return result


@dataclass(frozen=True)
class Bounds:
    """What one run may take.

    Args:
        copies: At most.
        until: Monotonic time after which no other copy is begun.
        scratch: Directory with room for the database, twice; None for the system's.
    """

    copies: int
    until: float
    scratch: Path | None


def _verify(spec: Cluster, only: str, bounds: Bounds, plan_only: bool) -> VerifyResult:
    with alone(spec.pki.state_dir, "verify-snapshots"), open_library(spec, only, renew=not plan_only) as library:
        library.demand_some()
        keys = keys_of(spec.snapshots)
        todo = due(library.catalogs, keys, bounds.copies)
        todo.demand_a_key()
        if plan_only or not any(catalog.entries for catalog in library.catalogs):
            return VerifyResult(spec.name, todo, (), not plan_only, library.failed)
        # Without the key no mark could be signed, and no manifest could be told from a forged one.
        return _open_all(library, todo, Tools(keys, key_at_hand(spec), opener_for(spec.release)), bounds)


@dataclass(frozen=True)
class Tools:
    """What opens a snapshot, and what signs that it was."""

    keys: Keys | None
    key: SigningKey
    opener: Opener


def _open_all(library: Library, todo: Due, tools: Tools, bounds: Bounds) -> VerifyResult:
    """Open what was chosen, one copy after the other; a store that fails is left alone from then on."""
    began = time.monotonic()
    failed: dict[str, EtcdFlowsError] = dict(library.failed)
    looks: list[Look] = []
    for entry in todo.chosen:
        if entry.store in failed:
            continue
        if time.monotonic() > bounds.until:
            emit("warning", "time is up: what is left is for the next run")
            break
        emit("phase", f"open {entry.id} in {entry.store} ({size(entry.manifest.db_bytes)})")
        try:
            look = _open(library.stores[entry.store], entry, tools, bounds.scratch)
        except StoreError as error:
            failed[entry.store] = error
            emit("failed", f"{entry.store}: {error.message}")
            continue
        looks.append(look)
        emit("failed" if look.wrong else "done", f"{entry.store}: {look.words}")
    return VerifyResult(library.cluster.name, todo, tuple(looks), True, failed, time.monotonic() - began)


def _open(store: Store, entry: CatalogEntry, tools: Tools, scratch: Path | None) -> Look:
    """Open one copy, and sign what was found.

    Raises:
        StoreError: The store failed.
    """
    try:
        found = verify(entry, store, tools.keys, opener=tools.opener, where=scratch)
        record(entry, store, found, tools.key, datetime.now(UTC))
    except StoreMissing as error:
        # Retention may have removed it since it was listed.
        return Look(entry, error=error if store.head(manifest_key(entry.id)) else None)
    except StoreError:
        raise
    except EtcdFlowsError as error:
        return Look(entry, error=error)
    return Look(entry, found)


def _tell(result: VerifyResult) -> None:
    """Let those know who listen for events."""
    payload = {
        "opened": [f"{look.entry.id} in {look.entry.store}" for look in result.looks if not look.wrong],
        "wrong": [f"{look.entry.id} in {look.entry.store}: {look.words}" for look in result.looks if look.wrong],
        "failed": {name: error.message for name, error in result.failed.items()},
        "left": result.left,
    }
    tell("verification.failed" if result.exit_code else "verification.completed", result.cluster, payload)
