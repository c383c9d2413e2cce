"""Prefect's side of this room."""

from __future__ import annotations

from prefect import task

from tasks.cluster.spec import Host
from tasks.hosts import ahead
from tasks.hosts.facts import HostFacts
from tasks.hosts.observe import observe
from tasks.hosts.query import FactQuery
from tasks.hosts.retrying import HOST_TASK
from tasks.hosts.shell import open_shell


@task(name="observe-host", task_run_name="observe-{host.name}", **HOST_TASK)
def observe_host(host: Host, query: FactQuery) -> HostFacts:
    """Look at one host; nothing is changed there."""
    facts: HostFacts | None = ahead.take(host, query)
    if facts is not None:
        return facts
    with open_shell(host) as shell:
        return observe(shell, query)
