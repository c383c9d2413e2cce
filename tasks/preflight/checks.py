"""The preflight's verdict. Pure: cluster file, facts, probes and connections go in, findings come out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError
from tasks.findings import Finding
from tasks.hosts.facts import HostFacts
from tasks.preflight.connect import Knock
from tasks.preflight.machine import check_architectures, check_clocks, check_machine
from tasks.preflight.network import check_connectivity, check_names, check_network
from tasks.preflight.seen import HostProbe
from tasks.preflight.storage import check_storage

#: What a host that could not be asked is reported under; it can't be waived.
REACHABLE = "reachable"

#: Names of all checks whose errors can be waived, in the order in which people think of them.
CHECKS = (
    *("connectivity", "ports", "addresses", "names", "clock", "disk-space", "disk-speed", "data-dir", "paths"),
    *("cpu", "memory", "architecture", "systemd", "tools", "sudo", "os"),
)


def check_all(
    cluster: Cluster,
    facts: Mapping[str, HostFacts],
    probes: Mapping[str, HostProbe],
    knocks: Mapping[str, Sequence[Knock]],
    errors: Mapping[str, EtcdFlowsError],
) -> tuple[Finding, ...]:
    """Findings of all hosts, those of a host that could not be asked among them.

    Args:
        cluster: The cluster file.
        facts: By host.
        probes: By host.
        knocks: What each host tried to reach.
        errors: By host, why it could not be asked.
    """
    return tuple(_all(cluster, facts, probes, knocks, errors))


def _all(
    cluster: Cluster,
    facts: Mapping[str, HostFacts],
    probes: Mapping[str, HostProbe],
    knocks: Mapping[str, Sequence[Knock]],
    errors: Mapping[str, EtcdFlowsError],
) -> Iterator[Finding]:
    for host in cluster.hosts:
        if host.name in errors:
            error = errors[host.name]
            yield Finding("error", REACHABLE, error.message, host.name, error.remedy or "")
        elif host.name in probes:
            seen, probe = facts[host.name], probes[host.name]
            yield from check_machine(cluster, host, seen, probe)
            yield from check_storage(cluster, host, seen, probe)
            yield from check_network(cluster, host, seen, probe)
    yield from check_clocks(cluster, facts, probes)
    yield from check_architectures(facts)
    yield from check_names(cluster, probes)
    yield from check_connectivity(cluster, probes, knocks)
