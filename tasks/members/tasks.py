"""Prefect's side of this room."""

from __future__ import annotations

from prefect import task

from tasks.cluster.spec import Host
from tasks.hosts.retrying import HOST_TASK
from tasks.hosts.shell import open_shell
from tasks.members.proof import Held, ask_hash


@task(name="ask-hash", task_run_name="hash-{host.name}", **HOST_TASK)
def hash_of_member(host: Host, revision: int) -> Held:
    """Ask a member for the hash of what it holds at a revision, read only."""
    with open_shell(host) as shell:
        return ask_hash(shell, revision)
