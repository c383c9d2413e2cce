"""Before a restore: whether a smaller way would do, and a snapshot of what the members hold if anything answers."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping

from prefect.runtime import flow_run

from flows.fan_out import gather
from flows.locking import Locked
from flows.prepare import operator_files
from flows.snapshot_backup import capture
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, Refused
from tasks.etcd.identity import identity_path, uuid_in
from tasks.etcd.members import ClusterView
from tasks.etcd.restored import replace_command
from tasks.etcd.tasks import view_member
from tasks.hosts.facts import HostFacts
from tasks.members.diagnose import broken_members
from tasks.reporting.progress import emit
from tasks.snapshots.keep import Order
from tasks.snapshots.stores.open import open_stores
from tasks.snapshots.tasks import ask_sources


def seen_by_members(cluster: Cluster, facts: Mapping[str, HostFacts]) -> dict[str, ClusterView]:
    """What the members that run and have a quorum behind them say of the cluster."""
    running = [host for host in cluster.hosts if facts[host.name].service.running]
    views, _ = gather({host.name: view_member.submit(host) for host in running})
    return views


def refuse_one_broken(
    cluster: Cluster, facts: Mapping[str, HostFacts], views: Mapping[str, ClusterView], accept: Collection[str]
) -> None:
    """Go on only if the cluster has no quorum, or no member of it is broken (it goes back in time), or it was accepted.

    Raises:
        Refused: To rebuild the broken member would be enough.
    """
    if "has-quorum" in accept:
        return
    broken = broken_members(cluster, facts, views)
    if broken:
        said = "; ".join(f"{one.host}: {one.why}" for one in broken)
        raise Refused(
            f"the cluster has a quorum and serves, and needs no restore because of {said}",
            state="nothing was changed",
            remedy="rebuild what is broken, nothing is lost by that: "
            + "; ".join(replace_command(cluster, one.host) for one in broken)
            + ". If all data shall go back to the snapshot nevertheless: --accept has-quorum",
        )


def refuse_without_store(cluster: Cluster, accept: Collection[str]) -> None:
    """Go on only if what the members hold can be stored, or need not be.

    Raises:
        Refused: There is no store, and that was not accepted.
    """
    if not cluster.snapshots.stores and "no-safety-snapshot" not in accept:
        raise _not_stored("the cluster file names no store for snapshots")


def _not_stored(why: str) -> Refused:
    return Refused(
        f"what the members hold now could not be stored: {why}",
        state="nothing was changed",
        remedy="let a store be written to (snapshots.stores in the cluster file); only if what they hold is surely "
        "not needed: --accept no-safety-snapshot",
    )


def safety_snapshot(cluster: Cluster, locked: Locked, accept: Collection[str]) -> str:
    """Store what the members hold now, marked as made for safety; under the cluster's lock.

    Returns:
        The snapshot's id; empty if there is none, which the operator has accepted.

    Raises:
        Refused: It can't be made, and that was not accepted.
    """
    emit("phase", "store what the members hold now")
    try:
        return _take(cluster, locked)
    except EtcdFlowsError as error:
        if "no-safety-snapshot" in accept:
            emit("warning", f"what the members hold now is not stored, which was accepted: {error.message}")
            return ""
        raise _not_stored(error.message) from error


def _take(cluster: Cluster, locked: Locked) -> str:
    if not cluster.snapshots.stores:
        raise Refused("the cluster file names no store for snapshots", remedy="name one under snapshots.stores")
    stores = open_stores(cluster)
    try:
        files = operator_files(cluster)
        contents = [locked.facts[host.name].file(identity_path(host)).content or b"" for host in cluster.hosts]
        known = [found for content in contents if (found := uuid_in(cluster, content.decode(errors="replace")))]
        run = str(flow_run.id or uuid.uuid4())
        order = Order(cluster, known[0] if known else "", "safety", run, "", "before a restore")
        return capture(order, stores, files, ask_sources(cluster, files)).manifest.id
    finally:
        for store in stores.values():
            store.close()
