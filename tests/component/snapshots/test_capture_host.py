"""Snapshots taken by etcdctl where the member is, as when only SSH gets there."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.errors import SnapshotError
from tasks.etcd.versions import NEWEST
from tasks.snapshots.capture_host import STALE, capture_host
from tests.component.etcd.conftest import Member
from tests.component.snapshots.test_source import revision_in

pytestmark = pytest.mark.component
Make = Callable[..., list[Member]]


def records(member: Member) -> Path:
    return Path(member.host.paths.record_dir)


@pytest.mark.parametrize("version", NEWEST.values())
def test_taken_read_and_removed(version: str, make_members: Make, tmp_path: Path) -> None:
    (member,) = make_members(version)
    member.start()
    with member.client() as client:
        for number in range(3):
            client.put(b"/a/%d" % number, os.urandom(1 << 20))
        status, live = client.status(), client.hash_kv()
    with capture_host(member.cluster, member.host, "20261124T120000Z-00000001", status.db_size) as capture:
        (place,) = records(member).iterdir()
        assert place.stat().st_mode & 0o777 == 0o700
        assert (place / "snapshot.db").stat().st_mode & 0o777 == 0o600
        content = b"".join(capture)
        facts = capture.facts()
    assert list(records(member).iterdir()) == []
    assert len(content) == capture.expected_bytes
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    assert facts.revision_min == facts.revision_max == revision_in(content, version, tmp_path / "snapshot.db") == 4
    assert facts.hashkv is not None
    assert vars(facts.hashkv) == vars(live)
    assert (facts.source, facts.via, facts.etcd_version) == ("m1", "host", version)
    assert (facts.etcd_cluster_id, facts.raft_term) == (status.cluster_id, status.raft_term)
    (listed,) = facts.members
    assert (listed.name, listed.id, listed.learner) == ("m1", status.member_id, False)
    assert facts.notes == ()


def test_what_others_have_left_is_removed_when_it_is_old(make_members: Make) -> None:
    (member,) = make_members()
    member.start()
    old, recent = records(member) / "capture-old", records(member) / "capture-recent"
    for place in (old, recent):
        place.mkdir(parents=True)
        (place / "snapshot.db.part").write_bytes(b"x")
    for path in (old / "snapshot.db.part", old):
        os.utime(path, (0, path.stat().st_mtime - STALE - 60))
    with capture_host(member.cluster, member.host, "new", 1 << 20) as capture:
        assert b"".join(capture)
    assert list(records(member).iterdir()) == [recent]


def test_no_room_and_no_member(make_members: Make) -> None:
    (member,) = make_members()
    member.start()
    with (
        pytest.raises(SnapshotError, match="no room") as caught,
        capture_host(member.cluster, member.host, "one", 1 << 45),
    ):
        raise AssertionError("not reached")
    assert member.host.client_url in str(caught.value.remedy)
    member.stop()
    with (
        pytest.raises(SnapshotError, match="could not save"),
        capture_host(member.cluster, member.host, "two", 1 << 20),
    ):
        raise AssertionError("not reached")
    assert list(records(member).iterdir()) == []


def test_without_quorum(make_members: Make) -> None:
    members = make_members(members=2)
    for member in members:
        member.start(ready=False)
    for member in members:
        member.wait()
    with members[0].client() as client:
        newest = client.put(b"/a", b"b")
        members[1].stop()
        while client.status().leader_id:
            pass
    first = members[0]
    with capture_host(first.cluster, first.host, "one", 1 << 20) as capture:
        content, facts = b"".join(capture), capture.facts()
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    assert facts.revision_min == facts.revision_max == newest
    assert [(member.name, bool(member.id)) for member in facts.members] == [("m1", True), ("m2", False)]
    assert "no quorum" in facts.notes[0]
