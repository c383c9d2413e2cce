from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.snapshots.spool import MIB, NEVER, Pace, Spool, SpoolFile, spool_of
from tests.unit.snapshots.samples import sample_settings


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pace(seconds: float, rate: float, blocked: float) -> bool:
    """Whether a stream of so many bytes a second, waiting for stores for that share of the time, is too slow."""
    clock = Clock()
    watched = Pace(Spool(Path("/x")), clock)
    for _ in range(int(seconds * 10)):
        clock.now += 0.1
        watched.took(int(rate / 10))
        watched.blocked(blocked / 10)
    return watched.too_slow()


@pytest.mark.parametrize(
    ("seconds", "rate", "blocked", "slow"),
    [
        (6, 10 * MIB, 0.9, True),
        (6, 100 * MIB, 0.9, False),
        (6, 10 * MIB, 0.1, False),
        (2, 10 * MIB, 0.9, False),
        (30, 100 * MIB, 0.9, False),
        (64, 100 * MIB, 0.9, True),
        (64, 100 * MIB, 0.1, False),
        (300, 10 * MIB, 0.0, False),
    ],
)
def test_the_disk_is_used_only_when_stores_hold_up_the_stream(
    seconds: float, rate: float, blocked: float, slow: bool
) -> None:
    assert pace(seconds, rate, blocked) is slow


def test_a_stream_that_becomes_slow_is_noticed() -> None:
    clock = Clock()
    watched = Pace(Spool(Path("/x"), patience=1e9), clock)
    for second in range(200):
        clock.now += 1
        watched.took(MIB if second > 100 else 500 * MIB)
        watched.blocked(0.9)
        if watched.too_slow():
            assert 100 < second < 120
            return
    pytest.fail("not noticed")


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    assert spool_of(sample_settings(spool="never")) == NEVER
    assert spool_of(sample_settings(spool="auto")).directory == Path("/var/tmp")
    assert spool_of(sample_settings(spool="/srv/spool")).directory == Path("/srv/spool")
    monkeypatch.setenv("TMPDIR", "/mnt/large")
    assert spool_of(sample_settings(spool="auto")).directory == Path("/mnt/large")


@given(st.lists(st.binary(max_size=400_000), max_size=12))
def test_readers_get_all_at_their_own_speed(tmp_path_factory: pytest.TempPathFactory, blocks: list[bytes]) -> None:
    spooled = SpoolFile(Spool(tmp_path_factory.getbasetemp() / "spool", reserve=0))
    found: list[bytes] = []
    early = threading.Thread(target=lambda: found.append(b"".join(spooled.read(lambda: True))))
    early.start()
    for block in blocks:
        spooled.append(block)
    spooled.finish()
    early.join()
    late = b"".join(spooled.read(lambda: True))
    spooled.close()
    assert found == [late] == [b"".join(blocks)]


def test_a_reader_that_is_not_wanted_any_more_ends(tmp_path: Path) -> None:
    spooled = SpoolFile(Spool(tmp_path, reserve=0))
    spooled.append(bytes(3 * MIB))
    wanted = iter([True, True, False])
    assert len(b"".join(spooled.read(lambda: next(wanted)))) == 2 * MIB
    waiting = iter([True, True, True, True, False, False])
    assert len(b"".join(spooled.read(lambda: next(waiting)))) == 3 * MIB


def test_the_file_is_private_and_has_no_name(tmp_path: Path) -> None:
    spooled = SpoolFile(Spool(tmp_path / "new", reserve=0))
    spooled.append(b"secret")
    assert list((tmp_path / "new").iterdir()) == []
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_some_space_is_left_to_others(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        SpoolFile(Spool(tmp_path, reserve=2**60)).append(b"x")
    assert caught.value.errno == errno.ENOSPC
