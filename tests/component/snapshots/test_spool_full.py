"""A spool directory on a disk that fills up under it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.snapshots.codec import MIB, Codec
from tasks.snapshots.pipeline import pump
from tasks.snapshots.spool import Spool
from tests.conftest import not_run
from tests.unit.snapshots.test_age import LOCKS
from tests.unit.snapshots.test_pipeline import AT_ONCE, Memory, check, snapshot, stream

pytestmark = [pytest.mark.component, *([] if os.geteuid() == 0 else [not_run("mounting a small disk needs root")])]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """100 MiB."""
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "none", str(tmp_path)], check=False)
    if tried.returncode:
        pytest.skip("NOT RUN: this machine lets nobody mount a file system")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def fill(disk: Path) -> None:
    """As another program would."""
    descriptor = os.open(disk / "other", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(MIB))
    except OSError:
        os.close(descriptor)


@pytest.mark.parametrize("codec", [Codec(), Codec("zstd", LOCKS)])
def test_the_rest_is_streamed_slowly_and_that_is_said(codec: Codec, small_disk: Path) -> None:
    data = snapshot(80 * MIB)

    def source() -> Iterator[bytes]:
        for number, piece in enumerate(stream(data)):
            yield piece
            if number * len(piece) > 40 * MIB and not (small_disk / "other").exists():
                fill(small_disk)

    def before(_sent: int) -> None:
        time.sleep(0.02)

    slow, quick = Memory(before), Memory()
    spool = Spool(small_disk, slow=1e12, window=AT_ONCE, reserve=0)
    pumped = pump(source(), codec, {"slow": slow, "quick": quick}, spool=spool)
    for upload in (slow, quick):
        check(pumped, data, upload, codec)
    assert 0 < pumped.spooled_bytes < pumped.object_bytes
    assert "can't take the snapshot (No space left on device)" in pumped.note
    assert [path.name for path in small_disk.iterdir()] == ["other"]


def test_what_others_need_is_left_free(small_disk: Path) -> None:
    data, slow = snapshot(20 * MIB), Memory(lambda _: time.sleep(0.02))
    spool = Spool(small_disk, slow=1e12, window=AT_ONCE, reserve=40 * MIB)
    pumped = pump(stream(data), Codec(), {"slow": slow}, spool=spool)
    check(pumped, data, slow, Codec())
    assert pumped.spooled_bytes == 0
    assert "No space left on device" in pumped.note
