"""bootstrap-cluster: bare hosts become a healthy TLS cluster; run again, they converge.

The runbook that this replaces: download the release, make the CA and the certificates, write env file and unit on every
host, start the members, wait until they are healthy, see that etcdctl works.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from typing import Annotated

from prefect import flow

from flows.bootstrap_snapshot import Beginning, begin_with
from flows.carry_out import Materials, run_plan
from flows.choices import one_of
from flows.ending import ends_in_state
from flows.fan_out import all_hosts_at_once
from flows.locking import cluster_lock, settle
from flows.members import answering, publish_members, watch_members
from flows.observe import observe_certificates
from flows.planning import plan_bootstrap, restarts
from flows.preflight import look, preflight, refuse_errors, show, with_waivers
from flows.prepare import fetch_releases, keep_operator_client, known_authority, load, ready_authority
from flows.report import publish_plan, reporting
from flows.restore_results import RestoreResult
from flows.results import BootstrapResult
from flows.run_names import bootstrap_name, named
from tasks.cluster.spec import Cluster
from tasks.errors import InputError
from tasks.etcd.identity import Identity
from tasks.hosts.facts import HostFacts
from tasks.pki.plan import PkiPlan
from tasks.plan import Plan
from tasks.preflight.checks import CHECKS
from tasks.preflight.waivers import check_waivers
from tasks.restore.refusals import OF_BOOTSTRAP


@flow(
    name="bootstrap-cluster",
    flow_run_name=named(bootstrap_name),
    task_runner=all_hosts_at_once(),
    persist_result=False,
)
@ends_in_state
def bootstrap_cluster(
    cluster: str,
    plan_only: bool = False,
    waive: list[Annotated[str, one_of(CHECKS)]] | None = None,
    from_snapshot: str = "",
    from_cluster: str = "",
    store: str = "",
    clone: bool = False,
    accept: list[Annotated[str, one_of(OF_BOOTSTRAP)]] | None = None,
    start_over: bool = False,
) -> BootstrapResult | RestoreResult:
    """Turn plain Linux hosts into a healthy etcd cluster with mutual TLS, or bring an existing one back in line.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
        plan_only: Only show what would be done; nothing is changed on any host.
        waive: Names of preflight checks whose errors are to be lived with; kept in the plan's notes.
        from_snapshot: Begin with this data: ``latest``, ``before 2026-11-24T14:30``, an id or the beginning of one, or
            the path of a file, on the machine where the flow runs, as `etcdctl snapshot save` writes it.
        from_cluster: Cluster file of the cluster whose snapshot that is, if it is another one.
        store: Only from this store; by default from the first that has it.
        clone: Make another cluster of it, with an identity of its own and revisions that are not raised.
        accept: What is to be lived with about the snapshot, as for disaster-restore: untrusted, other-cluster,
            no-checksum, other-version, no-bump; and of the cluster's old members: old-members-off.
        start_over: Begin anew although that was begun, as long as no member can have been serving.
    """
    with reporting():
        waived = check_waivers(waive or ())
        beginning = Beginning(from_snapshot, from_cluster, store, clone, tuple(accept or ()), start_over)
        _check_words(beginning)
        spec = load(cluster)
        facts, unreachable = look(spec)
        if unreachable:
            findings = preflight(spec, facts, unreachable, waived)
            show(spec, findings)
            refuse_errors(findings, unreachable)
        if from_snapshot:
            begun = begin_with(spec, facts, beginning, waived=tuple(waived), plan_only=plan_only)
            if begun is not None:
                return begun
        fresh = fresh_identity()
        _, plan = make_plan(spec, facts, fresh)
        findings = preflight(spec, facts, {}, waived) if not plan.empty else ()
        plan = with_waivers(plan, findings)
        publish_plan(plan)
        if findings:
            show(spec, findings)
        if plan_only:
            return BootstrapResult(plan=plan, applied=False, findings=findings)
        refuse_errors(findings, {})
        if not plan.empty:
            fetch_releases(spec, plan)  # without the lock, since it may take long
            plan = with_waivers(carry_out(spec, plan, fresh), findings)
            facts = observe_certificates(spec)
        members = watch_members(spec)
        table = publish_members(spec, members, facts)
        return BootstrapResult(plan=plan, applied=not plan.empty, members=members, table=table, findings=findings)


def _check_words(beginning: Beginning) -> None:
    if beginning != Beginning("") and not beginning.snapshot:
        raise InputError(
            "from_cluster, store, clone, accept and start_over go with a snapshot to begin with",
            state="nothing was touched",
            remedy="add --from-snapshot latest, say",
        )


def make_plan(spec: Cluster, facts: Mapping[str, HostFacts], fresh: Identity) -> tuple[PkiPlan, Plan]:
    """The plan for hosts that were found like this; members are asked who leads if any has to be restarted."""
    statuses = answering(spec, facts) if restarts(spec, facts, fresh) else {}
    return plan_bootstrap(spec, facts, known_authority(spec), fresh, statuses)


def carry_out(spec: Cluster, shown: Plan, fresh: Identity) -> Plan:
    """Take the lock, plan again from what the hosts look like now, carry that out; returns the plan carried out."""
    with cluster_lock(spec, "bootstrap-cluster") as locked:
        pki, plan = make_plan(spec, locked.facts, fresh)
        settle(shown, plan)
        releases = fetch_releases(spec, plan)
        authority = ready_authority(spec, pki)
        keep_operator_client(spec, authority)  # first: a run killed after its last step would have no next one to do it
        run_plan(plan, Materials(spec, releases, authority, locked.lock))
    return plan


def fresh_identity() -> Identity:
    """UUID and token for a cluster that no host knows yet."""
    return Identity(str(uuid.uuid4()), secrets.token_hex(8))
