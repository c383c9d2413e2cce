"""When a run counts as a repetition of the restore before, and when it is a wish of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.errors import Refused
from tasks.etcd.members import MemberStatus
from tasks.etcd.restored import ended_path, last_path
from tasks.hosts.facts import DataDirFact, FileFact
from tasks.restore.record import to_json
from tasks.restore.repeated import RECENT, Ended, Meant, all_ended, nothing_to_do, serving
from tests.unit.flows.simulation import bare
from tests.unit.restore.scene import cluster, record

THREE = cluster()
ENDED = Ended(record(THREE), 1000.0)
SOON = ENDED.at + 60


def statuses(*names: str, leader: str = "a", errors: tuple[str, ...] = ()) -> dict[str, MemberStatus]:
    plain = MemberStatus("", "", "a", leader, "c", "3.6.16", 1, 1, None, 1, 1, 1, False, 1, errors)
    return {name: replace(plain, name=name) for name in names or ("etcd-01", "etcd-02", "etcd-03")}


def test_how_the_members_serve() -> None:
    assert serving(THREE, statuses()) == "well"
    assert serving(THREE, statuses("etcd-01", "etcd-02")) == "partly"
    assert serving(THREE, statuses(errors=("NOSPACE",))) == "partly"
    assert serving(THREE, statuses("etcd-01")) == "no"
    assert serving(THREE, statuses(leader="0")) == "no"
    assert serving(THREE, {}) == "no"


def test_the_same_command_again() -> None:
    assert nothing_to_do(THREE, ENDED, statuses(), "same", SOON)


@pytest.mark.parametrize(
    ("meant", "found", "now"),
    [("other", statuses(), SOON), ("same", {}, SOON), ("later", {}, SOON), ("later", statuses(), SOON + RECENT)],
)
def test_a_restore_of_its_own(meant: Meant, found: dict[str, MemberStatus], now: float) -> None:
    """Another snapshot; a cluster that was lost once more; one that has been backed up and serving for days."""
    assert not nothing_to_do(THREE, ENDED, found, meant, now)


@pytest.mark.parametrize(
    ("meant", "found", "now", "said"),
    [
        ("later", statuses(), SOON, "made of it since"),
        ("same", statuses("etcd-01", "etcd-02"), SOON, "not with all members"),
        ("same", statuses(), SOON + RECENT, "1 d ago"),
    ],
)
def test_not_surely_either(meant: Meant, found: dict[str, MemberStatus], now: float, said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        nothing_to_do(THREE, ENDED, found, meant, now)
    assert "--again" in (refused.value.remedy or "")


def test_only_a_restore_whose_data_is_in_use_counts() -> None:
    one, two, _ = THREE.hosts
    facts = {host.name: bare(THREE, host) for host in THREE.hosts}
    assert all_ended(THREE, facts) == ()
    for host, at in ((one, b"1000\n"), (two, b"1010\n")):
        facts[host.name].files[last_path(host)] = _file(last_path(host), to_json(ENDED.record))
        facts[host.name].files[ended_path(host)] = _file(ended_path(host), at)
    assert all_ended(THREE, facts) == (), "taken back: other data is in use"
    new = DataDirFact("etcd", ("member",), "etcd", 0o700, False, 1 << 40, ENDED.record.data_dir(one))
    facts = {name: replace(fact, data_dir=new) for name, fact in facts.items()}
    assert all_ended(THREE, facts) == (Ended(ENDED.record, 1010.0),)


def _file(path: str, content: bytes) -> FileFact:
    return FileFact(path, "file", 0o600, "root", "root", len(content), None, content)
