"""How tasks retry: only what can pass by itself, with backoff and jitter."""

from __future__ import annotations

from typing import Any, TypedDict

from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from tasks.hosts.classify import is_transient


def worth_retrying(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Prefect's ``retry_condition_fn``: true if the failure may pass by itself (network, timeout)."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and is_transient(error)


class HostTask(TypedDict):
    """Options that every task touching a host has."""

    retries: int
    retry_delay_seconds: Any
    retry_jitter_factor: float
    retry_condition_fn: Any
    cache_policy: CachePolicy
    persist_result: bool
    log_prints: bool


#: Results of host tasks are never cached: Prefect's cache knows inputs, not the state of a host.
HOST_TASK: HostTask = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=1),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": worth_retrying,
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "log_prints": False,
}
