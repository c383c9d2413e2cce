"""Snapshots opened by etcd's own tools, whole and damaged ones."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.errors import SnapshotError
from tasks.etcd.client import Client
from tasks.etcd.versions import NEWEST
from tasks.etcd.worker_tools import WorkerTools
from tasks.snapshots.opened import open_snapshot
from tasks.snapshots.scratch import scratch, sweep
from tests.component.etcd.conftest import Member, binaries

pytestmark = pytest.mark.component
Make = Callable[..., list[Member]]


def tools_of(version: str) -> WorkerTools:
    folder = binaries(version)
    return WorkerTools(version, folder / "etcd", folder / "etcdutl")


def save(client: Client, path: Path) -> Path:
    """A snapshot of what the member has now."""
    with client.snapshot() as stream, path.open("wb") as file:
        file.writelines(stream)
    return path


def write_some(client: Client) -> None:
    """Live keys, history, deleted keys."""
    for number in range(20):
        client.put(b"/keys/%d" % (number % 8), os.urandom(20_000))
    client.delete(b"/keys/3")


@pytest.mark.parametrize("version", NEWEST.values())
def test_what_is_found_is_what_the_member_had(version: str, make_members: Make, tmp_path: Path) -> None:
    (member,) = make_members(version)
    member.start()
    with member.client() as client:
        write_some(client)
        earlier = client.hash_kv()
        client.put(b"/more", b"x")
        live = client.hash_kv()
        db = save(client, tmp_path / "whole.db")
        before = db.read_bytes()
        with scratch(tmp_path) as place:
            found = open_snapshot(db, tools_of(version), place, at=earlier.revision)
        assert not list(tmp_path.glob("etcd-flows-scratch-*"))
        assert db.read_bytes() == before
        assert (found.revision, found.keys) == (live.revision, client.count()) == (23, 8)
        assert vars(found.hashkv) == vars(live)
        assert found.hashkv_at is not None
        assert vars(found.hashkv_at) == vars(earlier)
        assert found.storage_version == ("" if version.startswith("3.5") else f"{version[:3]}.0")
        assert found.tool_version == version

        assert member.etcdctl("compact", "22").returncode == 0
        client.delete_prefix(b"/")
        assert member.etcdctl("compact", str(client.status().revision), "--physical").returncode == 0
        empty = save(client, tmp_path / "empty.db")
        with scratch(tmp_path) as place:
            found = open_snapshot(empty, tools_of(version), place, at=22)
        assert (found.revision, found.keys, found.hashkv_at) == (client.status().revision, 0, None)


def test_damage_is_noticed(make_members: Make, tmp_path: Path) -> None:
    (member,) = make_members()
    member.start()
    with member.client() as client:
        write_some(client)
        whole = save(client, tmp_path / "whole.db").read_bytes()
    tools, db = tools_of(NEWEST["3.6"]), tmp_path / "damaged.db"
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (bytes(flipped), whole[:-1], whole[: len(whole) // 3], whole + b"x", b"", b"no database" * 1000):
        db.write_bytes(content)
        with scratch(tmp_path) as place, pytest.raises(SnapshotError) as caught:
            open_snapshot(db, tools, place)
        assert "another snapshot" in str(caught.value.remedy)


def test_a_raw_copy_without_checksum(make_members: Make, tmp_path: Path) -> None:
    (member,) = make_members()
    member.start()
    with member.client() as client:
        write_some(client)
        keys = client.count()
    assert member.process is not None
    member.process.terminate()
    member.process.wait()
    raw = Path(member.host.paths.data_dir) / "member" / "snap" / "db"
    with scratch(tmp_path) as place, pytest.raises(SnapshotError, match="hash"):
        open_snapshot(raw, tools_of(NEWEST["3.6"]), place)
    with scratch(tmp_path) as place:
        assert open_snapshot(raw, tools_of(NEWEST["3.6"]), place, skip_hash_check=True).keys == keys


HELD = """
import sys, time
from pathlib import Path
from tests.component.snapshots.test_opened import tools_of
from tasks.snapshots.scratch import scratch
from tasks.snapshots.temporary import temporary_member
with scratch(Path(sys.argv[2])) as place, temporary_member(Path(sys.argv[1]), tools_of(sys.argv[3]), place) as client:
    print(client.count(), flush=True)
    time.sleep(60)
"""


def test_nothing_stays_when_the_worker_is_killed(make_members: Make, tmp_path: Path) -> None:
    (member,) = make_members()
    member.start()
    with member.client() as client:
        write_some(client)
        db = save(client, tmp_path / "whole.db")
    argv = [sys.executable, "-c", HELD, str(db), str(tmp_path), NEWEST["3.6"]]
    worker = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"7\n"
    (place,) = tmp_path.glob("etcd-flows-scratch-*")
    assert place.stat().st_mode & 0o777 == 0o700
    assert sweep(tmp_path) == []
    running = [int(path.name) for path in Path("/proc").glob("[0-9]*") if str(place).encode() in cmdline(path)]
    assert running
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    end = time.monotonic() + 10
    while any(str(place).encode() in cmdline(Path(f"/proc/{pid}")) for pid in running):
        assert time.monotonic() < end, "etcd goes on without its worker"
        time.sleep(0.05)
    with scratch(tmp_path):
        assert not place.exists()


def cmdline(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_scratch_needs_room(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="needed are"), scratch(tmp_path, needed=1 << 60):
        raise AssertionError("not reached")
    assert list(tmp_path.iterdir()) == []
