"""What is decided before anything stops: the bump, who may be left out, which bytes may go where; and the proof."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import HostUnreachable, InputError, Refused, SnapshotDamaged
from tasks.etcd.identity import identity_path
from tasks.etcd.members import MemberStatus
from tasks.hosts.facts import DataDirFact, FileFact, HostFacts
from tasks.restore.bump import LARGEST, LEAST, WEEK, decide_bump
from tasks.restore.guard import Seen, on_other_data
from tasks.restore.proof import Proof, judge, parse_proof
from tasks.restore.refusals import CONSENTS, dead_members, host_refusals, refuse_overtaken, source_refusals, whose
from tasks.restore.scripts_start import listens
from tasks.restore.source import Source, check_file
from tests import etcd_specs as specs
from tests.unit.flows.simulation import bare
from tests.unit.restore.scene import cluster, record

# --- the bump ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 50), st.floats(0, 3e8))
def test_no_revision_that_anybody_has_seen_comes_again(snapshot: int, newest: int, age: float) -> None:
    bump = decide_bump(snapshot, newest, age)
    assert bump >= LEAST
    assert snapshot + bump >= newest + (newest - snapshot) // 5
    assert bump >= LEAST * (age / WEEK)


def test_a_week_counts_once_it_has_begun() -> None:
    assert decide_bump(1, 1, WEEK) == LEAST
    assert decide_bump(1, 1, WEEK + 1) == 2 * LEAST
    assert decide_bump(1, 1, -5.0) == LEAST, "clocks differ"


def test_the_end_of_all_revisions() -> None:
    with pytest.raises(Refused, match="no room for revisions"):
        decide_bump(LARGEST, 0, 0)


# --- who may be left out ----------------------------------------------------------------------------------------------


def test_who_may_be_left_out() -> None:
    five = cluster(5)

    def said(*dead: str, fenced: tuple[str, ...] = (), unreachable: tuple[str, ...] = ()) -> str:
        errors = {name: HostUnreachable("no way", host=name) for name in unreachable}
        return "; ".join(str(error.message) for error in dead_members(five, dead, fenced, errors))

    assert said() == ""
    assert "no way" in said(unreachable=("etcd-03",))
    (silent,) = dead_members(five, (), (), {"etcd-03": HostUnreachable("no way", host="etcd-03", remedy="start it")})
    assert (silent.host, silent.message) == ("etcd-03", "no way")
    assert silent.remedy == "start it; if the host is gone for good, leave it out: --dead etcd-03"
    assert said("etcd-03", unreachable=("etcd-03",)) == ""
    assert "it answers" in said("etcd-03")
    assert "no such member" in said("etcd-09")
    three = ("etcd-01", "etcd-02", "etcd-03")
    assert "could still be serving" in said(*three, unreachable=three)
    assert "could still be serving" in said(*three, unreachable=three, fenced=("etcd-01",))
    assert said(*three, unreachable=three, fenced=three) == ""
    everybody = tuple(host.name for host in five.hosts)
    assert "all members are declared dead" in said(*everybody, unreachable=everybody, fenced=everybody)


# --- which bytes ------------------------------------------------------------------------------------------------------

GOOD = Source("id", Path("/f"), 20512, "a" * 64, True, 100, None, 0.0, "3.6.16", "prod-a", "uuid-1")


@pytest.mark.parametrize(
    ("changes", "said", "consent"),
    [
        ({"untrusted": "not signed"}, "anyone who can write to the store", "untrusted"),
        ({"trailer": False}, "does not end in etcd's own checksum", "no-checksum"),
        ({"cluster": "prod-b"}, "of the cluster 'prod-b'", "other-cluster"),
        ({"uuid": "uuid-2"}, "uuid-2", "other-cluster"),
        ({"version": "3.5.35"}, "of etcd 3.5.35", "other-version"),
        ({"version": "3.7.3"}, "which can't read it", ""),
        ({"bytes": 9 << 30}, "would refuse every write", ""),
    ],
)
def test_bytes_that_are_refused(changes: dict[str, object], said: str, consent: str) -> None:
    source = replace(GOOD, **changes)  # type: ignore[arg-type]
    (reason,) = source_refusals(cluster(), source, "uuid-1", ())
    assert said in reason.message
    assert bool(consent) == (not source_refusals(cluster(), source, "uuid-1", tuple(CONSENTS)))
    if consent:
        assert f"--accept {consent}" in (reason.remedy or "")
        assert source_refusals(cluster(), source, "uuid-1", [consent]) == ()


def test_bytes_that_are_not_refused() -> None:
    assert source_refusals(cluster(), GOOD, "uuid-1", ()) == ()
    assert source_refusals(cluster(), GOOD, "", ()) == (), "hosts that know nothing any more"
    assert source_refusals(cluster(), replace(GOOD, cluster="", uuid="", version=""), "uuid-1", ()) == ()


def test_a_version_that_can_not_raise_revisions() -> None:
    old = specs.cluster(version="3.5.9")
    (reason,) = source_refusals(old, replace(GOOD, version="3.5.9"), "uuid-1", ())
    assert "can't raise revisions" in reason.message
    assert source_refusals(old, replace(GOOD, version="3.5.9"), "uuid-1", ["no-bump"]) == ()


def test_a_bump_that_was_enough_when_the_restore_was_begun() -> None:
    wanted = record(cluster())
    status = proof("etcd-01").status
    refuse_overtaken(wanted, {})
    refuse_overtaken(wanted, {"etcd-01": replace(status, revision=wanted.base_revision - 1)})
    with pytest.raises(Refused, match="would come again"):
        refuse_overtaken(wanted, {"etcd-01": replace(status, revision=wanted.base_revision)})


def test_no_room_on_a_host() -> None:
    three = cluster()
    facts = {host.name: bare(three, host) for host in three.hosts}
    assert host_refusals(three, facts, record(three)) == ()
    facts["etcd-02"] = replace(facts["etcd-02"], data_dir=DataDirFact("empty", (), "etcd", 0o700, True, 1 << 20))
    (reason,) = host_refusals(three, facts, record(three))
    assert reason.host == "etcd-02"
    assert "1.0 MiB free" in reason.message


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "f"
    with pytest.raises(InputError, match="can't be read"):
        check_file(file)
    file.write_bytes(b"")
    with pytest.raises(SnapshotDamaged):
        check_file(file)
    file.write_bytes(bytes(512) + bytes(32))
    with pytest.raises(SnapshotDamaged, match="does not fit"):
        check_file(file)
    file.write_bytes(bytes(512))
    assert not check_file(file).has_trailer


# --- the last look ----------------------------------------------------------------------------------------------------


def test_who_may_run_the_old_data() -> None:
    three = cluster()
    wanted, host = record(three), three.hosts[0]
    new, old = wanted.data_dir(host), host.paths.data_dir

    def may(*, held: bool, pid: int = 0, data: str = "", following: str) -> bool:
        return bool(on_other_data(host, wanted, Seen(host.name, held, pid, data, following)))

    assert not may(held=True, following=old), "a reboot does not start it"
    assert not may(held=True, following=new)
    assert not may(held=False, following=new)
    assert not may(held=False, pid=7, data=new, following=new)
    assert may(held=False, following=old)
    assert may(held=False, pid=7, data=old, following=new)
    assert may(held=True, pid=7, data=old, following=new)
    assert may(held=True, pid=7, data="", following=new), "unknown is not harmless"


# --- the proof --------------------------------------------------------------------------------------------------------


def proof(name: str, **changes: object) -> Proof:
    status = MemberStatus(name, "", name, "etcd-01", "c", "3.6.16", 1, 1, None, 1, 1, 1, False, 1_000_000_105, ())
    plain = Proof(status, 1_000_000_100, 77, 1_000_000_100, 20, (), ("etcd-01", "etcd-02", "etcd-03"))
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_the_proof() -> None:
    wanted = record(cluster())
    good = [proof(f"etcd-0{n}") for n in (1, 2, 3)]
    assert judge(wanted, good) == []
    lone = replace(good[2].status, cluster_id="d")
    early = replace(good[2].status, revision=5)
    for changes, said in (
        ({"hash": 78}, "do not agree on the hash"),
        ({"compact_revision": 5}, "do not agree on the compact revision"),
        ({"keys": 21}, "do not agree on the number of keys"),
        ({"status": lone}, "do not agree on the cluster id"),
        ({"status": early}, "before 1000000100"),
        ({"alarms": ("NOSPACE",)}, "NOSPACE"),
        ({"members": ("etcd-03",)}, "knows the members etcd-03"),
    ):
        wrong = judge(wanted, [*good[:2], proof("etcd-03", **changes)])
        assert any(said in one for one in wrong), (changes, wrong)
    assert judge(replace(wanted, keys=19), good) == ["the members hold 20 keys, the snapshot held 19"]
    assert judge(replace(wanted, keys=None), good) == []


def test_what_etcdctl_says() -> None:
    status = (
        '[{"Endpoint":"https://a","Status":{"header":{"cluster_id":1,"member_id":2,"revision":9},"version":"3.6.16"}}]'
    )
    members = '{"members":[{"ID":2,"name":"a"}]}'
    hashed = '[{"Endpoint":"https://a","HashKV":{"header":{},"hash":5,"compact_revision":7}}]'
    found = parse_proof("a", 7, [status, members, "", hashed, '"ClusterID" : 1\n"Count" : 9\n'])
    assert (found.hash, found.compact_revision, found.keys, found.members) == (5, 7, 9, ("a",))
    gone = "Error: etcdserver: mvcc: required revision has been compacted"
    assert parse_proof("a", 7, [status, members, "", f"Failed to get the hash ({gone})\nnull", gone]).hash is None


def test_where_a_listener_is_looked_for() -> None:
    assert "0100007F:094D" in listens(specs.host())
    assert "00000000000000000000000001000000:094D" in listens(specs.host(listen_address="::1"))


# --- whose a host is --------------------------------------------------------------------------------------------------


def test_two_addresses_that_are_exchanged_in_the_file() -> None:
    """Nothing is restored onto, or replaced on, a host that is another member than the file says."""
    spec = cluster(3)
    one, two = spec.hosts[:2]

    def facts(of: str, kind: Literal["absent", "etcd"] = "etcd") -> HostFacts:
        said = json.dumps({"cluster": spec.name, "uuid": "u", "token": "t", "member": of, "peer_url": one.peer_url})
        path, seen = identity_path(one), bare(spec, one)
        data = replace(seen.data_dir, kind=kind)
        return replace(seen, data_dir=data, files={**seen.files, path: FileFact(path, "file", content=said.encode())})

    (error,) = whose(spec, one, facts(two.name))
    assert error.host == one.name
    assert two.name in error.message
    assert whose(spec, one, facts(one.name)) == []
    assert whose(spec, one, facts(two.name, "absent")) == [], "there is nothing there that could be meant"
