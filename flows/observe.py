"""Looking at all hosts of a cluster: one round trip each, all at once, nothing changed."""

from __future__ import annotations

from prefect.futures import PrefectFuture

from flows.fan_out import on_all
from flows.first_look import certificate_query, fact_query
from tasks.cluster.spec import Cluster, Host
from tasks.hosts.facts import HostFacts
from tasks.hosts.tasks import observe_host


def submit_observe(cluster: Cluster, host: Host) -> PrefectFuture[HostFacts]:
    """Begin to look at one host."""
    return observe_host.submit(host, fact_query(cluster, host))


def observe_all(cluster: Cluster) -> dict[str, HostFacts]:
    """Facts of all hosts of the cluster, by host name.

    Raises:
        EtcdFlowsError: A host could not be observed; nothing was changed anywhere.
    """
    names = [host.name for host in cluster.hosts]
    return on_all(names, lambda name: submit_observe(cluster, cluster.host(name)), "looking at the hosts")


def observe_certificates(cluster: Cluster) -> dict[str, HostFacts]:
    """Facts of all hosts in which, of all files, only the certificates were looked at.

    Raises:
        EtcdFlowsError: A host could not be observed.
    """

    def submit(name: str) -> PrefectFuture[HostFacts]:
        host = cluster.host(name)
        return observe_host.submit(host, certificate_query(cluster, host))

    return on_all([host.name for host in cluster.hosts], submit, "looking at the certificates")
