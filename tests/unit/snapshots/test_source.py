"""Which member a snapshot is read from."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tasks.etcd.members import MemberStatus
from tasks.snapshots.source import NEAR, choose_source

LEADER = "a"


def member(name: str, applied: int = 100, **changes: object) -> MemberStatus:
    plain = MemberStatus(
        name=name,
        endpoint=f"https://{name}:2379",
        member_id=name,
        leader_id=LEADER,
        cluster_id="c",
        version="3.6.16",
        db_bytes=0,
        db_in_use_bytes=0,
        quota_bytes=None,
        raft_index=applied,
        raft_applied=applied,
        raft_term=2,
        learner=False,
        revision=1,
        errors=(),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def order(*statuses: MemberStatus) -> list[str]:
    return [choice.name for choice in choose_source(statuses)]


def test_the_nearest_follower_then_the_leader_then_those_far_behind() -> None:
    far = member("b", applied=1000, raft_index=1000)
    assert order(member("a", 100_000), far, member("c", 99_990), member("d", 99_999)) == ["d", "c", "a", "b"]
    assert order(member("a"), member("b")) == ["b", "a"]
    assert order(member("a")) == ["a"]
    assert order() == []


def test_a_learner_is_never_read_from() -> None:
    assert order(member("a"), member("b", learner=True)) == ["a"]
    assert order(member("b", learner=True)) == []


def test_a_corrupt_member_is_never_read_from_whoever_tells() -> None:
    told = ("memberID:11 alarm:CORRUPT ",)  # 11 is b in hexadecimal
    assert order(member("a", errors=told), member("b", errors=told), member("c", errors=told)) == ["c", "a"]
    full = ("memberID:11 alarm:NOSPACE ",)
    assert order(member("a", errors=full), member("b", errors=full)) == ["b", "a"]


def test_without_a_leader_the_newest_log_wins() -> None:
    lost = {"leader_id": "0", "errors": ("etcdserver: no leader",)}
    old_term = member("a", 900, raft_term=2, **lost)
    short, long = member("b", 100, raft_term=3, **lost), member("c", 101, raft_term=3, **lost)
    assert order(old_term, short, long) == ["c", "b", "a"]
    assert "term 3, index 101" in choose_source([long])[0].why


def test_why() -> None:
    choices = choose_source([member("a", 100), member("b", 97, raft_index=97), member("c", 100)])
    assert [(c.name, c.why) for c in choices] == [
        ("c", "a follower, not behind"),
        ("b", "a follower, 3 entries behind"),
        ("a", "it is the leader"),
    ]


@given(
    st.lists(
        st.builds(
            member,
            st.sampled_from("abcdef"),
            st.integers(0, 3 * NEAR),
            learner=st.booleans(),
            leader_id=st.sampled_from(["0", "a", "b"]),
        ),
        unique_by=lambda status: status.name,
    )
)
def test_every_voter_has_its_place_whatever_the_order_of_answers(statuses: list[MemberStatus]) -> None:
    found = order(*statuses)
    assert sorted(found) == sorted(status.name for status in statuses if not status.learner)
    assert found == order(*reversed(statuses))
