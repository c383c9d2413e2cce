import fcntl
import hashlib
import io
import struct
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from tasks.cluster.spec import Release
from tasks.errors import InputError, ReleaseError
from tasks.etcd.release import ETCD, fetch
from tasks.releases.sources import candidates

VERSION = "3.6.16"
NAME = f"etcd-v{VERSION}-linux-amd64.tar.gz"


def elf(name: str, machine: int = 62, order: str = "<") -> bytes:
    head = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + b"\x01" + bytes(9)
    return head + struct.pack(f"{order}HH", 2, machine) + name.encode() * 100


def pack(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def release_files(top: str = f"etcd-v{VERSION}-linux-amd64/", **changes: bytes) -> dict[str, bytes]:
    names = ("etcd", "etcdctl", "etcdutl")
    return {f"{top}README.md": b"hello", **{f"{top}{name}": changes.get(name, elf(name)) for name in names}}


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sums(directory: Path, *names: str) -> None:
    lines = [f"{sha(directory / name)}  {name}\n" for name in names]
    (directory / "SHA256SUMS").write_text("0" * 64 + "  other.zip\n" + "".join(lines))


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    directory = tmp_path / "mirror" / f"v{VERSION}"
    pack(directory / NAME, release_files())
    sums(directory, NAME)
    return tmp_path / "mirror"


def release(source: object, tmp_path: Path, sha256: str | None = None, version: str = VERSION) -> Release:
    return Release(version, str(source), sha256, tmp_path / "cache")


def test_from_a_directory(mirror: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    got = fetch(release(mirror, tmp_path), "amd64", lambda done, total: seen.append((done, total)))
    tarball = mirror / f"v{VERSION}" / NAME
    assert got.tarball.read_bytes() == tarball.read_bytes()
    assert got.sha256 == sha(tarball)
    assert got.binaries["etcdutl"].sha256 == hashlib.sha256(elf("etcdutl")).hexdigest()
    assert got.binaries["etcdutl"].size == len(elf("etcdutl"))
    assert seen[-1] == (tarball.stat().st_size, tarball.stat().st_size)


def test_from_a_flat_directory_and_a_tarball(mirror: Path, tmp_path: Path) -> None:
    flat = mirror / f"v{VERSION}"
    assert fetch(release(flat, tmp_path), "amd64").sha256 == sha(flat / NAME)
    assert fetch(release(flat / NAME, tmp_path), "amd64").sha256 == sha(flat / NAME)


def test_a_pinned_sum_needs_no_sums_file(mirror: Path, tmp_path: Path) -> None:
    flat = mirror / f"v{VERSION}"
    (flat / "SHA256SUMS").unlink()
    pinned = sha(flat / NAME)
    assert fetch(release(mirror, tmp_path, pinned), "amd64").sha256 == pinned
    assert fetch(release(flat, tmp_path, pinned.upper()), "amd64").sha256 == pinned


def test_a_pinned_sum_beats_the_sums_file(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"pinned etcd\.release\.sha256 says " + "1" * 64):
        fetch(release(mirror, tmp_path, "1" * 64), "amd64")


def test_a_pinned_release_in_the_cache_needs_no_source(mirror: Path, tmp_path: Path) -> None:
    flat = mirror / f"v{VERSION}"
    pinned = sha(flat / NAME)
    first = fetch(release(flat, tmp_path, pinned), "amd64")
    (flat / NAME).unlink()
    assert fetch(release(flat, tmp_path, pinned), "amd64") == first


def test_without_any_sum_it_is_refused(mirror: Path, tmp_path: Path) -> None:
    (mirror / f"v{VERSION}" / "SHA256SUMS").unlink()
    with pytest.raises(ReleaseError, match="nothing to check") as caught:
        fetch(release(mirror, tmp_path), "amd64")
    assert "etcd.release.sha256" in str(caught.value)


def test_without_a_line_in_the_sums_it_is_refused(mirror: Path, tmp_path: Path) -> None:
    (mirror / f"v{VERSION}" / "SHA256SUMS").write_text("0" * 64 + f"  {NAME}.asc\n")
    with pytest.raises(ReleaseError, match="has no line for"):
        fetch(release(mirror, tmp_path), "amd64")


def test_a_changed_tarball_is_refused_and_leaves_nothing_behind(mirror: Path, tmp_path: Path) -> None:
    with (mirror / f"v{VERSION}" / NAME).open("ab") as file:
        file.write(b"x")
    with pytest.raises(ReleaseError, match="is not what it should be"):
        fetch(release(mirror, tmp_path), "amd64")
    assert [p for p in (tmp_path / "cache").rglob("*") if not p.name.startswith(".lock")] == []


def test_a_decayed_cache_is_fetched_again(mirror: Path, tmp_path: Path) -> None:
    got = fetch(release(mirror, tmp_path), "amd64")
    got.tarball.write_bytes(b"rot")
    again = fetch(release(mirror, tmp_path), "amd64")
    assert again == got
    assert sha(again.tarball) == got.sha256


def test_a_directorys_new_sums_are_believed(mirror: Path, tmp_path: Path) -> None:
    old = fetch(release(mirror, tmp_path), "amd64")
    directory = mirror / f"v{VERSION}"
    pack(directory / NAME, release_files(etcd=elf("another")))
    sums(directory, NAME)
    new = fetch(release(mirror, tmp_path), "amd64")
    assert new.sha256 != old.sha256
    assert new.binaries["etcd"] != old.binaries["etcd"]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (release_files(etcdctl=elf("etcdctl", machine=183)), "built for arm64, the hosts are amd64"),
        (release_files(etcd=elf("etcd", machine=22, order=">")), "built for s390x"),
        (release_files(etcd=elf("etcd", machine=9999)), "machine 9999"),
        (release_files(etcd=b"#!/bin/sh\n"), "no Linux program"),
        (release_files(etcd=b""), "no Linux program"),
        ({"etcd": elf("etcd"), "etcdctl": elf("etcdctl")}, "has no etcdutl"),
        ({**release_files(), "../../etc/cron.d/x": b"x"}, "unsafe path"),
        ({**release_files(), "/etc/cron.d/x": b"x"}, "unsafe path"),
        (release_files("etcd-v3.5.35-linux-amd64/"), "holds etcd-v3.5.35-linux-amd64"),
    ],
)
def test_contents_are_looked_at_before_any_host(files: dict[str, bytes], sentence: str, tmp_path: Path) -> None:
    pack(tmp_path / NAME, files)
    with pytest.raises(ReleaseError, match=sentence):
        fetch(release(tmp_path, tmp_path, sha(tmp_path / NAME)), "amd64")


