"""A stored snapshot comes back whole, or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tasks.cluster.secrets import Secret
from tasks.errors import (
    DecryptionError,
    EtcdFlowsError,
    InputError,
    SnapshotDamaged,
    SnapshotError,
    StoreCorrupt,
    StoreUnavailable,
)
from tasks.snapshots.age_keys import Keys, Locks
from tasks.snapshots.codec import Codec, Encoder
from tasks.snapshots.fetch import check_stored, fetch
from tasks.snapshots.stores.directory import DirectoryStore
from tests.unit.snapshots.shelf import NOW, database, only, shelve

IDENTITY = pyrage.x25519.Identity.generate()
KEYS = Keys(identity=Secret(str(IDENTITY)))
LOCKS = Locks(recipients=(str(IDENTITY.to_public()),))
BIG = 4000  # pages: 2 MB, several pieces


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore("local", tmp_path / "store", "prod-a")


@pytest.fixture(autouse=True)
def _base(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()


def encoder(codec: Codec) -> Callable[[bytes], bytes]:
    def encode(data: bytes) -> bytes:
        engine = Encoder(codec)
        return engine.update(data) + engine.finish()

    return encode


CODECS = {
    "clear": Codec(),
    "zstd": Codec("zstd"),
    "age": Codec("none", LOCKS),
    "zstd and age": Codec("zstd", LOCKS),
}


def stored(store: DirectoryStore, codec: Codec = CODECS["clear"], **changes: Any) -> bytes:
    """Put one snapshot there; tells the database."""
    settings = {"compression": codec.compression, "encryption": codec.encryption, "recipients": codec.recipients}
    shelve(store, encode=encoder(codec), pages=BIG, **settings, **changes)  # type: ignore[arg-type]
    return database(f"{NOW}0", BIG)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_what_was_stored_comes_back(store: DirectoryStore, tmp_path: Path, codec: Codec) -> None:
    data = stored(store, codec)
    seen: list[tuple[int, int]] = []
    target = tmp_path / "back.db"
    fetched = fetch(only(store), store, KEYS, target, lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == data
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert (fetched.path, fetched.bytes, fetched.has_trailer) == (target, len(data), True)
    assert fetched.sha256 == hashlib.sha256(data).hexdigest()
    assert seen[-1] == (only(store).manifest.object_bytes,) * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.db", "store"]
    check_stored(only(store), store)


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a byte in the middle": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "the first byte": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "the last byte": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "cut": lambda data: data[:-700],
    "empty": lambda data: b"",
    "appended": lambda data: data + b"x",
    "two blocks swapped": lambda data: data[65536:131072] + data[:65536] + data[131072:],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_changed_bytes_are_refused_and_leave_no_file(
    store: DirectoryStore, tmp_path: Path, codec: Codec, change: Callable[[bytes], bytes]
) -> None:
    stored(store, codec)
    entry = only(store)
    store.put(entry.manifest.object, change(store.get(entry.manifest.object)))
    for read in (lambda: fetch(entry, store, KEYS, tmp_path / "back.db"), lambda: check_stored(entry, store)):
        with pytest.raises(StoreCorrupt) as caught:
            read()
        assert "use another snapshot" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_wrong_key_is_told_from_changed_bytes(store: DirectoryStore, tmp_path: Path) -> None:
    stored(store, CODECS["zstd and age"])
    wrong = Keys(identity=Secret(str(pyrage.x25519.Identity.generate())))
    with pytest.raises(DecryptionError) as caught:
        fetch(only(store), store, wrong, tmp_path / "back.db")
    assert "the bytes in local are those that were stored" in str(caught.value)
    assert str(IDENTITY.to_public()) in str(caught.value)
    with pytest.raises(EtcdFlowsError):
        fetch(only(store), store, None, tmp_path / "back.db")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"db_sha256": "0" * 64}, "not the database that was captured"),
        ({"db_bytes": 2048}, "more comes out"),
        ({"db_bytes": 9_000_000}, "not the database that was captured"),
    ],
)
def test_what_comes_out_has_to_be_what_was_captured(
    store: DirectoryStore, tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    stored(store, CODECS["zstd"], **changes)
    with pytest.raises(SnapshotDamaged, match=what):
        fetch(only(store), store, None, tmp_path / "back.db")


def test_etcds_own_trailer_has_to_fit_unless_there_is_none(store: DirectoryStore, tmp_path: Path) -> None:
    raw = database("x")[:-32]
    sha = hashlib.sha256(raw).hexdigest()
    shelve(store, encode=lambda _: raw, db_sha256=sha, db_bytes=len(raw), via="stream")
    with pytest.raises(SnapshotError, match="does not end in the SHA-256"):
        fetch(only(store), store, None, tmp_path / "back.db")
    other = DirectoryStore("other", tmp_path / "store", "prod-b")
    shelve(other, encode=lambda _: raw, db_sha256=sha, db_bytes=len(raw), via="raw")
    assert not fetch(only(other), other, None, tmp_path / "back.db").has_trailer


def test_a_file_that_is_there_is_kept_and_taken_only_if_it_is_the_very_database(
    store: DirectoryStore, tmp_path: Path
) -> None:
    data = stored(store)
    target = tmp_path / "back.db"
    target.write_bytes(data[:-1] + b"!")
    with pytest.raises(InputError, match="is there already"):
        fetch(only(store), store, None, target)
    assert target.read_bytes() == data[:-1] + b"!"
    target.write_bytes(data)
    store.delete(only(store).manifest.object)  # nothing is read a second time
    assert fetch(only(store), store, None, target).bytes == len(data)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_fetch_that_was_killed_is_begun_anew(store: DirectoryStore, tmp_path: Path) -> None:
    data = stored(store)
    target = tmp_path / "back.db"
    left = tmp_path / ".back.db.part"
    script = f"""
