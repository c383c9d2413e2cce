"""Prefect's share of a bootstrap: as many task runs, log lines and artifacts against the same server, nothing done."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.task_runners import ThreadPoolTaskRunner


@task(cache_policy=NO_CACHE, persist_result=False)
def nothing(_host: int) -> None:
    """Do nothing."""


@flow(task_runner=ThreadPoolTaskRunner(max_workers=32), persist_result=False)  # type: ignore[arg-type]
def empty(phases: int, hosts: int) -> None:
    """Phases one after the other, in each a task for every host."""
    for _ in range(phases):
        for future in [nothing.submit(host) for host in range(hosts)]:
            future.result()
        for host in range(hosts):
            get_run_logger().info("host %d", host)
    for key in ("plan", "preflight", "members"):
        create_markdown_artifact("nothing", key=f"bench-{key}")


if __name__ == "__main__":
    with temporary_settings(set_defaults={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        empty(int(sys.argv[1]), int(sys.argv[2]))
