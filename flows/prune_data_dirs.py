"""prune-data-dirs: remove the data that restores have left beside the present one, once it is surely not needed.

The runbook that this replaces: a year later somebody wonders what /var/lib/etcd.bak-2 is, and whether it may go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect import flow

from flows.carry_out import Materials, run_plan
from flows.destroy_cluster import demand_confirmation
from flows.ending import ends_in_state
from flows.fan_out import all_hosts_at_once, on_all
from flows.locking import cluster_lock
from flows.members import watch_members
from flows.observe import observe_all
from flows.prepare import load
from flows.refusing import refuse
from flows.report import publish_plan, reporting
from flows.results import PlannedResult
from flows.run_names import named
from tasks.cluster.spec import Cluster
from tasks.errors import InputError, Refused
from tasks.etcd.restored import current_data_dir, under_way
from tasks.hosts.facts import HostFacts
from tasks.plan import Plan
from tasks.reporting import plans
from tasks.reporting.progress import emit
from tasks.restore.old_dirs import Old, describe, plan_prune, refuse_only_copies, refuse_unequal
from tasks.restore.tasks import find_old_dirs, prove_member
from tasks.snapshots.library import open_library

#: Seconds for a member to pass its gate: it runs already.
GATE = 30.0


@dataclass(frozen=True)
class PruneDirsResult(PlannedResult):
    """Result of prune-data-dirs.

    Args:
        found: What lay beside the present data before, by host.
    """

    found: Mapping[str, Old]

    def as_text(self) -> str:
        """For people."""
        lines = ["data that is not in use:"]
        lines += [f"  {name}: {describe(one)}" for name, old in self.found.items() for one in old.dirs]
        if len(lines) == 1:
            lines = ["there is no data beside the one in use"]
        done = f"{self.plan.cluster}: done, what the plan says is removed"
        return "\n".join([*lines, "", done if self.applied else plans.as_text(self.plan)])

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        dirs = [
            {
                "host": name,
                "path": one.path,
                "bytes": one.bytes,
                "last_written": one.changed,
                "restore": one.restore,
                "snapshot": one.snapshot,
                "half_removed": one.half_removed,
            }
            for name, old in self.found.items()
            for one in old.dirs
        ]
        return {**super().as_json(), "found": dirs}


@flow(
    name="prune-data-dirs",
    flow_run_name=named("remove old data dirs of {cluster}"),
    task_runner=all_hosts_at_once(),
    persist_result=False,
)
@ends_in_state
def prune_data_dirs(cluster: str, keep: int = 1, confirm: str = "", plan_only: bool = False) -> PruneDirsResult:
    """Remove data dirs that are not in use, from the oldest on; only of a cluster that is well and has newer snapshots.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
        keep: So many of them stay on each host; with 0, the last restore can't be taken back.
        confirm: The cluster's name, typed: without it nothing is removed.
        plan_only: Only show what there is and what would go.
    """
    with reporting():
        spec = load(cluster)
        if keep < 0:
            raise InputError(
                "keep is a number of data dirs, 0 or more", state="nothing was touched", remedy="give such a number"
            )
        if not plan_only:
            demand_confirmation(spec, confirm)
        found, plan = _look(spec, observe_all(spec), keep)
        publish_plan(plan)
        if plan_only or plan.empty:
            return PruneDirsResult(plan, False, found)
        with cluster_lock(spec, "prune-data-dirs") as locked:
            found, now = _look(spec, locked.facts, keep)
            if now.digest != plan.digest:
                publish_plan(now)
                raise Refused(
                    "the hosts have changed since the plan was shown",
                    state="nothing was removed",
                    remedy="look at the new plan (--plan), then run again",
                )
            run_plan(now, Materials(spec, {}, None, locked.lock))
        return PruneDirsResult(plan, True, found)


def _look(spec: Cluster, facts: Mapping[str, HostFacts], keep: int) -> tuple[dict[str, Old], Plan]:
    """What there is, and what may go.

    Raises:
        Refused: A restore is under way, or old data may be the only copy of something.
        EtcdFlowsError: The cluster is not well.
    """
    refuse(under_way(spec, facts))
    found = on_all(
        [host.name for host in spec.hosts],
        lambda name: find_old_dirs.submit(spec.host(name), current_data_dir(spec.host(name), facts[name])),
        "looking for former data",
    )
    plan = plan_prune(spec, found, keep)
    if plan.empty:
        return found, plan
    for name, old in found.items():
        for one in old.dirs:  # told here too, for those whom the next look refuses
            emit("info", f"not in use: {describe(one)}", host=name)
    emit("phase", "see that the cluster is well, and that newer snapshots are good")
    _prove(spec)
    with open_library(spec) as library:
        library.demand_some()
        newest = refuse_only_copies(found, [entry for catalog in library.catalogs for entry in catalog.entries])
    notes = [f"snapshot {newest.id} in {newest.store}, {newest.level}, is newer than all restores"] if newest else []
    return found, plan_prune(spec, found, keep, notes)


def _prove(spec: Cluster) -> None:
    """Read and write through each member, and see that all hold the same."""
    revision = min(member.revision for member in watch_members(spec))
    names = [host.name for host in spec.hosts]
    proofs = on_all(names, lambda n: prove_member.submit(spec.host(n), GATE, revision), "proving the members")
    refuse_unequal(tuple(proofs.values()))
