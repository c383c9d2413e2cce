"""prune-snapshots: remove the snapshots that no rule of the cluster file's retention keeps.

snapshot-backup does the same at its end; alone it is for stores that were not reached then, for a look at what would
go (``--plan``), and to remove single snapshots by name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from prefect import flow
from prefect.futures import PrefectFuture

from flows.ending import ends_in_state
from flows.fan_out import all_hosts_at_once, gather
from flows.prepare import load
from flows.prune_results import ROWS, PruneResult, decisions_table
from flows.publishing import publish_metrics
from flows.refusing import refuse
from flows.report import publish_plan, publish_table, reporting
from flows.run_names import named
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, InputError, Refused
from tasks.plan import Plan
from tasks.reporting.human import plural
from tasks.reporting.markdown import narrow
from tasks.reporting.progress import emit
from tasks.snapshots.library import chosen
from tasks.snapshots.listing import grouped, snapshots_table, summary
from tasks.snapshots.prune import Review, check_named, plan_prune
from tasks.snapshots.signing import trusted_key
from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.open import open_stores
from tasks.snapshots.tasks import Shelf, prune_store, read_store, review_store, sweep_store

T = TypeVar("T")


@flow(
    name="prune-snapshots",
    flow_run_name=named("remove old snapshots of {cluster}"),
    task_runner=all_hosts_at_once(),
    persist_result=False,
)
@ends_in_state
def prune_snapshots(
    cluster: str, store: str = "", remove: list[str] | None = None, plan_only: bool = False
) -> PruneResult:
    """Remove snapshots that no retention rule keeps; never the newest, the last verified, or a pinned one.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
        store: Only this store; all of the cluster file if empty.
        remove: Ids of snapshots to remove in any case: unsound or imported ones, say, which no rule removes.
        plan_only: Only show what would go.
    """
    with reporting():
        spec = load(cluster)
        stores = open_stores(spec)
        try:
            result = prune_stores(spec, chosen(stores, store), named=tuple(remove or ()), plan_only=plan_only)
            if not plan_only:
                publish_metrics(spec, stores=stores)
            return result
        finally:
            for opened in stores.values():
                opened.close()


def prune_stores(
    spec: Cluster, stores: Mapping[str, Store], *, named: Collection[str] = (), plan_only: bool = False
) -> PruneResult:
    """Look at stores, plan, and carry the plan out; within a flow run.

    A store that fails does not keep the others from being pruned; it is told in the result.

    Args:
        stores: By name.
        named: Ids that a person wants removed.

    Raises:
        InputError, Refused: A named snapshot is not there, or must stay; nothing was removed.
    """
    shelves = {name: Shelf(store) for name, store in stores.items()}
    reviews, failed = _look(spec, shelves, named, renew=not plan_only)
    plan = plan_prune(spec.name, reviews)
    for note in plan.notes:
        emit("info", note)
    publish_plan(plan, "store")
    for review in reviews:
        publish_table(
            f"retention-{review.store}", spec.name, narrow(decisions_table(review)), f"Retention in {review.store}"
        )
    if plan_only:
        _publish_catalog(spec.name, reviews, {})
        return PruneResult(plan, tuple(reviews), applied=False, failed=failed)
    removed = _carry_out(plan, shelves, failed)
    _publish_catalog(spec.name, reviews, removed)
    alive = [name for name in shelves if name not in failed]
    swept, errors = gather({name: sweep_store.submit(name, shelves[name]) for name in alive})
    for error in errors:
        emit("warning", f"uploads that were cut off could not be swept: {error.message}")
    return PruneResult(plan, tuple(reviews), True, removed, swept, failed)


def _publish_catalog(cluster: str, reviews: Sequence[Review], removed: Mapping[str, Collection[str]]) -> None:
    """Keep what the stores hold now as an artifact of the run."""
    catalogs = [review.catalog.without(removed.get(review.store, ())) for review in reviews]
    now, groups = datetime.now(UTC), grouped(catalogs)
    shown = narrow(snapshots_table(groups[:ROWS], now), "snapshot", "age", "size", "revision", "proven", "stores", "")
    older = [f"and {len(groups) - ROWS} older"] if len(groups) > ROWS else []
    notes = [*older, *(summary(catalog, now) for catalog in catalogs)]
    publish_table("snapshots", cluster, shown, f"Snapshots of {cluster}", notes)


def _look(
    spec: Cluster, shelves: Mapping[str, Shelf], named: Collection[str], *, renew: bool
) -> tuple[list[Review], dict[str, EtcdFlowsError]]:
    """Read and judge all stores; those that fail are told by name."""
    trusted = trusted_key(spec)
    now = datetime.now(UTC)
    emit("phase", "look at the stores")
    catalogs, failed = _each(
        {name: read_store.submit(name, shelf, spec, trusted, renew) for name, shelf in shelves.items()}
    )
    if named:
        check_named(catalogs.values(), named)
    reviews, refused = _each(
        {
            name: review_store.submit(catalog, shelves[name], spec.snapshots.retention, now, named)
            for name, catalog in catalogs.items()
        }
    )
    failed.update(refused)
    refuse([error for error in failed.values() if isinstance(error, (Refused, InputError))])
    for name, error in failed.items():
        emit("warning", f"{name}: {error.message}")
    return list(reviews.values()), failed


def _carry_out(
    plan: Plan, shelves: Mapping[str, Shelf], failed: dict[str, EtcdFlowsError]
) -> dict[str, tuple[str, ...]]:
    """Remove, the stores side by side; a snapshot that got a mark since it was looked at is left."""
    if plan.empty:
        return {}
    emit("phase", "remove")
    steps = {name: tuple(step for step in plan.steps if step.host == name) for name in shelves}
    futures = {name: prune_store.submit(name, shelves[name], todo) for name, todo in steps.items() if todo}
    done, errors = _each(futures)
    failed.update(errors)
    for name, gone in done.items():
        left = len(steps[name]) - len(gone)
        changed = f"; {plural(left, 'other')} changed meanwhile and stayed" if left else ""
        emit("done", f"{plural(len(gone), 'removal')}{changed}", host=name)
    return {name: tuple(gone) for name, gone in done.items()}


def _each(futures: Mapping[str, PrefectFuture[T]]) -> tuple[dict[str, T], dict[str, EtcdFlowsError]]:
    """Wait for all stores: results by name, failures by name."""
    results: dict[str, T] = {}
    failed: dict[str, EtcdFlowsError] = {}
    for name, future in futures.items():
        found, errors = gather({name: future})
        results.update(found)
        if errors:
            failed[name] = errors[0]
    return results, failed
