"""Which old data may go: never what is in use, never what may be the only copy, and the newest ones last."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.errors import CommandFailed, Refused
from tasks.restore.old_dirs import Old, OldDir, RemoveOldDirs, parse, plan_prune, refuse_only_copies, removal
from tasks.restore.record import to_json
from tasks.snapshots.stores.directory import DirectoryStore
from tests.unit.restore.scene import cluster, record
from tests.unit.snapshots.shelf import NOW, catalog_of, shelve

CLUSTER = cluster(1)
(HOST,) = CLUSTER.hosts
BASE = HOST.paths.data_dir
RECORD = record(CLUSTER, began=NOW.timestamp())


def found(*names: str, former: str = "") -> dict[str, Old]:
    dirs = tuple(OldDir(f"{BASE}/{name}", 1 << 20, 100.0 - n) for n, name in enumerate(names))
    return {HOST.name: Old(dirs, (RECORD,), former)}


def removed(old: dict[str, Old], keep: int) -> RemoveOldDirs | None:
    actions = [step.action for step in plan_prune(CLUSTER, old, keep).steps]
    return actions[0] if actions and isinstance(actions[0], RemoveOldDirs) else None


def test_the_newest_stay() -> None:
    old = found("restored-22222222", "restored-11111111", "member", former=f"{BASE}/restored-22222222")
    one = removed(old, keep=1)
    assert one is not None
    assert one.paths == (f"{BASE}/restored-11111111", f"{BASE}/member")
    assert not one.no_way_back
    everything = removed(old, keep=0)
    assert everything is not None
    assert everything.no_way_back
    assert "can't be taken back any more" in plan_prune(CLUSTER, old, 0).notes[-1]
    assert removed(old, keep=3) is None


def test_what_hosts_tell() -> None:
    told = base64.b64encode(to_json(RECORD)).decode()
    lines = [f"dir\t100\t5.5\t{RECORD.data_dir(HOST)}", f"dir\t7\t9.0\t{BASE}/member", f"record\t{told}", "former\t/x"]
    old = parse(HOST, "\n".join(lines))
    assert [(one.path, one.bytes, one.restore) for one in old.dirs] == [
        (f"{BASE}/member", 7 << 10, ""),
        (RECORD.data_dir(HOST), 100 << 10, RECORD.id),
    ]
    assert (old.records, old.former) == ((RECORD,), "/x")
    with pytest.raises(CommandFailed):
        parse(HOST, "dir\tmany\t1\t/x")


def test_a_verified_snapshot_must_be_newer_than_the_last_restore(tmp_path: Path) -> None:
    store = DirectoryStore("local", tmp_path, "prod-a")
    old = found("member")

    def entries() -> list[str]:
        newest = refuse_only_copies(old, catalog_of(store).entries)
        return [newest.id] if newest else []

    shelve(store, NOW - timedelta(hours=1), 1, level="restored")
    shelve(store, NOW + timedelta(hours=1), 2)
    shelve(store, NOW + timedelta(hours=2), 3, bad="a page is broken")
    shelve(store, NOW + timedelta(hours=3), 4, kind="safety", level="opened")
    with pytest.raises(Refused, match="no verified snapshot"):
        entries()
    good = shelve(store, NOW + timedelta(hours=4), 5, level="opened")
    assert entries() == [good.id]


@pytest.mark.parametrize("path", ["/var/lib/other/member", f"{BASE}/member/../..", BASE, f"{BASE}/elsewhere"])
def test_nothing_else_is_ever_removed(path: str) -> None:
    with pytest.raises(AssertionError):
        removal(HOST, RemoveOldDirs((path,), no_way_back=False))
