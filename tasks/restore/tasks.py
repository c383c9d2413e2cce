"""Prefect's side of this room."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.cluster.spec import Hook, Host
from tasks.etcd.gate import pass_gate
from tasks.etcd.restored import hooks_path
from tasks.hosts.retrying import HOST_TASK
from tasks.hosts.shell import FileWrite, Guard, open_shell
from tasks.restore.guard import Seen, look
from tasks.restore.hooks import run_hook
from tasks.restore.old_dirs import Old
from tasks.restore.old_dirs import look as look_for_old
from tasks.restore.proof import Proof, ask


@task(name="prove-member", task_run_name="prove-{host.name}", **HOST_TASK)
def prove_member(host: Host, seconds: float, revision: int) -> Proof:
    """Read and write through the member's own endpoint, then ask what it holds."""
    with open_shell(host) as shell:
        pass_gate(shell, seconds=seconds)
        return ask(shell, revision)


@task(name="look-at-member", task_run_name="look-{host.name}", **HOST_TASK)
def look_at_member(host: Host) -> Seen:
    """What would start and what runs on one host, right before another member is started."""
    with open_shell(host) as shell:
        return look(shell)


@task(name="find-old-dirs", task_run_name="old-dirs-{host.name}", **HOST_TASK)
def find_old_dirs(host: Host, current: str) -> Old:
    """What restores have left on one host beside the data in use."""
    with open_shell(host) as shell:
        return look_for_old(shell, current)


@task(name="run-hook", task_run_name="hook-{hook.name}", cache_policy=NO_CACHE, persist_result=False)
def run_one_hook(hook: Hook) -> None:
    """Run one hook, once: what it does is not ours to repeat unasked."""
    with open_shell(hook.host) as shell:
        run_hook(shell, hook)


@task(name="note-hooks", task_run_name="note-hooks-{host.name}", **HOST_TASK)
def note_hooks(host: Host, guard: Guard, content: bytes) -> None:
    """Write down on a member which hooks are still to be run."""
    with open_shell(host, guard) as shell:
        shell.write_files([FileWrite(hooks_path(host), content, 0o644)])
