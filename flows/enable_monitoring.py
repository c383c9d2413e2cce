"""enable-monitoring: Prometheus and Alertmanager on the monitoring host, proven from the members to the receivers.

The runbook that this replaces: install Prometheus and Alertmanager, write their units, add the cluster's targets, copy
alert rules, hope that they load, fill in the receivers, wait for the first real alert to see whether it arrives.
"""

from __future__ import annotations

from prefect import flow

from flows.carry_out import Materials, run_plan
from flows.ending import ends_in_state
from flows.fan_out import all_hosts_at_once, on_all
from flows.leave_monitoring import carry_out_leaving, joined, plan_leaving
from flows.locking import host_lock, settle
from flows.monitoring_results import Grafana, MonitoringResult
from flows.prepare import downloading, known_authority, load, operator_files, operators_authority
from flows.refusing import refuse
from flows.report import publish_plan, publish_table, reporting
from flows.run_names import named
from tasks.cluster.secrets import Secret
from tasks.cluster.spec import Cluster
from tasks.hosts.query import FactQuery
from tasks.monitoring.actions import InstallProgram, IssueClient, KeepPassword, ProveTargets
from tasks.monitoring.grafana_host import USER
from tasks.monitoring.grafana_password import kept_password, password_file
from tasks.monitoring.health import SILENT
from tasks.monitoring.inputs import read_inputs
from tasks.monitoring.look import WatchFacts, parse, query_for, script_for
from tasks.monitoring.plan import FLOW, plan_watch
from tasks.monitoring.programs import GRAFANA, program, release_of, url
from tasks.monitoring.refusals import refusals
from tasks.monitoring.remembered import elsewhere, remember
from tasks.monitoring.sharing import agreed
from tasks.monitoring.tasks import ask_members, fetch_program, look_at_watch, see_targets
from tasks.monitoring.wanted import Inputs, fact_paths, watch_of
from tasks.pki.client import client_files
from tasks.plan import Plan
from tasks.releases.fetch import LocalRelease
from tasks.reporting.markdown import narrow
from tasks.reporting.progress import emit


@flow(
    name="enable-monitoring",
    flow_run_name=named("set up monitoring of {cluster}"),
    task_runner=all_hosts_at_once(),
    persist_result=False,
)
@ends_in_state
def enable_monitoring(cluster: str, plan_only: bool = False) -> MonitoringResult:
    """Set up what watches a cluster, and prove it: all members are scraped, all receivers take a test alert.

    A host that the cluster file does not name any more is left: what is there of this cluster goes.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
        plan_only: Only show what would be done; nothing is changed on any host.
    """
    with reporting():
        spec = load(cluster)
        if elsewhere(spec) and (spec.monitoring is None or spec.monitoring.host is None):
            return leave(spec, plan_only=plan_only)
        host, inputs = watch_of(spec).host, read_inputs(spec)
        query = query_for(host, *fact_paths(spec))
        facts = on_all([host.name], lambda _: look_at_watch.submit(spec, query), "looking at the monitoring host")
        plan, leaving = make_plan(spec, facts[host.name], inputs), plan_leaving(spec, FLOW, here=False)
        publish_plan(joined(plan, leaving.plan))
        if any(isinstance(step.action, ProveTargets) for step in plan.steps):
            warn_of_silence(spec)
        if plan_only:
            return MonitoringResult(plan=joined(plan, leaving.plan), applied=False)
        settled = agreed_with_others(spec, facts[host.name])
        if not plan.empty:
            releases = fetch_programs(spec, plan)  # without the lock, since it may take long
            plan, settled = carry_out(spec, plan, query, inputs, releases)
        remember(spec)
        plan = joined(plan, carry_out_leaving(spec, leaving, FLOW))
        files = operator_files(spec)
        seen = on_all([host.name], lambda _: see_targets.submit(settled, files), "asking Prometheus")[host.name]
        result = MonitoringResult(
            plan=plan, applied=not plan.empty, host=host.name, targets=seen, grafana=grafana_of(spec, plan)
        )
        publish_table("targets", spec.name, narrow(result.table), "members as Prometheus sees them")
        return result


