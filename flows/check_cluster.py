"""check-cluster: everything an expert would look at, read only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from prefect import flow

from flows.ending import ends_in_state
from flows.events import tell
from flows.fan_out import all_hosts_at_once, gather
from flows.observe import submit_observe
from flows.planning import plan_bootstrap
from flows.prepare import known_authority, load
from flows.publishing import publish_metrics
from flows.report import publish_findings, reporting
from flows.results import CheckResult
from flows.run_names import named
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, Several
from tasks.etcd.checks import check_hosts, check_members
from tasks.etcd.identity import Identity
from tasks.etcd.tasks import view_member
from tasks.findings import Finding
from tasks.hosts.facts import HostFacts
from tasks.members.diagnose import check_broken
from tasks.monitoring.own_facts import member_update
from tasks.pki.expiry import expiries
from tasks.reporting.progress import emit

#: Days before the end of a certificate's life: look at it; act now.
CERTIFICATE_WARNING, CERTIFICATE_ERROR = 30, 7


@flow(
    name="check-cluster",
    flow_run_name=named("check {cluster}"),
    task_runner=all_hosts_at_once(),
    persist_result=False,
)
@ends_in_state
def check_cluster(cluster: str) -> CheckResult:
    """Look at hosts, members, certificates, clocks, disks and drift; change nothing.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
    """
    with reporting():
        spec = load(cluster)
        try:
            findings, facts = _look(spec)
        except EtcdFlowsError as error:
            tell("cluster.unhealthy", spec.name, {"why": error.message})
            raise
        findings = (*findings, *_told(spec, facts))
        publish_findings("check", spec.name, findings, f"Check of {spec.name}")
        errors = [f"{found.host or spec.name}: {found.text}" for found in findings if found.level == "error"]
        tell("cluster.unhealthy" if errors else "cluster.healthy", spec.name, {"errors": errors})
        return CheckResult(spec.name, findings)


def _told(spec: Cluster, facts: Mapping[str, HostFacts]) -> list[Finding]:
    """Tell Prometheus what was seen; a finding if that could not be done."""
    now = datetime.now(UTC)
    untold = publish_metrics(spec, *(member_update(spec.host(name), seen, now) for name, seen in facts.items()))
    if not untold:
        return []
    remedy = "alerts about backups, certificates and clocks go by what was written before, and say that it is old"
    return [Finding("warning", "metrics", f"Prometheus is not told what the flows know: {untold}", None, remedy)]


def _look(spec: Cluster) -> tuple[tuple[Finding, ...], dict[str, HostFacts]]:
    """Ask everybody; judge."""
    emit("phase", "look at the hosts")
    facts, unreachable = gather({host.name: submit_observe(spec, host) for host in spec.hosts})
    down = {error.host or "": error for error in unreachable}
    emit("phase", "ask the members")
    views, silent = gather({name: view_member.submit(spec.host(name)) for name in facts})
    findings = (
        *check_hosts(spec, facts, down),
        *check_members(spec, views, {error.host or "": error for error in silent}),
        *check_broken(spec, facts, views),
        *check_certificates(spec, facts),
        *check_drift(spec, facts),
    )
    return findings, facts


def check_certificates(cluster: Cluster, facts: Mapping[str, HostFacts]) -> list[Finding]:
    """The certificate of each host that ends first."""
    found = []
    for host in cluster.hosts:
        if host.name not in facts:
            continue
        now = datetime.now(UTC)
        known = [(e.not_after, e.name) for e in expiries(host, facts[host.name], now=now) if e.not_after]
        if not known:
            found.append(Finding("warning", "certificates", "none could be read", host.name))
            continue
        ends, name = min(known)
        days = (ends - now).total_seconds() / 86400
        text = f"{name}.crt ends {ends:%Y-%m-%d}, in {int(days)} days"
        remedy = "renew it before then; etcd reads new leaf certificates without a restart"
        if days < CERTIFICATE_ERROR:
            found.append(Finding("error", "certificates", text, host.name, remedy))
        elif days < CERTIFICATE_WARNING:
            found.append(Finding("warning", "certificates", text, host.name, remedy))
        else:
            found.append(Finding("ok", "certificates", f"the first to end: {text}", host.name))
    return found


def check_drift(cluster: Cluster, facts: Mapping[str, HostFacts]) -> list[Finding]:
    """Whether the hosts still are as the cluster file says: the very plan that bootstrap-cluster would make."""
    if len(facts) < len(cluster.hosts):
        return [Finding("warning", "drift", "not compared: not all hosts could be observed")]
    try:
        _, plan = plan_bootstrap(cluster, facts, known_authority(cluster), Identity("none", "none"))
    except EtcdFlowsError as error:
        each = error.errors if isinstance(error, Several) else (error,)
        return [Finding("error", "drift", one.message, one.host, one.remedy or "") for one in each]
    if plan.empty:
        return [Finding("ok", "drift", "the hosts are as the cluster file says")]
    remedy = f"see `etcd-flows bootstrap-cluster {cluster.source or cluster.name} --plan`"
    return [
        Finding("warning", "drift", f"{step.summary} ({step.why})" if step.why else step.summary, step.host, remedy)
        for step in plan.steps
        if step.name != "gate"
    ]
