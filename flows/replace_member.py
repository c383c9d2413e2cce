"""replace-member: one member is broken while the others have a quorum: it alone is rebuilt, and nothing is restored.

The runbook that this replaces: stop etcd, move its data away, find its id, `etcdctl member remove`, `member add`,
correct ETCD_INITIAL_CLUSTER and ETCD_INITIAL_CLUSTER_STATE, start it, wait, `member promote`, disarm the
alarm, look whether it really holds what the others hold. The data that is there is never touched: the new data lies
beside it.
"""

from __future__ import annotations

import time
from dataclasses import replace

from prefect import flow

from flows.carry_out import Materials
from flows.destroy_cluster import demand_confirmation
from flows.ending import ends_in_state
from flows.fan_out import all_hosts_at_once
from flows.locking import cluster_lock
from flows.members import answering, publish_members
from flows.observe import observe_all
from flows.preflight import look
from flows.prepare import fetch_releases, load, ready_authority
from flows.replace_plan import Draft, draw_up
from flows.replace_results import ReplaceResult
from flows.replacing import carry_out
from flows.report import publish_plan, reporting
from flows.run_names import named
from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError, Refused
from tasks.etcd.restored import replace_command
from tasks.members.plan import FLOW
from tasks.members.refusals import find_host, unreachable
from tasks.reporting.progress import emit


@flow(
    name="replace-member",
    flow_run_name=named("replace {member} of {cluster}"),
    task_runner=all_hosts_at_once(),
    persist_result=False,
)
@ends_in_state
def replace_member(
    cluster: str, member: str, confirm: str = "", plan_only: bool = False, requested_by: str = "", reason: str = ""
) -> ReplaceResult:
    """Rebuild one member whose data is lost or damaged, or that is no member any more, in its place.

    Run again after anything that cut it off, it goes on: who is a member is told by the cluster itself.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
        member: Its name in the cluster file; the host may be another, bare machine by now.
        confirm: The cluster's name, typed: without it nothing is changed.
        plan_only: Only show what would be done; nothing is changed on any host.
        requested_by: Who asks for it, as claimed; kept in the record.
        reason: Why, as claimed; kept in the record.
    """
    with reporting():
        spec = load(cluster)
        host = find_host(spec, member)
        if not plan_only:
            demand_confirmation(spec, confirm)
        emit("phase", "look at the hosts and ask the members")
        facts, errors = look(spec)
        if host.name in errors:
            raise unreachable(host, errors[host.name])
        for error in errors.values():
            emit("warning", f"left alone, since it can't be reached: {error.message}", host=error.host)
        # Settings name all members of the file; worked on are the hosts that can be reached.
        living = replace(spec, hosts=tuple(h for h in spec.hosts if h.name in facts))
        draft = draw_up(spec, living, host, facts, None, requested_by, reason)
        publish_plan(draft.plan)
        if plan_only or draft.plan.empty:
            return ReplaceResult(draft.plan, applied=False, member=host.name)
        fetch_releases(spec, draft.plan)  # without the lock, since it may take long
        began = time.monotonic()
        took = _under_lock(spec, living, host, draft)
        now = observe_all(living)
        members = tuple(answering(living, now).values())
        table = publish_members(living, members, now)
        seconds = time.monotonic() - began
        return ReplaceResult(draft.plan, True, host.name, draft.record, tuple(took), seconds, members, table)


def _under_lock(spec: Cluster, living: Cluster, host: Host, shown: Draft) -> list[tuple[str, float]]:
    """Plan again from what is true now; the plan that was shown is carried out, or none."""
    with cluster_lock(living, FLOW) as locked:
        draft = draw_up(spec, living, host, locked.facts, shown.record)
        if draft.plan.digest != shown.plan.digest:
            publish_plan(draft.plan)
            raise Refused(
                "the cluster has changed since the plan was shown",
                state="nothing was changed",
                remedy="look at the new plan (--plan), then run again",
            )
        releases = fetch_releases(spec, draft.plan)
        materials = Materials(living, releases, ready_authority(living, draft.pki), locked.lock)
        try:
            return carry_out(draft.plan, host, materials)
        except EtcdFlowsError as error:
            go_on = f"run `{replace_command(spec, host.name)}` again: it goes on from where it stands"
            error.state = error.state or "the other members go on; the data that was there is where it was"
            error.remedy = f"{error.remedy}; then {go_on}" if error.remedy else go_on
            raise
