"""Prefect's side of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prefect import task

from tasks.hosts.retrying import HOST_TASK, HostTask
from tasks.keys.apply import Applied, apply
from tasks.keys.batches import Limits
from tasks.keys.compare import Compared, compare
from tasks.keys.decide import Rules
from tasks.keys.keyspace import Keyspace
from tasks.keys.live import Live
from tasks.keys.plan_file import Header, SavedPlan
from tasks.keys.selection import Selection

#: Every request is tried again by itself, on each member.
_ONCE: HostTask = {**HOST_TASK, "retries": 0}


class Sides:
    """What is compared. Not a dataclass on purpose: Prefect looks into those, and these are live connections."""

    __slots__ = ("live", "snapshot")

    def __init__(self, snapshot: Keyspace, live: Live) -> None:
        self.snapshot = snapshot
        self.live = live

    def __repr__(self) -> str:
        return f"<{self.snapshot.name} and the running cluster>"


@task(name="compare-keys", task_run_name="compare-keys", **_ONCE)
def compare_keys(sides: Sides, selection: Selection, rules: Rules, header: Header, folder: Path, show: int) -> Compared:
    """Compare the chosen keys and write the plan down; nothing else is changed."""
    live = sides.live

    def exists(key: bytes) -> bool:
        return live.call(lambda client: client.get(key)) is not None

    return compare(sides.snapshot, live.keyspace(), selection, rules, header, folder, exists=exists, show=show)


@task(name="write-keys", task_run_name="write-keys-{plan.short}", **_ONCE)
def write_keys(plan: SavedPlan, sides: Sides, limits: Limits, before_each: Callable[[Applied], None]) -> Applied:
    """Carry out a plan, batch by batch."""
    return apply(plan, sides.snapshot, sides.live, limits, before_each=before_each)
