"""Events: each is declared, documented and really sent; those that somebody has to know of have an automation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from deployments.automations import ALWAYS
from flows.events import EVENTS, PREFIX, Event

ROOT = Path(__file__).parents[3]


def test_each_is_declared_and_sent_by_a_flow() -> None:
    assert set(EVENTS) == set(get_args(Event))
    calls = "".join(path.read_text() for path in (ROOT / "flows").glob("*.py") if path.name != "events.py")
    sent = {name for call in re.findall(r"\btell\((.*?),", calls) for name in re.findall(r'"([a-z.-]+)"', call)}
    assert sent == set(EVENTS)


def test_those_that_somebody_has_to_know_of_have_an_automation() -> None:
    bad = {f"{PREFIX}{name}" for name in EVENTS if name.endswith((".failed", ".interrupted", ".unhealthy", ".lives"))}
    assert {event for _, event, _, _ in ALWAYS} == bad