def test_links_are_no_programs(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / NAME, "w:gz") as archive:
        for name in ("etcd", "etcdctl", "etcdutl"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/bin/sh"
            archive.addfile(info)
    with pytest.raises(ReleaseError, match="has no etcd, etcdctl, etcdutl"):
        fetch(release(tmp_path, tmp_path, sha(tmp_path / NAME)), "amd64")


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x1f\x8b\x08junk"])
def test_what_is_no_tarball(content: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(ReleaseError):
        fetch(release(tmp_path, tmp_path, sha(tmp_path / NAME)), "amd64")


def test_a_cut_tarball_with_the_right_sum(tmp_path: Path) -> None:
    whole = pack(tmp_path / "whole", release_files()).read_bytes()
    (tmp_path / NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReleaseError, match="can't be read as"):
        fetch(release(tmp_path, tmp_path, sha(tmp_path / NAME)), "amd64")


def test_packed_flat_is_fine(tmp_path: Path) -> None:
    pack(tmp_path / NAME, release_files("./"))
    assert fetch(release(tmp_path, tmp_path, sha(tmp_path / NAME)), "amd64").binaries["etcd"].member == "./etcd"


def test_missing_source_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="/nowhere does not exist"):
        fetch(release("/nowhere", tmp_path), "amd64")


def test_other_architectures_and_versions(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="not released for mips"):
        fetch(release(tmp_path, tmp_path), "mips")
    with pytest.raises(InputError):
        fetch(release(tmp_path, tmp_path, version="3.4.1"), "amd64")


def test_a_cache_that_cannot_be_made(mirror: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ReleaseError, match=r"the cache .* can't be used"):
        fetch(release(mirror, tmp_path), "amd64")


def test_two_at_once_wait_for_each_other(mirror: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with (tmp_path / "cache" / f".lock-{ETCD.top(VERSION, 'amd64')}").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(fetch(release(mirror, tmp_path), "amd64")))
        thread.start()
        thread.join(0.3)
        assert results == []
    thread.join(5)
    assert len(results) == 1


def test_where_it_is_looked_for() -> None:
    (official,) = candidates(ETCD, "official", VERSION, "arm64")
    assert official.tarball == (
        "https://github.com/etcd-io/etcd/releases/download/v3.6.16/etcd-v3.6.16-linux-arm64.tar.gz"
    )
    tree, flat = candidates(ETCD, "https://me:secret@m.example/etcd/", VERSION, "amd64")
    assert tree.tarball == f"https://m.example/etcd/v3.6.16/{NAME}"
    assert flat.sums == "https://m.example/etcd/SHA256SUMS"
    assert tree.login == ("me", "secret")
    assert "secret" not in repr(tree)
