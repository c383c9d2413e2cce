"""Carrying out a plan: batch by batch, each key only if it still is as it was when the plan was made.

That also is what makes it safe to run again after a kill at any point: what was written before is found to be as
wanted, what somebody else has written since is left alone and reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tasks.errors import EtcdFlowsError, HostError, SnapshotError
from tasks.etcd.client import Client
from tasks.etcd.rpc_keys import Write, Written
from tasks.etcd.rpc_types import KeyValue
from tasks.keys.batches import Limits, batches
from tasks.keys.decide import DEEDS, Deed, Todo
from tasks.keys.keyspace import Keyspace
from tasks.keys.live import Live
from tasks.keys.plan_file import SavedPlan
from tasks.keys.spans import only

#: With more chosen keys in the snapshot than this for each one that is written, those are read one by one, and not
#: together with all around them.
_SPARSE = 8
_REMEMBERED = 100


@dataclass
class Applied:
    """What came of it.

    Args:
        done: Keys written or deleted by this run.
        already: Keys that were as wanted when their turn came: an earlier run did it, or this one without seeing the
            answer.
        left: Keys that were changed by somebody else since the plan was made, and left as they are.
        too_large: Keys whose values the cluster does not take.
        first_left: The first of both, in order.
    """

    done: dict[Deed, int] = field(default_factory=lambda: dict.fromkeys(DEEDS, 0))
    already: int = 0
    left: int = 0
    too_large: int = 0
    first_left: list[tuple[bytes, str]] = field(default_factory=list)

    @property
    def turned(self) -> int:
        """Keys whose turn has come."""
        return sum(self.done.values()) + self.already + self.left + self.too_large

    def remember(self, key: bytes, why: str) -> None:
        """A key that is not as wanted."""
        if len(self.first_left) < _REMEMBERED:
            self.first_left.append((key, why))


def apply(
    plan: SavedPlan,
    snapshot: Keyspace,
    live: Live,
    limits: Limits,
    *,
    before_each: Callable[[Applied], None] = lambda applied: None,
) -> Applied:
    """Carry out a plan.

    Args:
        before_each: Told before each batch how far it is; may raise, for instance because the lock is lost.

    Raises:
        SnapshotError: The snapshot has another value than the plan says.
        EtcdFlowsError: The cluster failed; its ``state`` tells how far it was.
    """
    applied = Applied()
    kinds: dict[bytes, Deed] = {}
    try:
        for batch in batches(_writes(plan, snapshot, kinds), limits):
            before_each(applied)
            _carry_out(batch, kinds, live, applied)
            for write in batch:
                del kinds[write.key]
    except EtcdFlowsError as error:
        written = sum(applied.done.values())
        error.state = f"{applied.turned} of {plan.todos} keys had their turn; this run has changed {written}"
        error.remedy = f"{error.remedy + '; then ' if error.remedy else ''}run the same command again: it goes on"
        raise
    return applied


def _writes(plan: SavedPlan, snapshot: Keyspace, kinds: dict[bytes, Deed]) -> Iterator[Write]:
    """The plan's lines with their values, which are read beside them; both are in the order of the keys."""
    puts = plan.counts["add"][0] + plan.counts["overwrite"][0]
    in_snapshot = sum(keys for what, (keys, _) in plan.counts.items() if what not in ("delete", "extra"))
    few = puts * _SPARSE < in_snapshot
    spans = (only(todo.key) for todo in plan.lines() if todo.sha256) if few else iter(plan.header.spans)
    values = snapshot.items(spans)
    for todo in plan.lines():
        kinds[todo.key] = todo.what
        yield Write(todo.key, todo.seen, _value(todo, values) if todo.sha256 else None)


def _value(todo: Todo, values: Iterator[KeyValue]) -> bytes:
    """The value of a line; what comes before it in the snapshot is not in the plan, and is passed over."""
    found = next((item.value for item in values if item.key >= todo.key), b"")
    if hashlib.sha256(found).hexdigest() == todo.sha256:
        return found
    raise SnapshotError(
        "the snapshot is not the one that the plan was made from: a value is missing or is another",
        remedy="make the plan anew",
    )


def _carry_out(batch: Sequence[Write], kinds: dict[bytes, Deed], live: Live, applied: Applied) -> None:
    """One transaction; without the keys that are not as they were seen, if there are such."""
    pending = list(batch)
    while pending:
        try:
            written = live.call(_transaction(pending))
        except HostError as error:
            if "request is too large" not in error.message:
                raise
            if len(pending) > 1:
                middle = len(pending) // 2
                _carry_out(pending[:middle], kinds, live, applied)
                pending = pending[middle:]
                continue
            applied.too_large += 1
            applied.remember(pending[0].key, "its value is larger than the cluster takes (max-request-bytes)")
            return
        if written.done:
            for write in pending:
                applied.done[kinds[write.key]] += 1
            return
        pending = _still_open(pending, written, live, applied)


def _transaction(writes: Sequence[Write]) -> Callable[[Client], Written]:
    return lambda client: client.write_if(writes)


def _hold(writes: Sequence[Write]) -> Callable[[Client], tuple[bool, ...]]:
    return lambda client: client.hold(writes)


def _still_open(writes: Sequence[Write], written: Written, live: Live, applied: Applied) -> list[Write]:
    """Keys that still are as they were seen, so that they have to be tried again; the others are accounted for.

    Of those that are not, most are as wanted where a killed run is carried on, so they are asked about together.
    """
    if len(writes) == 1:
        found = live.call(lambda client: client.get(writes[0].key))
        now = {writes[0].key: found.mod_revision if found else 0}
        held = {writes[0].key} if found and found.value == writes[0].value else set()
    else:
        now = dict(written.now)
        valued = [write for write in writes if write.value is not None and now[write.key] != write.seen]
        held = {write.key for write, same in zip(valued, live.call(_hold(valued)), strict=True) if same}
    for write in writes:
        if now[write.key] == write.seen:
            continue
        if write.key in held or (write.value is None and not now[write.key]):
            applied.already += 1
        else:
            applied.left += 1
            what = "changed" if now[write.key] else "deleted"
            applied.remember(write.key, f"{what} since the plan was made")
    return [write for write in writes if now[write.key] == write.seen]
