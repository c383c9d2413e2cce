"""etcd's programs for the worker's own use."""

import subprocess
from pathlib import Path

import pytest

from tasks.cluster.spec import Release
from tasks.etcd.versions import NEWEST
from tasks.etcd.worker_tools import release_for, worker_tools

pytestmark = pytest.mark.component


def test_tools_are_unpacked_once_and_again_when_they_have_decayed(etcd_release_dir: Path, tmp_path: Path) -> None:
    release = Release(NEWEST["3.6"], str(etcd_release_dir), None, tmp_path)
    tools = worker_tools(release)
    said = subprocess.run([tools.etcdutl, "version"], capture_output=True, text=True, check=True).stdout
    assert f"etcdutl version: {tools.version}" in said
    before = tools.etcd.stat().st_ino
    assert worker_tools(release) == tools
    assert tools.etcd.stat().st_ino == before
    size = tools.etcd.stat().st_size
    with tools.etcd.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"decayed")
    assert worker_tools(release) == tools
    assert b"decayed" not in tools.etcd.read_bytes()[size // 2 : size // 2 + 10]


@pytest.mark.parametrize(
    ("snapshot", "tool"),
    [
        ("3.6.1", "3.6.10"),
        ("3.5.9", NEWEST["3.5"]),
        ("3.7.0", NEWEST["3.7"]),
        ("3.4.30", NEWEST["3.5"]),
        ("3.8.0", "3.6.10"),
        ("", "3.6.10"),
        ("?", "3.6.10"),
    ],
)
def test_the_tools_of_the_snapshots_own_minor(snapshot: str, tool: str) -> None:
    release = Release("3.6.10", "official", "ab", Path("/cache"))
    assert release_for(release, snapshot).version == tool
    assert release_for(release, snapshot).sha256 == ("ab" if tool == "3.6.10" else None)
