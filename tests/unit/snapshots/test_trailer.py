from __future__ import annotations

import hashlib
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tasks.snapshots.trailer import TrailerCheck


def _digest(data: bytes, cuts: list[int] | None = None) -> TrailerCheck:
    check, edges = TrailerCheck(), sorted({0, len(data), *(min(cut, len(data)) for cut in cuts or [])})
    for start, end in pairwise(edges):
        check.feed(data[start:end])
    return check


def _snapshot(pages: int) -> bytes:
    db = bytes(range(256)) * 2 * pages
    return db + hashlib.sha256(db).digest()


@given(st.integers(1, 6), st.lists(st.integers(0, 3200), max_size=30))
def test_a_whole_snapshot_is_ok_however_it_is_cut_into_pieces(pages: int, cuts: list[int]) -> None:
    data = _snapshot(pages)
    found = _digest(data, cuts).finish()
    assert (found.bytes, found.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert found.has_trailer
    assert found.ok


@given(st.integers(1, 4), st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_seen(pages: int, position: int, mask: int) -> None:
    data = bytearray(_snapshot(pages))
    data[position % len(data)] ^= mask
    found = _digest(bytes(data), [100, 1000]).finish()
    assert found.has_trailer
    assert not found.ok


@given(st.integers(1, 4), st.integers(1, 5000))
def test_what_was_cut_off_is_seen(pages: int, missing: int) -> None:
    data = _snapshot(pages)
    assert not _digest(data[: max(0, len(data) - missing)]).finish().ok


def test_a_raw_database_has_no_trailer() -> None:
    found = _digest(_snapshot(3)[:-32]).finish()
    assert not found.has_trailer
    assert not found.ok


def test_the_hash_of_nothing_is_no_snapshot() -> None:
    empty = hashlib.sha256(b"").digest()
    found = _digest(empty).finish()
    assert not found.ok
    assert _digest(b"").finish().sha256 == empty.hex()
