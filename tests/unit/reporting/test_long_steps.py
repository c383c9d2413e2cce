"""Steps that take long are told of while they do."""

from __future__ import annotations

import time

from tasks.reporting.long_steps import long_steps
from tasks.reporting.progress import Event, emit, line, listening


def said(seen: list[Event], until: int) -> list[str]:
    limit = time.monotonic() + 60
    while len(found := [line(event) for event in seen if event.kind == "info"]) < until and time.monotonic() < limit:
        time.sleep(0.01)
    return found


def test_what_goes_on_is_told_again_and_again_until_it_ends() -> None:
    seen: list[Event] = []
    with listening(seen.append), long_steps(0.1):
        emit("start", "short", host="b", step="b/short")
        emit("done", "short", host="b", step="b/short")
        emit("start", "pass the gate", host="a", step="a/gate")
        told = said(seen, 2)
        assert all(each.startswith("   a: pass the gate: goes on, for ") for each in told), told
        emit("failed", "pass the gate", host="a", step="a/gate")
        emit("start", "left behind by an error", host="a")
        emit("phase", "the way back")
        count = len(said(seen, 0))
        time.sleep(0.5)
        assert len(said(seen, 0)) == count
