"""The client against real members."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.errors import HostError, HostUnreachable, InputError, PkiError, TransientHostError
from tasks.etcd.client import Alarm, connect, range_end
from tasks.etcd.versions import NEWEST
from tests.component.etcd import pki
from tests.component.etcd.conftest import Member, free_ports

pytestmark = pytest.mark.component
Make = Callable[..., list[Member]]


def test_etcd3_is_imported_without_a_warning() -> None:
    code = "import tasks.etcd.client as c; assert c.etcd3.etcdrpc.StatusResponse(dbSizeInUse=5).dbSizeInUse == 5"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("version", NEWEST.values())
def test_requests(version: str, make_members: Make) -> None:
    (member,) = make_members(version)
    member.start()
    with member.client() as client:
        status = client.status()
        assert status.version == version
        assert status.is_leader
        assert status.db_size >= status.db_size_in_use > 0
        assert status.raft_applied_index == status.raft_index > 0
        assert not status.learner
        assert status.errors == ()
        (listed,) = client.members()
        assert (listed.id, listed.name, listed.peer_urls) == (status.member_id, "m1", (member.host.peer_url,))
        assert listed.client_urls == (member.host.client_url,)
        assert client.alarms() == ()
        revision = client.put(b"/a/1", b"one")
        assert client.put(b"/a/2", b"two") == revision + 1
        client.put(b"/b", b"three")
        found = client.get(b"/a/1")
        assert found is not None
        assert (found.value, found.mod_revision, found.version) == (b"one", revision, 1)
        assert client.get(b"/none") is None
        assert [kv.key for kv in client.prefix(b"/a/")] == [b"/a/1", b"/a/2"]
        assert len(client.prefix(b"")) == 3
        assert len(client.prefix(b"", limit=2)) == 2
        assert client.delete(b"/a/1")
        assert not client.delete(b"/a/1")
        assert client.delete_prefix(b"/") == 2
        with pytest.raises(InputError):
            client.delete_prefix(b"")


def test_a_lone_member_of_three_takes_no_writes(make_members: Make) -> None:
    members = make_members(members=3)
    members[0].start(ready=False)
    with members[0].client(timeout=1.0) as client:
        with pytest.raises(TransientHostError) as caught:
            client.put(b"a", b"b")
        assert caught.value.host == "m1"


def test_a_full_database_is_named_with_its_remedy(make_members: Make) -> None:
    (member,) = make_members(quota_bytes=2_000_000)
    member.start()
    with member.client() as client:

        def fill() -> None:
            for number in range(40):
                client.put(b"k%d" % number, bytes(200_000))

        with pytest.raises(HostError, match="space exceeded") as caught:
            fill()
        assert caught.value.remedy
        assert "maintain-cluster" in caught.value.remedy
        status = client.status()
        assert client.alarms() == (Alarm(status.member_id, "NOSPACE"),)
        assert any("NOSPACE" in error for error in status.errors)


def test_nobody_there(tmp_path: Path) -> None:
    folder = pki.make(tmp_path)
    pair = folder / "etcdctl-etcd-client.crt", folder / "etcdctl-etcd-client.key"
    (port,) = free_ports(1)
    with connect(f"https://127.0.0.1:{port}", folder / "ca.crt", *pair, 2.0, host="m9") as client:
        with pytest.raises(HostUnreachable, match=f"127.0.0.1:{port}") as caught:
            client.status()
        assert caught.value.host == "m9"


def test_a_foreign_ca_on_either_side(make_members: Make, tmp_path: Path) -> None:
    (member,) = make_members()
    member.start()
    mine, other = Path(member.host.paths.pki_dir), pki.make(tmp_path / "other")
    name = "etcdctl-etcd-client"
    endpoint = member.host.client_url
    client = connect(endpoint, other / "ca.crt", mine / f"{name}.crt", mine / f"{name}.key", 3.0)
    with client, pytest.raises(PkiError):
        client.status()
    client = connect(endpoint, mine / "ca.crt", other / f"{name}.crt", other / f"{name}.key", 3.0)
    with client, pytest.raises((PkiError, HostUnreachable)):
        client.status()


def test_what_is_no_endpoint(tmp_path: Path) -> None:
    folder = pki.make(tmp_path)
    for endpoint in ("127.0.0.1:2379", "http://127.0.0.1:2379", "https://127.0.0.1", ""):
        with pytest.raises(InputError):
            connect(endpoint, folder / "ca.crt", folder / "peer.crt", folder / "peer.key")
    with pytest.raises(PkiError, match=r"none\.crt"):
        connect("https://127.0.0.1:1", folder / "none.crt", folder / "peer.crt", folder / "peer.key")


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"a", b"b"), (b"/a/", b"/a0"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")]
)
def test_range_end(prefix: bytes, end: bytes) -> None:
    assert range_end(prefix) == end
