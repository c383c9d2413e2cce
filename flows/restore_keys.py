"""restore-keys: chosen keys of a snapshot back into the running cluster, without stopping anything.

The runbook that this replaces: restore the snapshot somewhere, dig the keys out with etcdctl, put them back by hand,
and hope that nobody has changed them meanwhile. Without `apply` it is a dry run; what that has seen and decided is
kept, and only that is carried out, key by key, where the key still is as it was seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from prefect import flow

from flows.choices import one_of
from flows.destroy_cluster import demand_confirmation
from flows.ending import ends_in_state
from flows.fan_out import all_hosts_at_once
from flows.locking import Locked, cluster_lock
from flows.preflight import look
from flows.prepare import load
from flows.refusing import refuse
from flows.report import reporting
from flows.restore_keys_results import KeysPlanned, KeysResult, KeysWritten, publish_keys
from flows.restore_safety import refuse_without_store, safety_snapshot
from flows.run_names import keys_name, named
from tasks.cluster.spec import Cluster
from tasks.errors import InputError, Refused
from tasks.etcd.restored import under_way
from tasks.keys.apply import Applied
from tasks.keys.batches import limits_of
from tasks.keys.decide import Rules
from tasks.keys.kubernetes import REGISTRY
from tasks.keys.live import live
from tasks.keys.opening import opened
from tasks.keys.plan_file import Header, SavedPlan, find_plan, plans_dir
from tasks.keys.selection import Selection, select
from tasks.keys.shown import key_text
from tasks.keys.tasks import Sides, compare_keys, write_keys
from tasks.reporting.human import plural, size
from tasks.reporting.progress import emit
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.find import find, passed_over
from tasks.snapshots.library import open_library

_EVERY = 2.0  # seconds between two lines of progress
_CONSENTS = ("untrusted", "no-safety-snapshot")


@dataclass(frozen=True)
class Means:
    """Where a run may get and put things.

    Args:
        store: Only this store; all of the cluster file if empty.
        scratch: Directory with room for the database, twice; None for the system's.
        accept: What the operator consents to.
    """

    store: str
    scratch: Path | None
    accept: tuple[str, ...]


@flow(
    name="restore-keys",
    flow_run_name=named(keys_name),
    task_runner=all_hosts_at_once(),
    persist_result=False,
)
@ends_in_state
def restore_keys(
    cluster: str,
    snapshot: str = "",
    keys: list[str] | None = None,
    prefixes: list[str] | None = None,
    resources: list[str] | None = None,
    namespaces: list[str] | None = None,
    names: list[str] | None = None,
    kubernetes_prefix: str = REGISTRY,
    on_conflict: Literal["skip", "overwrite", "fail"] = "skip",
    delete_extra: bool = False,
    with_leased: bool = False,
    apply: str = "",
    confirm: str = "",
    store: str = "",
    scratch: str = "",
    accept: list[Annotated[str, one_of(_CONSENTS)]] | None = None,
    show: int = 20,
    requested_by: str = "",
    reason: str = "",
) -> KeysResult:
    """Compare chosen keys of a snapshot with the running cluster; or carry out what such a comparison came to.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
        snapshot: With which to compare: ``latest``, ``before 2026-11-24T14:30``, an id or the beginning of one. Left
            empty only to carry out a plan.
        keys: Keys to compare, each in full.
        prefixes: Beginnings of keys to compare; an empty one means all keys.
        resources: Kubernetes resources (``pods``, ``deployments.apps``, ``widgets.example.com``).
        namespaces: Only in these namespaces; without a resource, all that is in them.
        names: Only objects of these names.
        kubernetes_prefix: The API server's --etcd-prefix.
        on_conflict: What happens to keys that have another value now.
        delete_extra: Delete chosen keys that the snapshot does not have.
        with_leased: Treat keys bound to a lease like others; what is put back has no lease.
        apply: Digest of the plan that is to be carried out, as the comparison has shown it; leave out the snapshot and
            all that chooses keys then: the plan says it all.
        confirm: The cluster's name, typed: without it nothing is carried out.
        store: Only from this store; by default from the first that has it.
        scratch: Directory, on the machine where the flow runs, with room for the database, twice; the system's for
            temporary files if empty.
        accept: Dangers to live with, as a refusal names them: untrusted, no-safety-snapshot.
        show: How many keys of each kind to show by name.
        requested_by: Who asks for it, as claimed; kept in the report.
        reason: Why, as claimed; kept in the report.
    """
    with reporting():
        spec = load(cluster)
        means = Means(store, Path(scratch) if scratch else None, tuple(accept or ()))
        unknown = [word for word in means.accept if word not in _CONSENTS]
        if unknown:
            raise InputError(
                f"nothing is called {unknown[0]!r} that could be accepted ({', '.join(_CONSENTS)})",
                remedy="take the word from the refusal that it is for",
            )
        chosen = bool(snapshot or keys or prefixes or resources or namespaces or names)
        if apply and chosen:
            raise InputError(
                "a plan says by itself what is put back",
                state="nothing was changed",
                remedy="with the digest of a plan leave out the snapshot and all that chooses keys",
            )
        if apply:
            result: KeysResult = _carry_out(spec, find_plan(plans_dir(spec.pki), apply), means, confirm)
        else:
            selection = select(
                keys or (), prefixes or (), resources or (), namespaces or (), names or (), kubernetes_prefix
            )
            result = _plan(
                spec, cluster, snapshot, selection, Rules(on_conflict, delete_extra, with_leased), means, show
            )
        publish_keys(result, requested_by, reason)
        return result


def _plan(
    spec: Cluster, typed: str, snapshot: str, selection: Selection, rules: Rules, means: Means, show: int
) -> KeysPlanned:
    """The dry run.

    Args:
        typed: The cluster, as the operator names it.

    Raises:
        Refused: Keys are in conflict, and the rule for that says to stop.
    """
    if not snapshot:
        raise InputError("no snapshot was named", state="nothing was changed", remedy="for instance --from latest")
    with _both_sides(spec, snapshot, means) as (sides, entry):
        emit("phase", f"compare {entry.id} with the running cluster")
        header = Header(
            spec.name,
            sides.live.cluster_id,
            entry.id,
            entry.manifest.db_sha256,
            (*selection.words, *_rule_words(rules)),
            selection.read,
        )
        compared = compare_keys(sides, selection, rules, header, plans_dir(spec.pki), show)
    conflicts, _ = compared.plan.counts["conflict"]
    if conflicts and rules.on_conflict == "fail":
        examples = ", ".join(key_text(noted.key) for noted in compared.noted if noted.what == "conflict")
        raise Refused(
            f"{plural(conflicts, 'chosen key')} have another value now than in {entry.id}: {examples}",
            state="nothing was changed",
            remedy="choose others; or --on-conflict skip leaves them, --on-conflict overwrite puts the old value back",
        )
    return KeysPlanned(spec.name, typed, compared)


def _rule_words(rules: Rules) -> tuple[str, ...]:
    words = [] if rules.on_conflict == "skip" else ["--on-conflict", rules.on_conflict]
    return (*words, *["--delete-extra"] * rules.delete_extra, *["--with-leased"] * rules.with_leased)


def _carry_out(spec: Cluster, plan: SavedPlan, means: Means, confirm: str) -> KeysWritten:
    """Carry out a plan under the cluster's lock, with a snapshot of what there is before."""
    demand_confirmation(spec, confirm)
    if plan.header.cluster != spec.name:
        raise InputError(
            f"plan {plan.short} is for {plan.header.cluster!r}",
            state="nothing was changed",
            remedy="name that cluster, or make a plan for this one",
        )
    if not plan.todos:
        return KeysWritten(spec.name, plan, Applied(), "", 0.0)
    refuse_without_store(spec, means.accept)
    with _both_sides(spec, plan.header.snapshot, means) as (sides, entry):
        if entry.manifest.db_sha256 != plan.header.db_sha256:
            raise Refused(
                f"{entry.id} is not what plan {plan.short} was made from",
                state="nothing was changed",
                remedy="make a new plan: the same command without --apply",
            )
        living = _living(spec)
        with cluster_lock(living, "restore-keys") as locked:
            _refuse_another(living, plan, sides, locked)
            safety = safety_snapshot(living, locked, means.accept)
            emit("phase", f"write {plural(plan.todos, 'key')}")
            began = time.monotonic()
            applied = write_keys(plan, sides, limits_of(spec.etcd), _Telling(plan, locked))
            return KeysWritten(spec.name, plan, applied, safety, time.monotonic() - began)


