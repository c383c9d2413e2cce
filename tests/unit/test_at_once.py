"""Many requests at once: all are made, and the first that fails ends the rest."""

from __future__ import annotations

import threading

import pytest

from deployments.at_once import REQUESTS, each_of
from deployments.meter import Meter


def test_all_are_done_and_told_one_by_one_from_here() -> None:
    done: list[int] = []
    told: list[tuple[int, int, threading.Thread]] = []
    each_of(range(50), done.append, lambda count, total: told.append((count, total, threading.current_thread())))
    assert sorted(done) == [*range(50)]
    assert told == [(count, 50, threading.current_thread()) for count in range(1, 51)]
    each_of([], done.append)


def test_what_fails_is_raised_and_no_other_is_begun() -> None:
    begun: list[int] = []
    go_on = threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise ValueError("the server says no")
        go_on.wait(60)

    def ask() -> None:
        with pytest.raises(ValueError, match="says no"):
            each_of(range(10 * REQUESTS), work)

    asking = threading.Thread(target=ask)
    asking.start()
    while asking.is_alive():
        # Those under way are let go only after the failure had its time to be seen.
        asking.join(0.5)
        go_on.set()
    assert len(begun) < 10 * REQUESTS


def test_progress_in_a_log_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([100.0, 101.0, 120.0, 121.0])
    monkeypatch.setattr("deployments.meter.time.monotonic", lambda: next(now))
    meter = Meter("registering", amount="{:.0f}".format)
    for done in (1, 2, 40, 50):
        meter(done, 100)
    meter.end()
    assert capsys.readouterr().err == "registering: 40 of 100, 2/s, 30 s left\n"
