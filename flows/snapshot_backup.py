"""snapshot-backup: capture, prove, store, account for, and remove what is no longer wanted.

The runbook that this replaces: `etcdctl snapshot save` on some member, copy the file somewhere, hope.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from prefect import flow
from prefect.runtime import flow_run

from flows.backup_report import ProgressReport, publish_backup, publish_backup_plan
from flows.backup_results import BackupPlan, BackupResult
from flows.capture_lock import capture_lock
from flows.ending import ends_in_state
from flows.events import tell
from flows.fan_out import all_hosts_at_once
from flows.opening import open_in_stores
from flows.prepare import load, operator_files
from flows.prune_snapshots import prune_stores
from flows.publishing import publish_metrics
from flows.report import reporting
from flows.run_names import named
from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError, LockHeld
from tasks.etcd.identity import common_uuid, identity_script
from tasks.hosts.locking import HeldLock, on_hosts
from tasks.hosts.shell import open_shell
from tasks.monitoring.own_facts import backup_update
from tasks.pki.client import ClientFiles
from tasks.reporting.progress import emit
from tasks.snapshots.age_keys import locks_of
from tasks.snapshots.backup import Backup, Means
from tasks.snapshots.earlier import backup_of, stored_by
from tasks.snapshots.keep import Order
from tasks.snapshots.lean import share_one_heap
from tasks.snapshots.library import chosen, read_library
from tasks.snapshots.manifest import Kind
from tasks.snapshots.signing import ensure_signing_key, trusted_key
from tasks.snapshots.source import Sources
from tasks.snapshots.spool import spool_of
from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.open import open_stores
from tasks.snapshots.tasks import ask_sources, capture_snapshot


@flow(
    name="snapshot-backup",
    flow_run_name=named("back up {cluster}"),
    task_runner=all_hosts_at_once(),
    persist_result=False,
)
@ends_in_state
def snapshot_backup(
    cluster: str,
    kind: Literal["manual", "scheduled"] = "manual",
    requested_by: str = "",
    reason: str = "",
    plan_only: bool = False,
) -> BackupResult:
    """Take a snapshot of a running cluster, prove it, and put it into all stores of the cluster file.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
        kind: Whether a schedule or a person asks for it; both are kept alike.
        requested_by: Who asks for it, as claimed; kept in the manifest.
        reason: Why, as claimed; kept in the manifest.
        plan_only: Only show what would be done; nothing is captured, stored or removed.
    """
    share_one_heap()
    with reporting():
        spec = load(cluster)
        stores = chosen(open_stores(spec), "")
        try:
            return _planned(spec, stores, kind, requested_by, reason, plan_only)
        finally:
            for store in stores.values():
                store.close()


def _planned(
    spec: Cluster, stores: Mapping[str, Store], kind: Kind, requested_by: str, reason: str, plan_only: bool
) -> BackupResult:
    """Look, tell what will be done, do it, tell how it ended, to people and to whoever listens for events."""
    began = time.monotonic()
    try:
        emit("phase", "ask the members")
        files = operator_files(spec)
        plan = BackupPlan(spec, ask_sources(spec, files), {name: store.where for name, store in stores.items()})
        publish_backup_plan(plan)
        if plan_only:
            return BackupResult(plan)
        with capture_lock(spec, "snapshot-backup") as lock:
            order = Order(spec, _uuid(spec, lock), kind, str(flow_run.id or uuid.uuid4()), requested_by, reason)
            earlier = _earlier(order, stores)
            if earlier is not None:
                began = time.monotonic() - earlier.pumped.seconds
            backup = earlier or capture(order, stores, files, plan.sources)
            result = _afterwards(plan, stores, backup, began)
    except LockHeld as error:
        tell("snapshot.skipped", spec.name, {"why": error.message})
        raise
    except EtcdFlowsError as error:
        if not plan_only:
            tell("snapshot.failed", spec.name, {"why": error.message, "failed": sorted(stores)})
            publish_metrics(spec, backup_update(datetime.now(UTC), None), stores=stores)
        raise
    outcome = backup_update(datetime.now(UTC), None if result.exit_code else result.seconds)
    result = replace(result, untold=publish_metrics(spec, outcome, stores=stores))
    publish_backup(result)
    _tell(result, backup)
    return result


def _earlier(order: Order, stores: Mapping[str, Store]) -> Backup | None:
    """What this very run has put into all stores before its worker went away (:mod:`deployments.lost_runs`)."""
    if (flow_run.run_count or 0) <= 1:
        return None
    emit("phase", "this run was taken up again: look for what it has stored before")
    library = read_library(order.cluster, stores, trusted_key(order.cluster))
    found = stored_by(order.run_id, library.catalogs, stores)
    if not found:
        emit("info", "no snapshot of this run is in every store: it is made now")
        return None
    backup = backup_of(found)
    emit("done", f"snapshot {backup.manifest.id} is in {', '.join(found)} already")
    return backup


def capture(order: Order, stores: Mapping[str, Store], files: ClientFiles, sources: Sources) -> Backup:
    """Capture into all stores; within a flow run that holds the lock."""
    spec = order.cluster
    emit("phase", f"capture into {', '.join(stores)}")
    progress, had_key = ProgressReport(spec.name), trusted_key(spec) is not None
    means = Means(
        stores=stores,
        files=files,
        locks=locks_of(spec.snapshots),
        key=ensure_signing_key(spec),
        spool=spool_of(spec.snapshots),
        progress=progress,
        tell=lambda text: emit("warning", text),
    )
    if not had_key:
        emit(
            "warning",
            f"a new key that signs snapshots was made in {spec.pki.state_dir}: those that another machine has made are "
            "not trusted here, nor these there; if there are such, bring that machine's state directory here",
        )
    backup = capture_snapshot(order, means, sources)
    progress.done()
    emit("done", f"snapshot {backup.manifest.id} is in {', '.join(backup.manifests)}", seconds=backup.pumped.seconds)
    return backup


def _afterwards(plan: BackupPlan, stores: Mapping[str, Store], backup: Backup, began: float) -> BackupResult:
    """Open what was stored, if the cluster file says so; then remove what no rule keeps. Neither undoes the backup."""
    spec, wrong = plan.cluster, []
    holding = {name: stores[name] for name in backup.manifests}
    level = "stored"
    if spec.snapshots.verify == "opened":
        emit("phase", "open what was stored")
        failures = open_in_stores(spec, holding, backup.manifest.id)
        wrong += [f"{name}: it could not be opened: {error}" for name, error in failures.items()]
        level = "stored" if failures else "opened"
    pruned = prune_stores(spec, holding)
    wrong += [f"{name}: old snapshots were not removed: {error}" for name, error in pruned.failed.items()]
    return BackupResult(
        plan,
        backup,
        tuple(wrong),
        {name: tuple(ids) for name, ids in pruned.removed.items()},
        level,
        time.monotonic() - began,
    )


def _tell(result: BackupResult, backup: Backup) -> None:
    manifest = backup.manifest
    payload = {
        "snapshot": manifest.id,
        "stores": sorted(backup.manifests),
        "failed": sorted(backup.failed),
        "wrong": list(result.wrong),
        "revision": manifest.revision_max,
        "bytes": manifest.db_bytes,
        "seconds": round(result.seconds, 1),
    }
    tell("snapshot.failed" if result.exit_code else "snapshot.completed", manifest.cluster, payload)


def _uuid(spec: Cluster, lock: HeldLock | None) -> str:
    """The cluster's UUID, as the hosts that can be reached tell.

    Raises:
        Refused: One of them belongs to another cluster.
    """

    def told(host: Host) -> str:
        with open_shell(host) as shell:
            return shell.run(identity_script(host), what="reading the identity").text

    contents, _ = on_hosts(lock.hosts if lock else (), told)
    return common_uuid(spec, contents)
