"""What every store promises, tried on every store and every server."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.errors import StoreConflict, StoreCorrupt, StoreError, StoreMissing
from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.directory import DirectoryStore
from tasks.snapshots.stores.s3 import S3Store
from tasks.snapshots.stores.s3_parts import LEAST
from tests.s3.server import nowhere

MIB = 1 << 20
ODD = (
    "plus+space and=more&less",
    "percent%20/%2e%2e/x",
    "ümläut/日本.db",
    "a.b/c..d",
    "tilde~'quote'\"double\"",
    "deep/" + "x/" * 30 + "end",
    "n" * 200,
    "question?hash#star*/brackets[1]{2}",
)
UNFIT = ("", "/a", "a/", "a//b", "../a", "a/../b", ".hidden", "a/.b", "a\nb", "a\\b", "\ud800", "y" * 201)


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


def keys(store: Store, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix)]


def test_small_objects_come_and_go(store: Store) -> None:
    assert keys(store) == []
    assert store.head("manifests/a.json") is None
    with pytest.raises(StoreMissing):
        store.get("manifests/a.json")
    with pytest.raises(StoreMissing):
        list(store.read("manifests/a.json"))
    before = datetime.now(UTC) - timedelta(seconds=2)
    store.put("manifests/a.json", b"one")
    store.put("manifests/a.json", b"another")
    store.put("empty", b"")
    assert store.get("manifests/a.json") == b"another"
    assert store.get("empty") == b""
    found = store.head("manifests/a.json")
    assert found is not None
    assert (found.key, found.bytes, found.locked_until) == ("manifests/a.json", 7, None)
    assert before <= found.modified <= datetime.now(UTC) + timedelta(seconds=2)
    assert found.modified.tzinfo is UTC
    assert store.head("manifests") is None
    for _ in range(2):
        store.delete("manifests/a.json")
    assert keys(store) == ["empty"]


def test_other_bytes_have_another_version(store: Store) -> None:
    seen = []
    for content in (b"one", b"two"):
        store.put("marks/1/a.json", content)
        (entry,) = store.list("marks/")
        found = store.head("marks/1/a.json")
        assert found is not None
        assert found.version == entry.version != ""
        seen.append(entry.version)
    assert seen[0] != seen[1]


def test_only_new(store: Store) -> None:
    store.put("marks/1/a.json", b"first", only_new=True)
    with pytest.raises(StoreConflict, match="already"):
        store.put("marks/1/a.json", b"second", only_new=True)
    assert store.get("marks/1/a.json") == b"first"
    store.delete("marks/1/a.json")
    store.put("marks/1/a.json", b"third", only_new=True)
    assert keys(store) == ["marks/1/a.json"]
    assert store.sweep(datetime.now(UTC) + timedelta(hours=1)) == ()


def test_of_many_writers_one_wins(store: Store) -> None:
    start = threading.Barrier(6)

    def write(number: int) -> bool:
        start.wait()
        try:
            store.put("manifests/x.json", str(number).encode(), only_new=True)
        except StoreConflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(write, range(6)))
    assert won.count(True) == 1
    assert store.get("manifests/x.json") == str(won.index(True)).encode()


def test_listing_is_by_prefix_and_ordered_by_bytes(store: Store) -> None:
    made = ["a-b/c", "a/b", "a/b-c", "a/bc/d", "b", "manifests/2.json", "manifests/10.json", "é", "Z"]
    for key in made:
        store.put(key, key.encode())
    assert keys(store) == sorted(made, key=str.encode)
    assert keys(store, "a/b") == ["a/b", "a/b-c", "a/bc/d"]
    assert keys(store, "manifests/") == ["manifests/10.json", "manifests/2.json"]
    assert keys(store, "nothing/here") == keys(store, "../") == []


def test_odd_keys(store: Store) -> None:
    for key in ODD:
        store.put(key, key.encode())
    assert keys(store) == sorted(ODD, key=str.encode)
    for key in ODD:
        assert store.get(key) == key.encode()
        assert keys(store, key) == [key]
    for key in ODD:
        store.delete(key)
    assert keys(store) == []


@pytest.mark.parametrize("key", UNFIT)
def test_keys_that_no_store_takes(key: str, tmp_path: Path) -> None:
    for store in (DirectoryStore("local", tmp_path, "prod-a"), S3Store("offsite", nowhere(), "prod-a", None)):
        for call in (store.get, store.head, store.delete, store.upload, store.read):
            with pytest.raises(StoreError, match="can't be the key"):
                call(key)
        with pytest.raises(StoreError, match="can't be the key"):
            store.put(key, b"")


def test_uploads_of_all_sizes(store: Store) -> None:
    for size in (0, 1, LEAST, LEAST + 1, 13 * MIB + 5):
        key = f"data/{size}/snapshot.db"
        data = os.urandom(size)
        sha256 = hashlib.sha256(data).hexdigest()
        with store.upload(key, size_hint=None if size % 2 else size, hashed=size % 2 == 0) as upload:
            for start in range(0, size, 700_001):
                upload.write(data[start : start + 700_001])
            assert store.head(key) is None
            stored = upload.commit("" if size % 2 else sha256)
        assert (stored.key, stored.bytes, stored.sha256) == (key, size, sha256)
        assert stored.proof == ("read back" if isinstance(store, DirectoryStore) else "checksum")
        for start in {0, 1, size // 2, max(size - 1, 0), size, size + 10}:
            assert b"".join(store.read(key, start)) == data[start:]
        assert max((len(piece) for piece in store.read(key)), default=0) <= MIB
        upload.abort()
        with pytest.raises(StoreError, match="ended"):
            upload.write(b"x")
        with pytest.raises(StoreError, match="ended"):
            upload.commit()
        assert keys(store, f"data/{size}/") == [key]


def test_a_hash_of_other_bytes_is_refused(store: Store) -> None:
    with store.upload("data/1/snapshot.db", hashed=True) as upload:
        upload.write(b"one")
        with pytest.raises(StoreCorrupt):
            upload.commit(hashlib.sha256(b"two").hexdigest())
    assert keys(store) == []


def aborted(store: Store) -> None:
    upload = store.upload("data/1/snapshot.db")
    upload.write(b"x" * (20 * MIB))
    upload.abort()
    upload.abort()


def left_by_a_failure(store: Store) -> None:
    with suppress(ZeroDivisionError), store.upload("data/1/snapshot.db") as upload:
        upload.write(b"x" * (20 * MIB))
        upload.write(b"x" * (1 // 0))


def never_begun(store: Store) -> None:
    with store.upload("data/1/snapshot.db"):
        pass


@pytest.mark.parametrize("end", [aborted, left_by_a_failure, never_begun])
def test_what_is_not_committed_leaves_nothing(store: Store, end: Callable[[Store], None]) -> None:
    store.put("data/0", b"kept")
    end(store)
    assert keys(store) == ["data/0"]
    assert store.sweep(datetime.now(UTC) + timedelta(hours=1)) == ()


def test_an_upload_replaces_only_at_its_end(store: Store) -> None:
    store.put("data/x", b"old")
    with store.upload("data/x") as upload:
        upload.write(b"n" * (9 * MIB))
        assert store.get("data/x") == b"old"
        upload.commit()
    assert store.get("data/x") == b"n" * (9 * MIB)


def test_uploads_at_once_do_not_meet(store: Store) -> None:
    contents = {f"data/{number}": os.urandom(11 * MIB + number) for number in range(3)}

    def write(key: str) -> None:
        with store.upload(key) as upload:
            upload.write(contents[key])
            upload.commit()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, contents))
    assert {key: b"".join(store.read(key)) for key in keys(store)} == contents


def test_the_sweep_takes_only_what_is_old(store: Store) -> None:
    store.put("data/0", b"kept")
    upload = store.upload("data/1")
    upload.write(b"x" * (9 * MIB))
    assert store.sweep(datetime.now(UTC) - timedelta(minutes=1)) == ()
    swept = store.sweep(datetime.now(UTC) + timedelta(minutes=1))
    assert len(swept) == 1
    assert "data/" in swept[0]
    with pytest.raises(StoreError):
        upload.commit()
    assert keys(store) == ["data/0"]


def test_reading_can_stop_early(store: Store) -> None:
    with store.upload("data/x") as upload:
        upload.write(os.urandom(20 * MIB))
        upload.commit()
    for _ in range(20):
        pieces = store.read("data/x")
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
    assert len(b"".join(store.read("data/x"))) == 20 * MIB
