"""One task on many hosts at once, and what comes back when some of them fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from tasks.errors import EtcdFlowsError, Several
from tasks.hosts.classify import Target, classify

T = TypeVar("T")


def all_hosts_at_once() -> TaskRunner[PrefectFuture[Any]]:
    """The task runner of flows that work on hosts: waiting threads, more of them than a cluster has members."""
    runner: Any = ThreadPoolTaskRunner(max_workers=32)  # its futures are PrefectFutures, its annotation is narrower
    return cast("TaskRunner[PrefectFuture[Any]]", runner)


def on_all(names: Iterable[str], submit: Callable[[str], PrefectFuture[T]], doing: str) -> dict[str, T]:
    """Submit a task for every host, wait for all of them, return the results by host.

    Every host is waited for even when one fails, so that nothing goes on unseen after the flow has ended.

    Args:
        names: Hosts.
        submit: Submits the task for one host.
        doing: What is being done, for the error message.

    Raises:
        EtcdFlowsError: The only failure.
        Several: More than one host failed.
    """
    futures = {name: submit(name) for name in names}
    results, errors = gather(futures)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise Several(f"{doing} failed on {len(errors)} of {len(futures)} hosts", errors)
    return results


def gather(futures: Mapping[str, PrefectFuture[T]]) -> tuple[dict[str, T], list[EtcdFlowsError]]:
    """Wait for all; give results by host, and errors as ours."""
    results: dict[str, T] = {}
    errors: list[EtcdFlowsError] = []
    for name, future in futures.items():
        value: Any = future.result(raise_on_failure=False)
        if isinstance(value, BaseException):
            errors.append(classify(value, Target(name, name)))
        else:
            results[name] = value
    return results, errors