import os, signal
from pathlib import Path
from tasks.snapshots.fetch import fetch
from tasks.snapshots.stores.directory import DirectoryStore
from tests.unit.snapshots.shelf import only
store = DirectoryStore("local", Path({str(tmp_path / "store")!r}), "prod-a")
def die(done, total):
    if done > 2**20:
        os.kill(os.getpid(), signal.SIGKILL)
fetch(only(store), store, None, Path({str(target)!r}), die)
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], check=False, timeout=60)
    assert killed.returncode == -9
    assert left.exists()
    assert not target.exists()
    fetch(only(store), store, None, target)
    assert target.read_bytes() == data
    assert not left.exists()


def test_two_fetches_do_not_write_one_file(store: DirectoryStore, tmp_path: Path) -> None:
    stored(store)
    target = tmp_path / "back.db"

    def meanwhile(_done: int, _total: int) -> None:
        with pytest.raises(InputError, match="another process"):
            fetch(only(store), store, None, target)

    fetch(only(store), store, None, target, meanwhile)
    assert target.exists()


def test_a_link_in_the_way_is_not_followed(store: DirectoryStore, tmp_path: Path) -> None:
    stored(store)
    (tmp_path / ".back.db.part").symlink_to(tmp_path / "victim")
    with pytest.raises(InputError, match=r"can't be written"):
        fetch(only(store), store, None, tmp_path / "back.db")
    assert not (tmp_path / "victim").exists()


def test_no_room_and_no_directory_are_told_before_anything_is_read(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(store)
    with pytest.raises(InputError, match=r"can't be used"):
        fetch(only(store), store, None, tmp_path / "nowhere" / "back.db")
    usage = os.statvfs(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 1000, "total": usage.f_blocks}))
    with pytest.raises(SnapshotError, match="only 1000 B are free"):
        fetch(only(store), store, None, tmp_path / "back.db")


class Failing(DirectoryStore):
    """A store that dies while it is read."""

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        yield next(super().read(key, start))
        raise StoreUnavailable("gone")


def test_a_store_that_dies_leaves_no_file(store: DirectoryStore, tmp_path: Path) -> None:
    stored(store)
    with pytest.raises(StoreUnavailable):
        fetch(only(store), Failing("local", tmp_path / "store", "prod-a"), None, tmp_path / "back.db")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
