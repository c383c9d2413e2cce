"""What a directory store promises beyond the contract: durable, private, honest about a disk that is full or broken."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.errors import StoreConflict, StoreCorrupt, StoreError, StoreMissing
from tasks.snapshots.stores.directory import DirectoryStore
from tests.conftest import not_run

MIB = 1 << 20
needs_root = [] if os.geteuid() == 0 else [not_run("mounting a small disk needs root")]


def file_of(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def write(store: DirectoryStore, key: str, mebibytes: int) -> None:
    with store.upload(key) as upload:
        for _ in range(mebibytes):
            upload.write(os.urandom(MIB))
        upload.commit()


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_private_whatever_the_umask(directory_store: DirectoryStore, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        directory_store.put("manifests/a.json", b"{}")
        directory_store.put("marks/1/a.json", b"{}", only_new=True)
        with directory_store.upload("data/1/x") as upload:
            upload.write(b"x")
            upload.commit()
    finally:
        os.umask(old)
    for path in (tmp_path / "backups", *(tmp_path / "backups").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_order_of_what_reaches_the_disk(
    directory_store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes before their name, the name before the promise: what a power cut can't take apart."""
    done: list[str] = []
    real_sync, real_rename = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        done.append(f"fsync {file_of(descriptor).name.partition('.')[0] or 'part'}")
        real_sync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        done.append("rename")
        return real_rename(path, target)

    directory_store.put("data/1/y", b"makes the directories")
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", rename)
    with directory_store.upload("data/1/x") as upload:
        upload.write(b"x")
        upload.commit()
    directory_store.put("data/1/z", b"z")
    assert done == ["fsync part", "rename", "fsync 1"] * 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m,nr_inodes=40", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("_", [pytest.param(0, marks=needs_root)])
def test_a_full_disk(_: int, small_disk: Path) -> None:
    store = DirectoryStore("local", small_disk / "backups", "prod-a")
    write(store, "data/1/x", 15)
    before = everything(small_disk)
    with pytest.raises(StoreError) as caught:
        write(store, "data/2/x", 20)
    text = str(caught.value)
    assert "can't write data/2/x after" in text
    assert "No space left on device" in text
    assert "MB are free" in text
    assert "prune-snapshots" in text
    assert "nothing half-written is left" in text
    with pytest.raises(StoreError, match="No space left"):
        store.put("manifests/a.json", os.urandom(6 * MIB))
    assert everything(small_disk) == before
    store.delete("data/1/x")
    write(store, "data/2/x", 15)


@pytest.mark.parametrize("_", [pytest.param(0, marks=needs_root)])
def test_a_disk_without_inodes(_: int, small_disk: Path) -> None:
    store = DirectoryStore("local", small_disk / "backups", "prod-a")
    store.put("manifests/a.json", b"{}")
    with suppress(OSError):
        for number in range(40):
            (small_disk / f"{number}").touch()
    before = everything(small_disk)
    with pytest.raises(StoreError, match=r"No space left on device.*no inodes"):
        store.put("marks/1/a.json", b"")
    assert everything(small_disk) == before


@pytest.mark.parametrize("_", [pytest.param(0, marks=needs_root)])
def test_a_disk_that_became_read_only(_: int, small_disk: Path) -> None:
    store = DirectoryStore("local", small_disk / "backups", "prod-a")
    store.put("manifests/a.json", b"{}")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for call in (lambda: store.put("b", b""), lambda: store.upload("b"), lambda: store.delete("manifests/a.json")):
        with pytest.raises(StoreError, match=r"Read-only file system(.|\n)*dmesg"):
            call()
    assert store.get("manifests/a.json") == b"{}"


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    store = DirectoryStore("local", tmp_path / "not/mounted", "prod-a")
    for call in (lambda: store.put("a", b""), lambda: store.upload("a"), lambda: list(store.list(""))):
        with pytest.raises(StoreMissing, match=r"mount the file system"):
            call()
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").touch()
    with pytest.raises(StoreMissing, match="Not a directory"):
        DirectoryStore("local", tmp_path / "file", "prod-a").put("a", b"")


