from __future__ import annotations

import threading
import time

import pytest

from tasks.snapshots.channel import Channel


class Stop(Exception):
    pass


def test_items_come_in_order_and_never_more_than_fit() -> None:
    channel, most, done = Channel[int](3), 0, threading.Event()

    def give() -> None:
        nonlocal most
        for number in range(2000):
            channel.put(number)
            most = max(most, len(channel._items))
        done.set()

    threading.Thread(target=give, daemon=True).start()
    assert [channel.get() for _ in range(2000)] == list(range(2000))
    assert done.wait(5)
    assert most <= 3


def test_who_waits_for_room_gives_up_in_time() -> None:
    channel = Channel[int](1)
    assert channel.put(1, 0.0)
    started = time.monotonic()
    assert not channel.put(2, 0.05)
    assert 0.05 <= time.monotonic() - started < 5
    channel.force(3)
    assert [channel.get(), channel.get()] == [1, 3]


def test_an_end_is_seen_by_both_at_once_and_the_first_one_counts() -> None:
    channel, seen = Channel[int](1), list[BaseException]()

    def taking() -> None:
        try:
            channel.get()
        except Stop as error:
            seen.append(error)

    taker = threading.Thread(target=taking)
    taker.start()
    first = Stop()
    channel.fail(first)
    channel.fail(Stop())
    taker.join(5)
    for call in (lambda: channel.put(1), lambda: channel.force(1), channel.get):
        with pytest.raises(Stop) as caught:
            call()
        seen.append(caught.value)
    assert all(error is first for error in seen)
    assert len(seen) == 4
    assert channel.failed
