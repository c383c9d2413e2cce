"""destroy-cluster: remove what bootstrap-cluster installed. Data dirs are kept unless told otherwise.

Nothing is removed without the cluster's name typed as confirmation, and no host of another cluster is touched.
"""

from __future__ import annotations

from collections.abc import Mapping

from prefect import flow

from flows.carry_out import Materials, run_plan
from flows.ending import ends_in_state
from flows.fan_out import all_hosts_at_once
from flows.leave_monitoring import carry_out_leaving, joined, plan_leaving
from flows.locking import cluster_lock, settle
from flows.preflight import look
from flows.prepare import load
from flows.refusing import refuse
from flows.report import publish_plan, reporting
from flows.results import PlannedResult
from flows.run_names import named
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, HostUnreachable, Refused
from tasks.etcd.identity import foreign, not_named
from tasks.etcd.removal import plan_remove, plan_stop
from tasks.etcd.restored import under_way
from tasks.hosts.facts import HostFacts
from tasks.pki.removal import removable
from tasks.plan import Phase, Plan, make_plan
from tasks.reporting.progress import emit

FLOW = "destroy-cluster"
_GONE = "take it out of the cluster file"


@flow(
    name="destroy-cluster",
    flow_run_name=named("destroy {cluster}"),
    task_runner=all_hosts_at_once(),
    persist_result=False,
)
@ends_in_state
def destroy_cluster(
    cluster: str, confirm: str = "", delete_data: bool = False, plan_only: bool = False
) -> PlannedResult:
    """Stop the members and remove what was installed on their hosts, and on those that watch them.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
        confirm: The cluster's name, typed: without it nothing is removed.
        delete_data: Also remove the data dirs. Without a snapshot there is no way back from that.
        plan_only: Only show what would be done; nothing is changed on any host.
    """
    with reporting():
        spec = load(cluster)
        if not plan_only:
            demand_confirmation(spec, confirm)
        facts, silent = look(spec)
        refuse([each.or_else(_GONE) if isinstance(each, HostUnreachable) else each for each in silent.values()])
        plan = plan_destroy(spec, facts, delete_data=delete_data)
        leaving = plan_leaving(spec, FLOW, here=True)
        publish_plan(joined(leaving.plan, plan))
        if not plan_only:
            left = carry_out_leaving(spec, leaving, FLOW)
            plan = joined(left, carry_out(spec, plan, delete_data=delete_data))
            user = any(host.service == "systemd" for host in spec.hosts)
            account = f"; the system user {spec.etcd.user} stays on the hosts" if user else ""
            emit("info", f"the CA stays in {spec.pki.state_dir}{account}")
        else:
            plan = joined(leaving.plan, plan)
        return PlannedResult(plan, applied=not plan_only and not plan.empty)


def carry_out(spec: Cluster, shown: Plan, *, delete_data: bool) -> Plan:
    """Take the lock, plan again from what the hosts look like now, carry that out; returns the plan carried out."""
    if shown.empty:
        return shown
    with cluster_lock(spec, FLOW) as locked:
        plan = plan_destroy(spec, locked.facts, delete_data=delete_data)
        settle(shown, plan)
        run_plan(plan, Materials(spec, {}, None, locked.lock))
    return plan


def demand_confirmation(cluster: Cluster, confirm: str) -> None:
    """The cluster's name must have been typed.

    Raises:
        Refused: It was not, or it is another name.
    """
    if confirm != cluster.name:
        said = f"the confirmation says {confirm!r}" if confirm else "there is no confirmation"
        raise Refused(
            f"{said}; the cluster is called {cluster.name!r}",
            state="nothing was changed",
            remedy=f"look at the plan first (--plan), then run again with --confirm {cluster.name}",
        )


def plan_destroy(cluster: Cluster, facts: Mapping[str, HostFacts], *, delete_data: bool) -> Plan:
    """Stop all members, then remove what is ours.

    Raises:
        Refused: A host belongs to another cluster, or holds data that is not this cluster's.
        Several: More than one of these.
    """
    reasons: tuple[EtcdFlowsError | None, ...] = tuple(foreign(cluster, h, facts[h.name]) for h in cluster.hosts)
    refuse((*(reason for reason in reasons if reason), *(() if delete_data else under_way(cluster, facts))))
    stop = [plan_stop(host, facts[host.name]) for host in cluster.hosts]
    remove = [
        plan_remove(
            cluster, host, facts[host.name], removable(cluster, host, facts[host.name]), delete_data=delete_data
        )
        for host in cluster.hosts
    ]
    notes = ["ALL DATA of this cluster is deleted; only a snapshot can bring it back"] if delete_data else []
    if others := not_named(cluster, facts):
        said = "is a member of this cluster too, and" if len(others) == 1 else "are members of this cluster too, and"
        notes.append(
            f"{', '.join(others)} {said} not in the cluster file: left as found, and serving only with a quorum"
        )
    phases = [
        Phase("stop the members", tuple(step for step in stop if step)),
        Phase("remove what was installed", tuple(step for step in remove if step)),
    ]
    return make_plan(FLOW, cluster.name, phases, notes)