@pytest.mark.parametrize("_", [pytest.param(0, marks=needs_root)])
def test_a_disk_that_is_not_mounted_is_no_store_without_snapshots(_: int, tmp_path: Path) -> None:
    place, state = tmp_path / "backups", tmp_path / "state"
    place.mkdir()
    state.mkdir(mode=0o700)

    def opened() -> DirectoryStore:
        return DirectoryStore("local", place, "prod-a", state / "stores" / "local")

    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(place)]
    subprocess.run(mount, check=True)
    try:
        assert list(opened().list("")) == [], "before its first backup it is empty"
        with opened().upload("data/1/x"):
            pass  # one that failed
        assert list(opened().list("")) == []
        opened().put("manifests/a.json", b"{}")
    finally:
        subprocess.run(["umount", str(place)], check=True)
    for call in (lambda: opened().put("a", b""), lambda: opened().upload("a"), lambda: list(opened().list("data/"))):
        with pytest.raises(StoreMissing, match=r"prod-a is not there, but snapshots were put there before") as caught:
            call()
        assert f"mkdir -m 0700 {place}/prod-a" in str(caught.value)
    assert list(place.iterdir()) == [], "nothing went to the disk below"
    (place / "prod-a").mkdir()
    opened().put("b", b"")
    opened().delete("b")
    assert list(opened().list("")) == [], "empty again, and known to be so"
    moved = DirectoryStore("local", tmp_path / "elsewhere", "prod-a", state / "stores" / "local")
    assert list(moved.list("")) == [], "another place is another store"


def test_a_disk_that_gives_back_something_else(
    directory_store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def rot(descriptor: int) -> None:
        real(descriptor)
        name = file_of(descriptor)
        if name.suffix == ".part":
            with name.open("r+b") as file:
                file.seek(500)
                file.write(b"!")

    monkeypatch.setattr(os, "fsync", rot)
    with pytest.raises(StoreCorrupt, match="is not what was written"):
        write(directory_store, "data/1/x", 1)
    assert list(directory_store.list("")) == []
    assert everything(tmp_path / "backups") == set()


def test_a_file_that_shrinks_while_it_is_read(directory_store: DirectoryStore, tmp_path: Path) -> None:
    directory_store.put("data/x", bytes(3 * MIB))
    pieces = directory_store.read("data/x")
    next(pieces)
    os.truncate(tmp_path / "backups/prod-a/data/x", 100)
    with pytest.raises(StoreCorrupt, match="shorter while it was read"):
        list(pieces)


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_only_new_on_file_systems_without_links(
    code: int, directory_store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    directory_store.put("manifests/a.json", b"first", only_new=True)
    with pytest.raises(StoreConflict):
        directory_store.put("manifests/a.json", b"second", only_new=True)
    assert directory_store.get("manifests/a.json") == b"first"
    assert [entry.key for entry in directory_store.list("")] == ["manifests/a.json"]


def test_names_that_no_store_gives_do_not_hide_what_is_there(directory_store: DirectoryStore, tmp_path: Path) -> None:
    """One file that somebody copied there must not keep a cluster from being restored."""
    directory_store.put("manifests/a.json", b"x")
    folder = tmp_path / "backups/prod-a/manifests"
    for name in (b"old-\xfcber.json", b"line\nfeed.json", b"colour\x1b[31m.json", b"back\\slash.json", b"y" * 250):
        (folder / os.fsdecode(name)).write_bytes(b"{}")
    (folder / "circle.json").symlink_to("circle.json")
    (folder / "nowhere.json").symlink_to("absent")
    assert [entry.key for entry in directory_store.list("manifests/")] == ["manifests/a.json"]


def test_other_files_in_the_directory_are_left_alone(directory_store: DirectoryStore, tmp_path: Path) -> None:
    directory_store.put("data/1/x", b"x")
    home = tmp_path / "backups/prod-a"
    (home / ".hidden").write_text("mine")
    (home / "data/1/.nfs0001").write_text("the kernel's")
    (home / "data/1/.x.0123456789ab.part").write_text("left by a crash")
    os.utime(home / "data/1/.x.0123456789ab.part", (0, 0))
    (home / "empty").mkdir()
    os.utime(home / "empty", (0, 0))
    assert [entry.key for entry in directory_store.list("")] == ["data/1/x"]
    assert directory_store.sweep(datetime.now(UTC) - timedelta(hours=1)) == ("data/1/.x.0123456789ab.part",)
    assert everything(home) == {".hidden", "data", "data/1", "data/1/.nfs0001", "data/1/x"}
