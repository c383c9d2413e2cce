"""Snapshots, hashes and changes of the membership against real members of each version."""

import hashlib
import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.errors import AccessDenied, HostError, TransientHostError
from tasks.etcd.checks import check_members
from tasks.etcd.client import Alarm, Client
from tasks.etcd.members import cluster_view
from tasks.etcd.versions import NEWEST
from tasks.findings import Finding
from tasks.hosts.shell import close_all, open_shell
from tests.component.etcd.conftest import Member

pytestmark = pytest.mark.component
Make = Callable[..., list[Member]]


def fill(client: Client, megabytes: int) -> None:
    """Values that can't be compressed, so that many pieces are sent."""
    for number in range(megabytes):
        client.put(b"/big/%d" % number, os.urandom(1 << 20))


@pytest.mark.parametrize("version", NEWEST.values())
def test_snapshot_hash_and_count(version: str, make_members: Make) -> None:
    (member,) = make_members(version)
    member.start()
    with member.client() as client:
        fill(client, 3)
        client.put(b"/gone", b"x")
        client.delete(b"/gone")
        assert client.count() == 3
        found = client.hash_kv()
        assert found.revision == client.status().revision == 6
        (said,) = json.loads(member.etcdctl("endpoint", "hashkv", "-w", "json").stdout)
        assert (said["HashKV"]["hash"], said["HashKV"]["compact_revision"]) == (found.hash, found.compact_revision)
        client.put(b"/later", b"x")
        assert client.hash_kv(6) == found
        assert client.hash_kv().hash != found.hash
        with client.snapshot() as stream:
            assert stream.remaining is None
            content = b"".join(stream)
        assert stream.remaining == 0
        assert stream.received == len(content) > 3 << 20
        assert len(content) % 512 == 32
        assert hashlib.sha256(content[:-32]).digest() == content[-32:]
        assert stream.storage_version == ("" if version.startswith("3.5") else f"{version[:3]}.0")


def test_a_slow_reader_is_waited_for_and_a_silent_member_is_not(make_members: Make) -> None:
    (member,) = make_members()
    member.start()
    assert member.process is not None
    with member.client() as client:
        fill(client, 12)
        pieces = iter(stream := client.snapshot(idle_timeout=1.0))
        assert next(pieces)
        time.sleep(2.5)
        while stream.received < 2 << 20:
            assert next(pieces)
        member.process.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        try:
            with pytest.raises(TransientHostError, match="no answer within 1 s"):
                list(pieces)
        finally:
            member.process.send_signal(signal.SIGCONT)
        assert time.monotonic() - started < 10


def handled(member: Member, code: str) -> bool:
    """Whether the member counts a Snapshot call that ended like this."""
    with urllib.request.urlopen(f"{member.host.metrics_url}/metrics", timeout=5) as answer:  # noqa: S310 - our own
        text = answer.read().decode()
    return any(
        'grpc_method="Snapshot"' in line and f'grpc_code="{code}"' in line and not line.endswith(" 0")
        for line in text.splitlines()
    )


def test_closing_early_ends_the_members_work_and_a_dead_member_is_told(make_members: Make) -> None:
    (member,) = make_members()
    member.start()
    with member.client() as client:
        fill(client, 12)
        with client.snapshot() as stream:
            assert next(iter(stream))
        end = time.monotonic() + 10
        while not (handled(member, "Canceled") or handled(member, "Unavailable") or handled(member, "Unknown")):
            assert time.monotonic() < end, "the member still sends"
            time.sleep(0.05)
        pieces = iter(client.snapshot())
        assert next(pieces)
        member.stop()
        with pytest.raises(TransientHostError) as caught:
            list(pieces)
        assert caught.value.host == "m1"


def change_env(member: Member, **settings: str) -> None:
    path = Path(member.host.paths.env_file)
    lines = [line for line in path.read_text().splitlines() if line.split("=")[0] not in settings]
    path.write_text("\n".join([*lines, *(f"{key}={value}" for key, value in settings.items())]) + "\n")


def test_a_learner_joins_is_promoted_leads_and_the_other_leaves(make_members: Make) -> None:
    first, second = make_members(NEWEST["3.7"], members=2)
    both = f"m1={first.host.peer_url},m2={second.host.peer_url}"
    change_env(first, ETCD_INITIAL_CLUSTER=f"m1={first.host.peer_url}")
    change_env(second, ETCD_INITIAL_CLUSTER=both, ETCD_INITIAL_CLUSTER_STATE="existing")
    first.start()
    with first.client() as client, second.client() as other:
        added = client.member_add([second.host.peer_url], learner=True)
        assert added.learner
        assert added.peer_urls == (second.host.peer_url,)
        with pytest.raises(HostError, match=r"(?i)learner"):
            client.member_promote(added.id)
        second.start(ready=False)
        until_done(lambda: client.member_promote(added.id))
        assert [member.learner for member in client.members()] == [False, False]
        second.wait()
        client.move_leader(added.id)
        assert other.status().is_leader
        # etcd wants its peers connected for 5 s before it lets one go
        until_done(lambda: other.member_remove(client.status().member_id))
        assert [member.name for member in other.members()] == ["m2"]


def until_done(call: Callable[[], None]) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            return call()
        except HostError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def test_an_alarm_is_disarmed_after_defragmentation(make_members: Make) -> None:
    (member,) = make_members(quota_bytes=2_000_000)
    member.start()
    with member.client() as client:
        with pytest.raises(HostError, match="space exceeded"):
            fill(client, 10)
        alarm = Alarm(client.status().member_id, "NOSPACE")
        assert client.alarms() == (alarm,)
        client.defragment(30.0)
        client.alarm_disarm(alarm)
        assert client.alarms() == ()


def refusals(member: Member) -> list[Finding]:
    try:
        with open_shell(member.host) as shell:
            view = cluster_view(shell)
    finally:
        close_all()
    return [one for one in check_members(member.cluster, {"m1": view}, {}) if one.check == "access"]


def test_its_own_authentication_is_told_as_what_it_is(make_members: Make) -> None:
    """Status, members and alarms are answered all the same: a cluster that lets nothing be read looked healthy."""
    (member,) = make_members()
    member.start()
    assert refusals(member) == []
    for words in ("user add root:pw", "role add root", "user grant-role root root", "auth enable"):
        done = member.etcdctl("--command-timeout=60s", *words.split())
        assert done.returncode == 0, done.stderr
    with (
        member.client() as client,
        pytest.raises(AccessDenied, match="user name not found") as caught,
        client.snapshot() as stream,
    ):
        list(stream)
    assert "etcdctl user add NAME --no-password" in (caught.value.remedy or "")
    (found,) = refusals(member)
    assert (found.level, found.host, found.remedy) == ("error", "m1", caught.value.remedy)
    assert "permission denied" in found.text
    for words in ("user add CLIENT --no-password", "user grant-role CLIENT root"):
        done = member.etcdctl(
            "--command-timeout=60s", "--user", "root:pw", *words.replace("CLIENT", "etcdctl-etcd-client").split()
        )
        assert done.returncode == 0, done.stderr
    assert refusals(member) == []
    with member.client() as client, client.snapshot() as stream:
        assert list(stream)
