"""Running the hooks of a restore (see :mod:`tasks.restore.hooks`): one after the other, each shown."""

from __future__ import annotations

import time

from flows.carry_out import Materials
from flows.fan_out import gather, on_all
from flows.restore_course import Course
from tasks.errors import EtcdFlowsError
from tasks.plan import Phase, Step
from tasks.reporting.progress import emit
from tasks.restore.actions import RunHook
from tasks.restore.hooks import pending_text
from tasks.restore.tasks import note_hooks, run_one_hook


def run_hooks(phase: Phase, materials: Materials, course: Course, restore: str) -> None:
    """Run the hooks of one phase.

    Args:
        course: Is told which have run, and which have failed.
        restore: The restore's id, under which the members keep what failed; empty to keep nothing.

    Raises:
        EtcdFlowsError: One before the stop has failed; those after it were not run.
    """
    emit("phase", phase.name)
    for step in phase.steps:
        materials.lock.check()
        action = step.action
        if not isinstance(action, RunHook):
            raise AssertionError(f"{step.key} is no hook")
        error = _run(step, action)
        if error is None:
            course.hooks_run.append(action.hook.name)
        elif action.when == "before":
            error.remedy = "mend what it tells of, or leave all hooks out: --accept no-hooks"
            raise error
        else:
            course.hooks_failed[action.hook.name] = f"on {step.host}: {error.message}"
    if restore and any(isinstance(step.action, RunHook) and step.action.when == "after" for step in phase.steps):
        keep_failed(materials, course, restore)


def _run(step: Step, action: RunHook) -> EtcdFlowsError | None:
    began = time.monotonic()
    emit("start", step.summary, host=step.host, step=step.name)
    _, errors = gather({step.host: run_one_hook.submit(action.hook)})
    emit("failed" if errors else "done", step.summary, host=step.host, step=step.name, seconds=time.monotonic() - began)
    return errors[0] if errors else None


def keep_failed(materials: Materials, course: Course, restore: str) -> None:
    """Write down on all members which hooks are still to be run after this restore.

    Raises:
        EtcdFlowsError: A member could not be told.
    """
    cluster, content = materials.cluster, pending_text(restore, course.hooks_failed)
    names = [host.name for host in cluster.hosts]

    def submit(name: str) -> object:
        host = cluster.host(name)
        return note_hooks.submit(host, materials.lock.guard(host), content)

    on_all(names, submit, "noting the hooks")  # type: ignore[arg-type]
