"""What a member's answers about its health come to."""

from __future__ import annotations

import pytest

from flows.monitoring_results import MonitoringResult
from tasks.monitoring.health import HEALTHY, judged
from tasks.monitoring.proof import Target
from tasks.plan import Plan

GOOD = {"health": (200, '{"health":"true","reason":""}'), "livez": (200, "ok"), "readyz": (200, "ok")}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({}, HEALTHY),
        ({"health": (503, '{"health":"false","reason":"RAFT NO LEADER"}')}, "/health: RAFT NO LEADER"),
        ({"readyz": (503, "[+]data_corruption ok\n[-]linearizable_read failed")}, "/readyz: [+]data_corruption ok [-]"),
        ({"livez": (404, "")}, "/livez: 404"),
    ],
)
def test_one_bad_answer_is_enough_and_is_quoted(answers: dict[str, tuple[int, str]], words: str) -> None:
    assert judged(GOOD | answers).startswith(words)


@pytest.mark.parametrize(
    ("state", "health", "code"),
    [("up", HEALTHY, 0), ("up", None, 0), ("up", "/health: RAFT NO LEADER", 1), ("down", HEALTHY, 1)],
)
def test_a_member_that_is_scraped_and_ill_is_not_good(state: str, health: str | None, code: int) -> None:
    targets = (Target("a", "http://a:2381", "up", HEALTHY), Target("b", "http://b:2381", state, health))
    assert MonitoringResult(Plan("enable-monitoring", "a", ()), False, "watcher", targets).exit_code == code
