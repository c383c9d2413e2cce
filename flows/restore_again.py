"""A run of disaster-restore that only repeats the one before (see :mod:`tasks.restore.repeated`)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from flows import restore_notes
from flows.carry_out import Materials
from flows.locking import cluster_lock
from flows.members import answering, publish_members, watch_members
from flows.observe import observe_certificates
from flows.restore_course import Course
from flows.restore_hooks import run_hooks
from flows.restore_results import RestoreResult
from flows.restore_source import Wanted
from tasks.cluster.spec import Cluster
from tasks.etcd.restored import under_way
from tasks.hosts.facts import HostFacts
from tasks.plan import make_plan
from tasks.restore.hooks import after_proof, pending
from tasks.restore.plan import FLOW
from tasks.restore.record import Record
from tasks.restore.repeated import Meant, all_ended, nothing_to_do, serving
from tasks.restore.source import check_file
from tasks.snapshots.find import find
from tasks.snapshots.library import open_library


def restored_already(
    cluster: Cluster, facts: Mapping[str, HostFacts], wanted: Wanted, *, plan_only: bool
) -> RestoreResult | None:
    """What there is to tell if the last restore did what is asked for, and the cluster serves it; else None.

    Hooks that failed after that restore are run once more.

    Args:
        cluster: Without its dead members.

    Raises:
        Refused: It is not surely a repetition, and not surely a new wish.
        EtcdFlowsError: It can't be told which snapshot is meant.
    """
    found = () if under_way(cluster, facts) else all_ended(cluster, facts)
    if not found:
        return None
    ended, statuses = found[0], answering(cluster, facts)
    if serving(cluster, statuses) == "no":
        return None
    if not nothing_to_do(cluster, ended, statuses, _meant(cluster, wanted, ended.record), time.time()):
        return None
    phase = after_proof(cluster, pending(cluster, facts, ended.record.id))
    plan, course = make_plan(FLOW, cluster.name, [phase]), Course()
    if plan_only and not plan.empty:
        return RestoreResult(plan, applied=False)
    if not plan.empty:
        with cluster_lock(cluster, FLOW) as locked:
            run_hooks(phase, Materials(cluster, {}, None, locked.lock), course, ended.record.id)
    if not plan_only:  # where the run that ended it could not say so
        restore_notes.ended(cluster, ended.record, "done", None, ended.at)
    members = watch_members(cluster)
    table = publish_members(cluster, members, observe_certificates(cluster))
    return RestoreResult(plan, not plan.empty, ended.record, False, course, members, table, ended=ended)


def _meant(cluster: Cluster, wanted: Wanted, record: Record) -> Meant:
    """Which snapshot the words mean now."""
    if wanted.file:
        return "same" if check_file(Path(wanted.file)).sha256 == record.sha256 else "other"
    if wanted.snapshot == record.snapshot:
        return "same"
    if wanted.named and not record.snapshot.startswith(wanted.snapshot):
        return "other"
    with open_library(cluster, wanted.store) as library:
        library.demand_some()
        manifest = find(library.catalogs, wanted.snapshot, accept="untrusted").manifest
    if (manifest.id, manifest.db_sha256) == (record.snapshot, record.sha256):
        return "same"
    return "later" if wanted.snapshot == "latest" and manifest.started > record.began else "other"
