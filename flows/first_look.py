"""What flows want to know of each host to begin with. No Prefect: the command line asks before it is imported."""

from __future__ import annotations

from dataclasses import replace

from tasks.cluster.spec import Cluster, Host
from tasks.etcd import bootstrap, install
from tasks.hosts import ahead
from tasks.hosts.facts import HostFacts
from tasks.hosts.observe import observe
from tasks.hosts.query import FactQuery
from tasks.pki import plan as pki
from tasks.preflight.probe import DISK, ProbeQuery, measure_disk


def fact_query(cluster: Cluster, host: Host) -> FactQuery:
    """Everything that any planner wants to know of this host."""
    stats, contents = bootstrap.fact_paths(cluster, host)
    for more_stats, more_contents in (pki.fact_paths(host), install.install_paths(host)):
        stats, contents = stats | frozenset(more_stats), contents | frozenset(more_contents)
    return FactQuery.for_host(host, user=cluster.etcd.user, stat=stats - contents, contents=contents)


def certificate_query(cluster: Cluster, host: Host) -> FactQuery:
    """The host's certificates alone; cheap, since the programs' checksums are left out."""
    _, contents = pki.fact_paths(host)
    return replace(fact_query(cluster, host), stat=frozenset(), contents=frozenset(contents))


def look_ahead(cluster: Cluster, *, preflight: bool) -> None:
    """Begin to look at all hosts: the facts, and for a preflight the disk where it is to be measured."""
    for host in cluster.hosts:
        ahead.begin(host, _look(cluster, host, preflight))


def _look(cluster: Cluster, host: Host, preflight: bool) -> ahead.Look:
    query = fact_query(cluster, host)

    def disk(facts: HostFacts) -> ahead.Look | None:
        wanted = preflight and ProbeQuery.of(cluster, host, facts).measure
        return ahead.Look(DISK, measure_disk) if wanted else None

    return ahead.Look(query, lambda shell: observe(shell, query), disk)
