"""The preflight as part of a flow: all hosts at once, all findings in one table, nothing changed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from flows.fan_out import gather
from flows.observe import submit_observe
from flows.report import publish_findings
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, Several
from tasks.findings import Finding
from tasks.hosts.facts import HostFacts
from tasks.hosts.shell import open_shell
from tasks.plan import Plan
from tasks.preflight.checks import check_all
from tasks.preflight.connect import Knock, targets, without_gone
from tasks.preflight.probe import ProbeQuery, close_doors
from tasks.preflight.seen import KINDS, HostProbe, Kind
from tasks.preflight.tasks import probe_host, reach_members
from tasks.preflight.waivers import apply_waivers, refusals, waived_notes
from tasks.reporting import tables
from tasks.reporting.findings import as_table, remedies
from tasks.reporting.human import plural
from tasks.reporting.progress import emit

#: Columns that fit into a terminal beside the marks of progress.
WIDTH = 92

Errors = dict[str, EtcdFlowsError]


def look(cluster: Cluster) -> tuple[dict[str, HostFacts], Errors]:
    """Facts of all hosts that could be asked, and why the others could not."""
    facts, errors = gather({host.name: submit_observe(cluster, host) for host in cluster.hosts})
    return facts, {error.host or "": error for error in errors}


def preflight(
    cluster: Cluster, facts: Mapping[str, HostFacts], errors: Mapping[str, EtcdFlowsError], waive: Iterable[str]
) -> tuple[Finding, ...]:
    """Look at everything that could get in the way; all of it is shown and kept as an artifact of the run.

    Args:
        cluster: The cluster.
        facts: Of the hosts that could be asked.
        errors: Why the others could not.
        waive: Checks whose errors the operator decided to live with.

    Raises:
        InputError: ``waive`` names no check.
    """
    emit("phase", "look before anything is changed")
    queries = {name: ProbeQuery.of(cluster, cluster.host(name), seen) for name, seen in facts.items()}
    failed = dict(errors)
    probes: dict[str, HostProbe] = {}
    try:
        probes, unasked = gather({name: probe_host.submit(query) for name, query in queries.items()})
        knocks = _knock(cluster, facts, probes)
    finally:
        gone = _close([query for query in queries.values() if query.doors], probes)
    knocks = without_gone(knocks, gone)
    failed |= {error.host or "": error for error in unasked}
    findings = apply_waivers(check_all(cluster, facts, probes, knocks, failed), waive)
    publish_findings("preflight", cluster.name, findings, f"Preflight of {cluster.name}")
    return findings


def _knock(
    cluster: Cluster, facts: Mapping[str, HostFacts], probes: Mapping[str, HostProbe]
) -> dict[str, tuple[Knock, ...]]:
    """Every host tries to reach all others at once; one that fails to try has seen nothing, which is told as that."""
    wanted = targets(cluster, facts, probes)
    futures = {}
    for name in probes:
        others = tuple(target for target in wanted if target.host != name)
        if others:
            futures[name] = reach_members.submit(cluster.host(name), others)
    found, _ = gather(futures)
    return {name: found.get(name, ()) for name in probes}


def _close(queries: list[ProbeQuery], probes: Mapping[str, HostProbe]) -> dict[str, frozenset[Kind]]:
    """End what listens for the preflight, so that etcd finds its ports free; which of it another run had ended."""

    def close(query: ProbeQuery) -> frozenset[Kind]:
        seen = probes.get(query.host.name)
        try:
            with open_shell(query.host) as shell:
                return close_doors(shell, query, seen.doors if seen else frozenset(KINDS))
        except EtcdFlowsError as error:
            emit("warning", f"the preflight's ports stay open for a minute: {error.message}", host=query.host.name)
            return frozenset()

    if not queries:
        return {}
    with ThreadPoolExecutor(len(queries)) as pool:
        return {query.host.name: gone for query, gone in zip(queries, pool.map(close, queries), strict=True)}


def show(cluster: Cluster, findings: tuple[Finding, ...]) -> None:
    """Tell people what was found, but for what is well."""
    told = [finding for finding in findings if finding.level != "ok"]
    good = len(findings) - len(told)
    if not told:
        emit("info", f"preflight: {plural(good, 'check')}, all good")
        return
    table = tables.as_text(as_table(told), indent="   ", width=WIDTH)
    advice = remedies(cluster.name, [finding for finding in told if finding.level != "error"])
    wrapped = [textwrap.fill(f" {line}", WIDTH, subsequent_indent="     ", break_on_hyphens=False) for line in advice]
    lines = [f"preflight: {plural(good, 'check')} good; to be looked at:", table, *wrapped]
    emit("warning", "\n".join(lines))


def refuse_errors(findings: Iterable[Finding], errors: Mapping[str, EtcdFlowsError]) -> None:
    """Raise everything that speaks against going on; nothing if nothing does.

    Raises:
        EtcdFlowsError: The only reason.
        Several: All of them, of all hosts.
    """
    reasons: list[EtcdFlowsError] = [*errors.values(), *refusals(findings)]
    if len(reasons) == 1:
        raise reasons[0]
    if reasons:
        raise Several("the preflight says no, nothing was changed on any host", reasons)


def with_waivers(plan: Plan, findings: Iterable[Finding]) -> Plan:
    """The plan, with what was waived among its notes; it does the same, so its digest is the same."""
    return replace(plan, notes=(*plan.notes, *waived_notes(findings)))
