"""Prefect's side of this room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.cluster.spec import Cluster, Release
from tasks.hosts.query import FactQuery
from tasks.hosts.retrying import HOST_TASK
from tasks.hosts.shell import open_shell
from tasks.monitoring.ask import ask
from tasks.monitoring.health import healths
from tasks.monitoring.look import WatchFacts, look
from tasks.monitoring.programs import PROMETHEUS, access, program
from tasks.monitoring.proof import Target, targets_of, targets_query
from tasks.monitoring.wanted import watch_of
from tasks.pki.client import ClientFiles
from tasks.releases.fetch import LocalRelease, fetch_product


@task(name="fetch-program", task_run_name="fetch-{name}-{release.version}-{arch}", cache_policy=NO_CACHE)
def fetch_program(name: str, release: Release, arch: str, progress: Callable[[int, int | None], None]) -> LocalRelease:
    """Have a checked release on the worker, from the cache or from its source; it retries by itself."""
    return fetch_product(program(name).product, release, arch, progress)


@task(name="look-at-monitoring-host", task_run_name="look-{query.host}", **HOST_TASK)
def look_at_watch(cluster: Cluster, query: FactQuery) -> WatchFacts:
    """Look at the monitoring host, read only."""
    with open_shell(watch_of(cluster).host) as shell:
        return look(shell, query, packages=watch_of(cluster).packages)


@task(name="ask-members", task_run_name="ask-members-{cluster.name}", **HOST_TASK)
def ask_members(cluster: Cluster, files: ClientFiles) -> dict[str, str | None]:
    """Ask the members how they are, from the monitoring host, read only; see :mod:`tasks.monitoring.health`."""
    return healths(cluster, watch_of(cluster).host, files)


@task(name="ask-prometheus", task_run_name="targets-{cluster.name}", **HOST_TASK)
def see_targets(cluster: Cluster, files: ClientFiles) -> tuple[Target, ...]:
    """Ask Prometheus on the monitoring host about the cluster's members, and from there the members, read only."""
    watch = watch_of(cluster)
    members = tuple((host.name, host.scrape_url or host.metrics_url) for host in cluster.hosts)
    with open_shell(watch.host) as shell:
        seen = targets_of(members, ask(shell, access(watch, PROMETHEUS), targets_query(cluster.name)))
    told = healths(cluster, watch.host, files)
    return tuple(replace(one, health=told[one.member]) for one in seen)
