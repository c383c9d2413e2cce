from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import pytest

from tasks.errors import SnapshotError, StoreCorrupt, StoreError, StoreUnavailable
from tasks.snapshots import fanout, pipeline
from tasks.snapshots.codec import MIB, Codec, decode
from tasks.snapshots.pipeline import Progress, Pumped, pump
from tasks.snapshots.spool import Spool
from tasks.snapshots.stores.base import Stored, Upload
from tasks.snapshots.stores.directory import DirectoryStore
from tests.unit.snapshots.test_age import KEYS, LOCKS
from tests.unit.snapshots.test_codec import CODECS, objects

AT_ONCE = 1e-9  # seconds after which a store counts as too slow


def snapshot(size: int = 5 * MIB) -> bytes:
    """As etcd streams it: pages and their hash."""
    half = size // 1024 * 512
    db = objects(half) + random.Random(7).randbytes(half)
    return db + hashlib.sha256(db).digest()


def stream(data: bytes, piece: int = 32_768) -> Iterator[bytes]:
    return (data[at : at + piece] for at in range(0, len(data), piece))


class Memory:
    """A store's upload for faults that no real store makes when asked: each write first does what it is told."""

    def __init__(self, before_write: Callable[[int], None] = lambda sent: None, lie: int = 0) -> None:
        self.data = bytearray()
        self.ended = ""
        self._before_write = before_write
        self._lie = lie

    def write(self, data: bytes) -> None:
        assert not self.ended
        self._before_write(len(self.data))
        self.data += data

    def commit(self, sha256: str = "") -> Stored:
        assert not self.ended
        assert sha256 == hashlib.sha256(self.data).hexdigest()
        self.ended = "committed"
        return Stored("k", len(self.data) + self._lie, hashlib.sha256(self.data).hexdigest(), "checksum")

    def abort(self) -> None:
        self.ended = self.ended or "aborted"

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None) -> None:
        self.abort()


def failing(at: int, error: Exception) -> Memory:
    def before(sent: int) -> None:
        if sent >= at:
            raise error

    return Memory(before)


def slow(seconds: float = 0.02) -> Memory:
    return Memory(lambda _: time.sleep(seconds))


def back(stored: bytes | bytearray, codec: Codec) -> bytes:
    return b"".join(decode(stream(bytes(stored), 70_000), codec.compression, codec.encryption, KEYS))


