"""Snapshots read from real members: which one, its bounds, and a member that dies meanwhile."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.errors import SnapshotError
from tasks.etcd.versions import NEWEST
from tasks.pki.client import ClientFiles
from tasks.snapshots.capture_stream import capture_stream
from tasks.snapshots.source import find_sources
from tests.component.etcd.conftest import Member, binaries

pytestmark = pytest.mark.component
Make = Callable[..., list[Member]]


def files_of(member: Member) -> ClientFiles:
    folder = Path(member.host.paths.pki_dir)
    return ClientFiles(folder / "ca.crt", folder / "etcdctl-etcd-client.crt", folder / "etcdctl-etcd-client.key")


def revision_in(snapshot: bytes, version: str, path: Path) -> int:
    """What etcd's own tool finds in it."""
    path.write_bytes(snapshot)
    argv = [str(binaries(version) / "etcdutl"), "snapshot", "status", str(path), "-w", "json"]
    return int(json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["revision"])


@pytest.mark.parametrize("version", NEWEST.values())
def test_what_is_said_of_a_snapshot_holds_while_others_write(version: str, make_members: Make, tmp_path: Path) -> None:
    (member,) = make_members(version)
    member.start()
    done = threading.Event()

    def write() -> None:
        with member.client() as client:
            while not done.is_set():
                client.put(b"/busy", os.urandom(100_000))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with member.client() as client:
            while client.status().revision < 50:
                done.wait(0.01)
        with capture_stream(member.host, files_of(member)) as capture:
            content = b"".join(capture)
            facts = capture.facts()
    finally:
        done.set()
        writer.join()
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    assert capture.expected_bytes > 1 << 20
    inside = revision_in(content, version, tmp_path / "snapshot.db")
    assert 50 <= facts.revision_min <= inside <= facts.revision_max
    assert facts.hashkv is not None
    assert facts.hashkv.revision <= inside
    with member.client() as client:
        again = client.hash_kv(facts.hashkv.revision)
        status = client.status()
    assert (again.hash, again.compact_revision) == (facts.hashkv.hash, facts.hashkv.compact_revision)
    assert (facts.source, facts.via, facts.etcd_version) == ("m1", "stream", version)
    assert (facts.etcd_cluster_id, facts.raft_term) == (status.cluster_id, status.raft_term)
    (listed,) = facts.members
    assert (listed.name, listed.id, listed.client_urls) == ("m1", status.member_id, (member.host.client_url,))
    assert facts.notes == ()


def test_a_quiet_cluster_gives_the_exact_revision(make_members: Make) -> None:
    (member,) = make_members()
    member.start()
    with member.client() as client:
        newest = client.put(b"/a", b"1")
    with capture_stream(member.host, files_of(member)) as capture:
        assert list(capture)
        facts = capture.facts()
    assert facts.revision_min == facts.revision_max == newest


def test_a_follower_first_and_when_it_dies_the_next_from_the_start(make_members: Make) -> None:
    members = make_members(members=3)
    for member in members:
        member.start(ready=False)
    for member in members:
        member.wait()
    cluster, files = members[0].cluster, files_of(members[0])
    with members[0].client() as client:
        for number in range(12):
            client.put(b"/big/%d" % number, os.urandom(1 << 20))
        leader_id = client.status().leader_id
        (leader,) = (listed.name for listed in client.members() if listed.id == leader_id)
    sources = find_sources(cluster, files)
    assert (sources.way, sources.troubles) == ("stream", {})
    assert sources.choices[2].name == leader
    first = next(member for member in members if member.host.name == sources.choices[0].name)
    with capture_stream(first.host, files) as capture:
        pieces = iter(capture)
        next(pieces)
        first.stop()
        with pytest.raises(SnapshotError, match="broke off after") as caught:
            list(pieces)
    assert caught.value.host == first.host.name
    assert "next member" in str(caught.value.remedy)

    left = find_sources(cluster, files)
    assert list(left.troubles) == [first.host.name]
    assert [choice.name for choice in left.choices] == [sources.choices[1].name, leader]
    second = next(member for member in members if member.host.name == left.choices[0].name)
    with capture_stream(second.host, files) as capture:
        content = b"".join(capture)
        assert capture.facts().source == second.host.name
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]

    for member in members:  # one of three is left: it has no quorum, and can still be read
        if member is not second:
            member.stop()
    with second.client() as client:
        while client.status().leader_id:
            threading.Event().wait(0.05)
    alone = find_sources(cluster, files)
    assert [choice.name for choice in alone.choices] == [second.host.name]
    assert "no leader" in alone.choices[0].why
    with capture_stream(second.host, files) as capture:
        assert len(b"".join(capture)) == len(content)
        assert capture.facts().raft_term > 0


def test_nobody_answers(make_members: Make) -> None:
    (member,) = make_members()
    with pytest.raises(
        SnapshotError, match=r"no member of prod-a can be read: m1: status on .* / over SSH: "
    ) as caught:
        find_sources(member.cluster, files_of(member), timeout=2.0)
    assert "restore" in str(caught.value.remedy)