def _living(spec: Cluster) -> Cluster:
    """The cluster as far as its hosts can be reached: keys can be put back while a host is down.

    Raises:
        Refused: Half of the hosts or more can't be reached, so that others may be at work there unseen.
    """
    facts, errors = look(spec)
    for error in errors.values():
        emit("warning", f"not locked there: {error.message}", host=error.host)
    if len(facts) < spec.quorum:
        raise Refused(
            f"only {len(facts)} of {plural(len(spec.hosts), 'host')} can be reached, and the lock needs a majority",
            state="nothing was changed",
            remedy="; ".join(error.message for error in errors.values()),
        )
    return replace(spec, hosts=tuple(host for host in spec.hosts if host.name in facts))


def _refuse_another(spec: Cluster, plan: SavedPlan, sides: Sides, locked: Locked) -> None:
    refuse(under_way(spec, locked.facts))
    if sides.live.cluster_id != plan.header.cluster_id:
        raise Refused(
            f"the cluster was restored or made anew since plan {plan.short}: its revisions mean other things now",
            state="nothing was changed",
            remedy="make the plan anew: the same command as then, without --apply",
        )


class _Telling:
    """Before each batch: the lock has to be there still; now and then people are told how far it is."""

    def __init__(self, plan: SavedPlan, locked: Locked) -> None:
        self._plan = plan
        self._lock = locked.lock
        self._told = time.monotonic()

    def __call__(self, applied: Applied) -> None:
        self._lock.check()
        emit("start", "the next batch", step=f"batch after {applied.turned}")
        if time.monotonic() - self._told > _EVERY:
            self._told = time.monotonic()
            emit("info", f"{applied.turned} of {plural(self._plan.todos, 'key')}")


@contextmanager
def _both_sides(spec: Cluster, wanted: str, means: Means) -> Iterator[tuple[Sides, CatalogEntry]]:
    """The snapshot, in a member of its own on this machine, and the running cluster."""
    with open_library(spec, means.store) as library:
        library.demand_some()
        for name, error in library.failed.items():
            emit("warning", f"store {name} does not answer: {error.message}")
        entry = find(library.catalogs, wanted, accept="untrusted" if "untrusted" in means.accept else "sound")
        for newer, why in passed_over(library.catalogs, entry) if wanted == "latest" else ():
            emit("warning", f"passed over: {newer.id} in {newer.store}: {why}")
        emit("phase", f"open {entry.id} from {entry.store} ({size(entry.manifest.db_bytes)})")
        store = library.stores[entry.store]
        with live(spec) as cluster, opened(spec, entry, store, means.scratch) as snapshot:
            emit("info", f"it is as of revision {snapshot.revision}")
            yield Sides(snapshot, cluster), entry