def check(pumped: Pumped, data: bytes, upload: Memory, codec: Codec) -> None:
    assert upload.ended == "committed"
    assert back(upload.data, codec) == data
    assert (pumped.db_bytes, pumped.db_sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (pumped.object_bytes, pumped.object_sha256) == (len(upload.data), hashlib.sha256(upload.data).hexdigest())


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("piece", [777, 32_768, 3 * MIB])
def test_a_snapshot_goes_into_real_and_other_stores_alike(codec: Codec, piece: int, tmp_path: Path) -> None:
    data, store, memory = snapshot(), DirectoryStore("local", tmp_path, "prod-a"), Memory()
    uploads: dict[str, Upload] = {"local": store.upload("data/x/snapshot.db"), "memory": memory}
    pumped = pump(stream(data, piece), codec, uploads)
    check(pumped, data, memory, codec)
    assert b"".join(store.read("data/x/snapshot.db")) == bytes(memory.data)
    assert pumped.stored.keys() == {"local", "memory"}
    assert pumped.stored["local"].sha256 == pumped.object_sha256
    assert pumped.trailer_ok
    assert not pumped.failed
    assert pumped.spooled_bytes == 0


@pytest.mark.parametrize("at", [0, MIB, 4 * MIB])
def test_a_store_that_fails_drops_out_and_the_others_complete(at: int) -> None:
    data, bad, good = snapshot(), failing(at, StoreError("store bad: no")), slow(0.001)
    pumped = pump(stream(data), Codec("none", LOCKS), {"bad": bad, "good": good})
    check(pumped, data, good, Codec("none", LOCKS))
    assert pumped.failed["bad"].message == "store bad: no"
    assert pumped.stored.keys() == {"good"}
    assert bad.ended == "aborted"


def test_a_fault_in_a_store_does_not_take_the_others_with_it() -> None:
    pumped = pump(stream(snapshot()), Codec(), {"bad": failing(0, ZeroDivisionError("by 0")), "good": Memory()})
    assert pumped.failed["bad"].message == "store bad: ZeroDivisionError: by 0"


@pytest.mark.parametrize("at", [0, MIB, 4 * MIB])
def test_when_all_stores_fail_it_is_told_at_once(at: int) -> None:
    only = StoreUnavailable("store a: no answer")
    with pytest.raises(StoreUnavailable) as caught:
        pump(stream(snapshot()), Codec(), {"a": failing(at, only)})
    assert caught.value is only
    with pytest.raises(StoreError, match=r"no store took the snapshot: store a: no answer; store b: refused") as both:
        pump(stream(snapshot()), Codec(), {"a": failing(at, only), "b": failing(0, StoreError("store b: refused"))})
    assert not both.value.transient


def test_an_endless_source_is_left_when_no_store_is() -> None:
    block = random.Random(3).randbytes(MIB)
    endless = iter(lambda: block, b"")
    with pytest.raises(StoreError, match="full"):
        pump(endless, Codec("zstd", LOCKS), {"a": failing(300, StoreError("full"))})


class Died(Exception):
    pass


@pytest.mark.parametrize("after", [0, 100_000, 3 * MIB])
def test_a_source_that_dies_has_all_uploads_aborted(after: int) -> None:
    def dying() -> Iterator[bytes]:
        yield from stream(snapshot()[:after])
        raise Died

    uploads = {"a": Memory(), "b": slow()}
    with pytest.raises(Died):
        pump(dying(), Codec("zstd", LOCKS), uploads)
    assert {upload.ended for upload in uploads.values()} == {"aborted"}


def test_a_stream_that_was_cut_off_is_never_committed() -> None:
    data = snapshot()
    for bad, why in ((data[:-600], "the stream was cut off"), (b"x" + data[1:], "bytes were lost or changed")):
        upload = Memory()
        with pytest.raises(SnapshotError, match=why):
            pump(stream(bad), Codec(), {"a": upload})
        assert upload.ended == "aborted"


def test_a_raw_database_needs_no_trailer_but_a_wrong_one_is_refused() -> None:
    data, upload = snapshot(), Memory()
    pumped = pump(stream(data[:-32]), Codec(), {"a": upload}, trailer="optional")
    assert upload.data == data[:-32]
    assert not pumped.trailer_ok
    with pytest.raises(SnapshotError, match="lost or changed"):
        pump(stream(b"x" + data[1:]), Codec(), {"a": Memory()}, trailer="optional")


def test_a_store_that_says_something_else_has_failed() -> None:
    pumped = pump(stream(snapshot()), Codec(), {"liar": Memory(lie=1), "good": Memory()})
    assert isinstance(pumped.failed["liar"], StoreCorrupt)
    assert pumped.stored.keys() == {"good"}


def test_a_store_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "STALLED", 0.3)
    data, let_go = snapshot(40 * MIB), threading.Event()

    def hang(sent: int) -> None:
        if sent >= MIB:
            let_go.wait(60)

    hanging, good = Memory(hang), Memory()
    pumped = pump(stream(data), Codec(), {"hanging": hanging, "good": good})
    check(pumped, data, good, Codec())
    assert "has taken nothing for" in pumped.failed["hanging"].message
    let_go.set()
    for _ in range(200):
        if hanging.ended:
            break
        time.sleep(0.02)
    assert hanging.ended == "aborted"


def test_a_hanging_store_does_not_keep_us_from_the_next_member(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "_ABORT", 0.2)
    hangs, let_go = threading.Event(), threading.Event()

    def hang(sent: int) -> None:
        hangs.set()
        let_go.wait(60)

    def dying() -> Iterator[bytes]:
        yield from stream(snapshot(MIB))  # less than what waits for a store, so that the source itself is not held up
        hangs.wait(30)
        raise Died

    hanging, good = Memory(hang), Memory()
    with pytest.raises(Died):
        pump(dying(), Codec(), {"hanging": hanging, "good": good})
    assert (hanging.ended, good.ended) == ("", "aborted")
    let_go.set()
    for _ in range(200):
        if hanging.ended:
            break
        time.sleep(0.02)
    assert hanging.ended == "aborted"


def test_a_slow_source_is_no_fault_of_the_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "STALLED", 0.2)

    def source() -> Iterator[bytes]:
        yield snapshot()[:MIB]
        time.sleep(0.5)
        yield from stream(snapshot()[MIB:])

    assert not pump(source(), Codec(), {"a": slow(0.01)}).failed


