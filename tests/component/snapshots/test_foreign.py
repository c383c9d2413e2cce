"""Files that others have made: recognised, compared, opened; and what is none of them."""

import gzip
import json
import os
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.errors import EtcdFlowsError, InputError, SnapshotDamaged
from tasks.etcd.versions import NEWEST
from tasks.snapshots.foreign import read_foreign
from tasks.snapshots.opened import open_snapshot
from tasks.snapshots.scratch import scratch
from tests.component.etcd.conftest import binaries, free_ports
from tests.component.snapshots.debian_etcd import VERSION, binaries_34
from tests.component.snapshots.test_opened import tools_of

pytestmark = pytest.mark.component


@dataclass(frozen=True)
class Made:
    """What plain etcdctl and cp made of a cluster with two keys at revision 5."""

    version: str
    saved: Path
    raw: Path
    hash: int


@pytest.fixture(scope="module", params=[VERSION, NEWEST["3.5"], NEWEST["3.6"]])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    version: str = request.param
    work = tmp_path_factory.mktemp("foreign")
    folder = binaries_34() if version == VERSION else binaries(version)
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    argv: list[str | Path] = [
        folder / "etcd",
        "--data-dir",
        work / "data",
        "--listen-client-urls",
        client,
        "--advertise-client-urls",
    ]
    argv += [client, "--listen-peer-urls", peer]
    ctl: list[str | Path] = [folder / "etcdctl", f"--endpoints={client}"]
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(work)} | ({"ETCDCTL_API": "3"} if version == VERSION else {})

    def run(*words: str) -> str:
        done = subprocess.run([*ctl, *words], env=environ, capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with (work / "log").open("w") as log:
        etcd = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 20
        while "ready to serve client requests" not in (work / "log").read_text():
            assert etcd.poll() is None, (work / "log").read_text()[-2000:]
            assert time.monotonic() < end
            time.sleep(0.05)
        for number in (1, 2, 3):
            run("put", f"k{number}", f"v{number}")
        run("del", "k2")
        run("snapshot", "save", str(work / "my snapshot.db"))
        hashed = json.loads(run("endpoint", "hashkv", "-w", "json"))[0]["HashKV"]["hash"]
    finally:
        etcd.terminate()
        etcd.wait()
    return Made(version, work / "my snapshot.db", work / "data/member/snap/db", hashed)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with scratch(tmp_path) as made:
        yield made


def test_what_etcdctl_saved(made: Made, place: Path) -> None:
    foreign, plain = read_foreign(made.saved, place)
    assert (foreign.kind, foreign.packed, foreign.revision) == ("etcdctl", "none", None)
    assert (plain.path, plain.source, plain.via) == (made.saved, "my snapshot.db", "file")
    assert "not known" in plain.notes[0]
    for line in NEWEST.values():  # whoever restores it may have moved on
        with scratch(place) as other:
            found = open_snapshot(plain.path, tools_of(line), other)
        assert (found.revision, found.keys, found.hashkv.hash) == (5, 2, made.hash)


def test_a_raw_copy(made: Made, place: Path) -> None:
    foreign, plain = read_foreign(made.raw, place)
    assert (foreign.kind, plain.via) == ("raw", "raw")
    assert "write-ahead log" in plain.notes[0]
    found = open_snapshot(plain.path, tools_of(NEWEST["3.6"]), place, skip_hash_check=True)
    assert (found.revision, found.keys) == (5, 2)


@pytest.fixture
def content() -> bytes:
    """A file that etcd 3.6 saved, without starting it again."""
    import hashlib

    page = bytearray(os.urandom(8192))
    page[16:20] = (0xED0CDAED).to_bytes(4, "little")
    return bytes(page) + hashlib.sha256(page).digest()


PACKERS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zlib": zlib.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_gardeners_full_snapshots(made: Made, place: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"Full-00000000-00000005-1732458600{suffix}"
    path.write_bytes(PACKERS[suffix](made.saved.read_bytes()))
    foreign, plain = read_foreign(path, place)
    assert (foreign.kind, foreign.revision) == ("gardener", 5)
    assert foreign.taken == datetime(2024, 11, 24, 14, 30, tzinfo=UTC)
    assert plain.path.read_bytes() == made.saved.read_bytes()
    assert plain.via == "file"
    assert plain.notes[1:] == ("taken 2024-11-24 14:30:00 UTC by its name", "revision 5 by its name")
    if suffix:
        assert plain.path.stat().st_mode & 0o777 == 0o600


def test_gzip_of_any_name_in_several_streams(content: bytes, place: Path, tmp_path: Path) -> None:
    path = tmp_path / "backup"
    path.write_bytes(gzip.compress(content[:5000], mtime=0) + gzip.compress(content[5000:], mtime=0))
    foreign, plain = read_foreign(path, place)
    assert (foreign.kind, foreign.packed) == ("etcdctl", "gzip")
    assert plain.path.read_bytes() == content


def test_damage(content: bytes, tmp_path: Path) -> None:
    flipped = bytearray(content)
    flipped[5000] ^= 1
    packed = gzip.compress(content, mtime=0)
    bad = {
        "flipped": bytes(flipped),
        "cut": content[:-7],
        "longer": content + b"x",
        "cut.gz": packed[:-20],
        "flipped.gz": packed[:3000] + bytes([packed[3000] ^ 1]) + packed[3001:],
        "Full-00000000-00000005-1732458600": content[:-32],
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        with scratch(tmp_path) as place, pytest.raises(SnapshotDamaged) as caught:
            read_foreign(tmp_path / name, place)
        assert caught.value.state == "nothing was imported", name


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("Incr-00000005-00000009-1732458600.gz", gzip.compress(b"x", mtime=0), "incremental"),
        ("Full-00000000-00000005-1732458600.Z", b"\x1f\x9dxx", "LZW"),
        ("a.age", b"age-encryption.org/v1\n", "encrypted with age"),
        ("a.zst", b"\x28\xb5\x2f\xfd1234", "zstd"),
        ("state.db", b"SQLite format 3\0" + bytes(496), "SQLite"),
        ("manifest.json", b'{"manifest": {}}', "JSON"),
        ("empty", b"", "empty"),
        ("text", b"hello" * 1000, "no etcd database"),
        ("packed text", gzip.compress(b"hello" * 1000, mtime=0), "no etcd database"),
    ],
)
def test_what_is_no_snapshot(name: str, data: bytes, said: str, place: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said) as caught:
        read_foreign(tmp_path / name, place)
    assert caught.value.remedy


def test_no_file(tmp_path: Path, place: Path) -> None:
    with pytest.raises(EtcdFlowsError, match="can't be read"):
        read_foreign(tmp_path / "none", place)
