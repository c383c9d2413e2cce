"""Prefect's side of this room."""

from __future__ import annotations

from collections.abc import Callable

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.cluster.spec import Cluster, Host
from tasks.etcd.members import ClusterView, MemberStatus, cluster_view, member_status
from tasks.etcd.release import LocalRelease, fetch
from tasks.hosts.retrying import HOST_TASK
from tasks.hosts.shell import open_shell


@task(name="fetch-release", task_run_name="fetch-etcd-{cluster.release.version}-{arch}", cache_policy=NO_CACHE)
def fetch_release(cluster: Cluster, arch: str, progress: Callable[[int, int | None], None]) -> LocalRelease:
    """Have the checked release on the worker, from the cache or from its source; it retries by itself."""
    return fetch(cluster.release, arch, progress)


@task(name="ask-member", task_run_name="ask-{host.name}", **HOST_TASK)
def ask_member(host: Host) -> MemberStatus:
    """Ask a member for its status, read only."""
    with open_shell(host) as shell:
        return member_status(shell)


@task(name="view-member", task_run_name="view-{host.name}", **HOST_TASK)
def view_member(host: Host) -> ClusterView:
    """Ask one member what it knows of the cluster, read only."""
    with open_shell(host) as shell:
        return cluster_view(shell)