def leave(spec: Cluster, *, plan_only: bool) -> MonitoringResult:
    """Take a cluster off the hosts that watched it, as its file names none any more."""
    leaving = plan_leaving(spec, FLOW, here=False)
    publish_plan(leaving.plan)
    if plan_only:
        return MonitoringResult(plan=leaving.plan, applied=False)
    plan = carry_out_leaving(spec, leaving, FLOW)
    return MonitoringResult(plan=plan, applied=not plan.empty)


def warn_of_silence(spec: Cluster) -> None:
    """Say now which members the proof at the end will wait for in vain, as long as nothing is done about them."""
    host, files = watch_of(spec).host, client_files(spec.pki)
    told = on_all([host.name], lambda _: ask_members.submit(spec, files), "asking the members from there")[host.name]
    for name, health in told.items():
        if health is not None and health.startswith(SILENT):
            url = spec.host(name).scrape_url or spec.host(name).metrics_url
            emit(
                "warning",
                f"{name} gives {health} at {url}, as seen from {host.name}: is etcd up, is a firewall between them? "
                "Metrics that were not on the network before get there by `etcd-flows bootstrap-cluster`",
            )


def agreed_with_others(spec: Cluster, facts: WatchFacts) -> Cluster:
    """The cluster with the versions that the run leaves on the host."""
    return agreed(spec, watch_of(spec), facts.parts, facts.below)


def grafana_of(spec: Cluster, plan: Plan) -> Grafana | None:
    """What the person has to know of Grafana; its password only if this run has made it."""
    watch = watch_of(spec)
    if watch.grafana is None:
        return None
    made = any(isinstance(step.action, KeepPassword) and step.action.new for step in plan.steps)
    password = Secret(kept_password(spec).decode()) if made else None
    return Grafana(url(watch, GRAFANA), USER, str(password_file(spec)), password)


def make_plan(spec: Cluster, facts: WatchFacts, inputs: Inputs) -> Plan:
    """The plan for a monitoring host that was found like this.

    Raises:
        Refused: Somebody else's Prometheus is there, or the CA is not here.
        Several: More than one reason.
    """
    authority = known_authority(spec)
    refuse(refusals(spec, facts, authority))
    return plan_watch(spec, facts, inputs, authority)


def fetch_programs(spec: Cluster, plan: Plan) -> dict[str, LocalRelease]:
    """The releases that the plan installs, by product.

    Raises:
        ReleaseError: Not to be had, or not what its checksum says; no host was changed.
    """
    watch, found = watch_of(spec), {}
    for step in plan.steps:
        if isinstance(step.action, InstallProgram):
            one, arch = program(step.action.name), step.action.arch
            release = release_of(watch, one)
            progress = downloading(one.title, release.version, arch)
            found[one.product.name] = fetch_program(one.product.name, release, arch, progress)
    return found


def carry_out(
    spec: Cluster, shown: Plan, query: FactQuery, inputs: Inputs, releases: dict[str, LocalRelease]
) -> tuple[Plan, Cluster]:
    """Take the host's lock, plan again from what it looks like now, carry that out.

    Returns:
        The plan carried out, and the cluster with the versions that are there now.
    """
    host = watch_of(spec).host
    with host_lock([host], spec.name, FLOW, {host.name: script_for(query, packages=watch_of(spec).packages)}) as (
        lock,
        outputs,
    ):
        facts = parse(query, outputs[host.name].stdout)
        plan = make_plan(spec, facts, inputs)
        settle(shown, plan)
        if plan.digest != shown.digest:
            releases = fetch_programs(spec, plan)
        issues = any(isinstance(step.action, IssueClient) for step in plan.steps)
        run_plan(plan, Materials(spec, releases, operators_authority(spec) if issues else None, lock))
    return plan, agreed_with_others(spec, facts)
