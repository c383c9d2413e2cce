"""Prefect's side of this room."""

from __future__ import annotations

from dataclasses import replace

from prefect import task

from tasks.cluster.spec import Host
from tasks.hosts import ahead
from tasks.hosts.retrying import HOST_TASK
from tasks.hosts.shell import open_shell
from tasks.preflight.connect import Knock, Target, connect
from tasks.preflight.probe import DISK, ProbeQuery, probe
from tasks.preflight.seen import DiskSpeed, HostProbe


@task(name="probe-host", task_run_name="probe-{query.host.name}", **HOST_TASK)
def probe_host(query: ProbeQuery) -> HostProbe:
    """Look at one host before anything is changed there."""
    disk: DiskSpeed | None = ahead.take(query.host, DISK) if query.measure else None
    with open_shell(query.host) as shell:
        if disk is None:
            return probe(shell, query)
        return replace(probe(shell, replace(query, measure=False)), fsync_ms=disk.ms, fsync_failed=disk.failed)


@task(name="reach-members", task_run_name="reach-from-{host.name}", **HOST_TASK)
def reach_members(host: Host, wanted: tuple[Target, ...]) -> tuple[Knock, ...]:
    """Connect from one host to the other members."""
    with open_shell(host) as shell:
        return connect(shell, wanted)