@pytest.mark.parametrize("codec", CODECS)
def test_slow_stores_let_the_member_go_by_way_of_the_disk(codec: Codec, tmp_path: Path) -> None:
    data, stores = snapshot(40 * MIB), {"slow": slow(), "quick": Memory()}
    spool = Spool(tmp_path, slow=1e12, window=AT_ONCE, reserve=0)
    seen: list[Progress] = []
    pumped = pump(stream(data), codec, stores, spool=spool, progress=seen.append)
    for upload in stores.values():
        check(pumped, data, upload, codec)
    assert 0 < pumped.spooled_bytes < pumped.object_bytes
    assert pumped.held_seconds < pumped.seconds
    assert not list(tmp_path.iterdir())
    assert seen[-1].spooled == pumped.spooled_bytes


def test_what_is_spooled_is_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    pwrite = os.pwrite

    def watched(descriptor: int, data: bytes, at: int) -> int:
        written.append(bytes(data))
        return pwrite(descriptor, data, at)

    monkeypatch.setattr(os, "pwrite", watched)
    spool = Spool(tmp_path, slow=1e12, window=AT_ONCE, reserve=0)
    data = snapshot(40 * MIB)
    pumped = pump(stream(data), Codec("none", LOCKS), {"slow": slow()}, spool=spool)
    assert sum(map(len, written)) == pumped.spooled_bytes > 0
    assert not any(b"registry/web" in block for block in written)
    assert b"registry/web" in data


def test_stores_that_keep_up_leave_the_disk_alone(tmp_path: Path) -> None:
    pumped = pump(stream(snapshot(40 * MIB)), Codec(), {"slow": slow(0.001)}, spool=Spool(tmp_path))
    assert pumped.spooled_bytes == 0


def test_a_store_that_fails_while_the_disk_is_used_drops_out(tmp_path: Path) -> None:
    def before(sent: int) -> None:
        time.sleep(0.02)
        if sent > 20 * MIB:
            raise StoreError("store bad: full")

    data, good = snapshot(40 * MIB), slow()
    spool = Spool(tmp_path, slow=1e12, window=AT_ONCE, reserve=0)
    pumped = pump(stream(data), Codec(), {"bad": Memory(before), "good": good}, spool=spool)
    check(pumped, data, good, Codec())
    assert pumped.failed.keys() == {"bad"}


@pytest.mark.parametrize("directory", ["no room", "no directory"])
def test_without_room_on_the_disk_it_stays_a_slow_stream(directory: str, tmp_path: Path) -> None:
    (tmp_path / "no directory").touch()
    spool = Spool(tmp_path / directory, slow=1e12, window=AT_ONCE, reserve=2**60 if directory == "no room" else 0)
    data, upload = snapshot(12 * MIB), slow()
    pumped = pump(stream(data), Codec(), {"a": upload}, spool=spool)
    check(pumped, data, upload, Codec())
    assert pumped.spooled_bytes == 0
    assert "the member was held until they had it" in pumped.note
    assert str(spool.directory) in pumped.note


def test_the_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_TELL_EVERY", 0.01)
    data, seen = snapshot(20 * MIB), list[Progress]()
    pumped = pump(stream(data), Codec("zstd"), {"a": slow(0.01)}, progress=seen.append, expected=len(data) + 1)
    assert [one.captured for one in seen] == sorted(one.captured for one in seen)
    early, last = seen[0], seen[-1]
    assert early.remaining is not None
    assert early.remaining > 0
    assert early.rate > 0
    assert (last.captured, last.sent, last.encoded) == (len(data), pumped.object_bytes, pumped.object_bytes)
    assert last.released
    assert last.remaining == 0


def test_who_breaks_off_leaves_nothing() -> None:
    def interrupted(progress: Progress) -> None:
        raise KeyboardInterrupt

    upload = slow(0.2)
    with pytest.raises(KeyboardInterrupt):
        pump(stream(snapshot(20 * MIB)), Codec("zstd", LOCKS), {"a": upload}, progress=interrupted)
    assert upload.ended == "aborted"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("snapshot-", "store-"))]


_IN_A_PROCESS = """
import sys
from tests.unit.snapshots.test_pipeline import *
block = random.Random(1).randbytes(MIB)
uploads = {name: DirectoryStore(name, Path(sys.argv[1]), "prod-a").upload(name) for name in ("a", "b")}
peak = lambda: Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]  # KiB
begun = peak()
pump((block for _ in range(160)), Codec("zstd", LOCKS), uploads, trailer="optional")
print(begun, peak())
"""


def test_memory_does_not_grow_with_the_snapshot(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _IN_A_PROCESS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    before, peak = (int(word) // 1024 for word in done.stdout.split())
    assert peak < 200, "MiB, of the whole process"
    assert peak - before < 80, "MiB, for 160 MiB to two stores"
