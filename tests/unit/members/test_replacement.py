"""The plan of a replacement: its order, and that it ends well from every cut, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.etcd.members import ClusterView, Membership, MemberStatus
from tasks.etcd.restored import replacement_path, under_way
from tasks.members.actions import AddLearner, Promote, RemoveMember, StartJoined
from tasks.members.diagnose import broken_members
from tasks.members.record import from_json, to_json
from tasks.members.refusals import cluster_refusals
from tasks.members.standing import standing
from tasks.pki.authority import Authority, create_authority
from tasks.restore.actions import Hold
from tests import etcd_specs as specs
from tests.unit.flows.simulation import NOW
from tests.unit.members.scene import Trio

Make = Callable[[], Trio]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    pki = replace(specs.cluster().pki, state_dir=tmp_path_factory.mktemp("state") / "pki")
    authority: Authority = create_authority(pki, "prod-a", NOW)
    return Trio(replace(specs.cluster(etc_hosts=False), pki=pki), authority).copy


def run(trio: Trio, until: int = 1 << 30) -> None:
    for step in trio.plan_now().steps[:until]:
        trio.carry_out(step)
        voters = [member for member in trio.members.values() if not member.learner]
        assert {"a1", "a3"} <= {member.member_id for member in voters}


def test_the_order(make: Make) -> None:
    trio = make()
    kinds = [type(step.action) for step in trio.plan_now().steps]
    order = [Hold, RemoveMember, AddLearner, StartJoined, Promote]
    assert [kind for kind in kinds if kind in order] == order
    trio.lose()
    run(trio)
    assert trio.done()


#: What may happen to the host between two runs.
EVENTS: dict[str, Callable[[Trio], None]] = {
    "nothing": lambda trio: None,
    "reboot": lambda trio: trio.reboot(trio.target),
    "lose": lambda trio: trio.lose(),
    "swap": lambda trio: trio.swap(),
    "record lost": lambda trio: trio.remove(trio.target, replacement_path(trio.target)),
}


@settings(max_examples=60)
@given(cuts=st.lists(st.tuples(st.integers(0, 16), st.sampled_from(sorted(EVENTS))), max_size=4))
def test_every_cut_ends_well(make: Make, cuts: list[tuple[int, str]]) -> None:
    """Cut anywhere, whatever happens to the host: no member runs without its data, and there never are two of it."""
    trio = make()
    trio.lose()
    for cut, event in cuts:
        run(trio, cut)
        EVENTS[event](trio)
    run(trio)
    assert trio.done()


def test_others_keep_away_from_it(make: Make) -> None:
    trio = make()
    trio.lose()
    run(trio, 2)
    (refusal,) = under_way(trio.cluster, trio.facts)
    assert "being replaced" in refusal.message
    assert f"replace-member prod-a {trio.target.name}" in str(refusal.remedy)


def test_the_record_survives_its_writing(make: Make) -> None:
    trio = make()
    run(trio, 1)
    content = trio.facts[trio.target.name].file(replacement_path(trio.target)).content
    assert content is not None
    assert to_json(from_json(content)) == content


def view(trio: Trio, name: str, *, leader: str = "a1", alarms: tuple[str, ...] = ()) -> ClusterView:
    who = trio.runs_as[name]
    status = MemberStatus(name, "", who, leader, "c", "3.6.16", 1, 1, None, 1, 1, 1, False, 1, ())
    return ClusterView(status, tuple(trio.members.values()), alarms)


def test_only_a_majority_is_believed(make: Make) -> None:
    trio = make()
    one, three = trio.cluster.hosts[0].name, trio.cluster.hosts[2].name
    seen = standing(trio.cluster, {one: view(trio, one), three: view(trio, three)})
    assert seen is not None
    assert seen.others(trio.target) == (one, three)
    assert standing(trio.cluster, {one: view(trio, one)}) is None


def test_two_of_three_are_needed(make: Make) -> None:
    """The broken one votes still, and only one other is healthy: to stop it would cost the quorum."""
    trio = make()
    one, two = trio.cluster.hosts[0].name, trio.target.name
    seen = standing(trio.cluster, {one: view(trio, one), two: view(trio, two)})
    assert seen is not None
    reasons = [str(reason) for reason in cluster_refusals(trio.cluster, trio.target, trio.facts, seen)]
    assert any("no quorum without etcd-02" in reason for reason in reasons)


def test_the_alarm_is_about_another(make: Make) -> None:
    trio = make()
    alarm = (f"memberID:{int('a3', 16)} alarm:CORRUPT ",)
    views = {host.name: view(trio, host.name, alarms=alarm) for host in trio.cluster.hosts}
    assert [one.host for one in broken_members(trio.cluster, trio.facts, views)] == ["etcd-03"]
    seen = standing(trio.cluster, views)
    assert seen is not None
    reasons = [str(reason) for reason in cluster_refusals(trio.cluster, trio.target, trio.facts, seen)]
    assert any("about etcd-03, not about etcd-02" in reason for reason in reasons)


def test_one_learner_at_a_time(make: Make) -> None:
    trio = make()
    trio.members["b9"] = Membership("b9", "", ("https://10.0.0.19:2380",), (), learner=True)
    views = {host.name: view(trio, host.name) for host in trio.cluster.hosts}
    seen = standing(trio.cluster, views)
    assert seen is not None
    reasons = [str(reason) for reason in cluster_refusals(trio.cluster, trio.target, trio.facts, seen)]
    assert any("takes one at a time" in reason for reason in reasons)


def test_broken_is_only_who_is(make: Make) -> None:
    """Data gone and not running, while the others have a quorum; nobody is if they have none."""
    trio = make()
    views = {host.name: view(trio, host.name) for host in trio.cluster.hosts}
    assert broken_members(trio.cluster, trio.facts, views) == ()
    trio.lose()
    del views[trio.target.name]
    (broken,) = broken_members(trio.cluster, trio.facts, views)
    assert (broken.host, broken.sure) == ("etcd-02", True)
    del views["etcd-03"]
    assert broken_members(trio.cluster, trio.facts, views) == ()
