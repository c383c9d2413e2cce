"""Whether a cluster's former members may still be serving when it begins anew on other hosts."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from flows.restore_draft import Request, refuse_members_elsewhere
from flows.restore_source import Obtained, Wanted
from tasks.cluster.spec import Cluster
from tasks.errors import Refused
from tasks.etcd.members import ClusterView, Membership, MemberStatus
from tasks.restore import former
from tasks.restore.former import CONSENT, Answer, ask, elsewhere, former_refusals, with_listed
from tasks.restore.source import Source
from tasks.snapshots.manifest import ManifestMember
from tests import etcd_specs as specs


def member(name: str, address: str, port: int = 2379) -> ManifestMember:
    return ManifestMember(name, "1", (f"https://{address}:2380",), (f"https://{address}:{port}",), False)


SOURCE = Source("id", Path("/f"), 20512, "a" * 64, True, 100, None, 0.0, "3.6.16", "prod-a", "uuid-1")
STATUS = MemberStatus("a", "https://a", "1", "1", "1", "3.6.16", 1, 1, None, 1, 1, 1, False, 1, ())
OLD = tuple(member(f"old-{n}", f"192.0.2.{n}") for n in range(1, 4))


def of(cluster: Cluster) -> tuple[ManifestMember, ...]:
    """Its members, as a snapshot of it tells of them."""
    return tuple(ManifestMember(h.name, "1", (h.peer_url,), (h.client_url,), False) for h in cluster.hosts)


def test_who_is_elsewhere() -> None:
    cluster = specs.cluster()
    assert elsewhere(cluster, of(cluster)) == ()
    moved = tuple(replace(one, client_urls=("https://10.9.9.9:2379",)) for one in of(cluster))
    assert elsewhere(cluster, moved) == (), "one address of the host is enough: it is looked at anyway"
    assert elsewhere(cluster, (*of(cluster)[:1], *OLD)) == OLD


@pytest.mark.parametrize(
    ("members", "answer", "of_all", "accept", "said"),
    [
        (OLD, "nobody", 3, (), "could still be serving"),
        (OLD, "nobody", 3, (CONSENT,), ""),
        (OLD, "somebody", 3, (), "something answers"),
        (OLD, "somebody", 3, (CONSENT,), ""),
        (OLD, "ours", 3, (CONSENT,), "alive elsewhere"),
        (OLD[:1], "nobody", 3, (), ""),
        (OLD[:1], "ours", 3, (), "alive elsewhere"),
        (OLD[:2], "nobody", 3, (), "2 of the 3 members"),
        (OLD[:2], "nobody", 4, (), ""),
        (OLD[:1], "nobody", 1, (), "1 of the 1 members"),
        ((), "nobody", 3, (), ""),
    ],
)
def test_what_is_refused(
    members: tuple[ManifestMember, ...], answer: Answer, of_all: int, accept: tuple[str, ...], said: str
) -> None:
    found = former_refusals(members, {one.name: answer for one in members}, of_all, accept)
    assert bool(found) == bool(said)
    for error in found:
        assert said in error.message
        assert "--clone" in (error.remedy or "")
        assert all(one.client_urls[0] in error.message for one in members)


def test_who_is_listed_and_not_in_the_file_counts_though_no_backup_knew_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster file that names one of three living members must not make a second cluster beside the other two."""
    monkeypatch.setattr(former, "_PATIENCE", 0.1)
    cluster = specs.cluster()
    listed = [Membership("1", one.name, one.peer_urls, one.client_urls, False) for one in (*of(cluster), *OLD)]
    members = with_listed(of(cluster), listed)
    assert [one.name for one in members] == [one.name for one in (*of(cluster), *OLD)]
    assert [one.name for one in elsewhere(cluster, members)] == [one.name for one in OLD]
    for backed_up, now in ((of(cluster), ()), ((), listed), (of(cluster), listed)):
        request, obtained = Request(Wanted()), Obtained(SOURCE, members=(*backed_up, *OLD[:2] * bool(backed_up)))
        view = ClusterView(STATUS, tuple(now), ())
        file = replace(cluster, hosts=cluster.hosts[:1])
        with pytest.raises(Refused, match="could still be serving"):
            refuse_members_elsewhere(file, request, obtained, {"a": view})
        refuse_members_elsewhere(file, replace(request, accept=(CONSENT,)), obtained, {"a": view})
    dead = Request(Wanted(), dead=tuple(host.name for host in cluster.hosts[1:]))
    file = replace(cluster, hosts=cluster.hosts[:1])
    for known in (Obtained(SOURCE), Obtained(SOURCE, members=of(cluster))):
        assert refuse_members_elsewhere(file, dead, known, {}) == (), "that is looked at by itself"
    with pytest.raises(Refused, match="2 of the 3 members"):
        refuse_members_elsewhere(file, replace(dead, dead=dead.dead[:1]), known, {})


def test_one_alive_is_named_alone() -> None:
    answers: dict[str, Answer] = {"old-1": "nobody", "old-2": "ours", "old-3": "nobody"}
    (error,) = former_refusals(OLD, answers, 3, ())
    assert "old-2 at https://192.0.2.2:2379" in error.message
    assert "old-1" not in error.message


def test_who_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is no member of ours, or can't be known to be one, does not count as one."""
    monkeypatch.setattr(former, "_PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        ports = silent.getsockname()[1], closed.getsockname()[1]
        closed.close()
        there, gone = member("there", "127.0.0.1", ports[0]), member("gone", "127.0.0.1", ports[1])
        assert ask((there, gone), tmp_path / "no-ca.crt") == {"there": "somebody", "gone": "nobody"}
    assert ask((), tmp_path) == {}
