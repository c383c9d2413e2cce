"""Retention: what it must never do, whatever the settings and the store's content; and what the rules mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.cluster.spec import RetentionSettings
from tasks.snapshots.clocks import of_the_future
from tasks.snapshots.retention import Candidate, Decisions, decide

NOW = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
calm = hypothesis_settings(deadline=None)  # the machine may be busy
RULES = ("last", "hourly", "daily", "weekly", "monthly", "min_verified")


def keeping(**changes: float | None) -> RetentionSettings:
    """Settings that keep as little as can be."""
    base = RetentionSettings(1, 0, 0, 0, 0, None, 1)
    return replace(base, **changes)  # type: ignore[arg-type]


def at(text: str, **changes: object) -> Candidate:
    taken = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return replace(Candidate(f"{taken:%Y%m%dT%H%M%SZ}-00000000", taken, "scheduled"), **changes)  # type: ignore[arg-type]


# Times bunch: many snapshots of one hour and one day, some years apart; some in the future, as clocks go wrong.
times = st.one_of(
    st.timedeltas(timedelta(hours=-2), timedelta(hours=30)),
    st.timedeltas(timedelta(0), timedelta(days=60)),
    st.timedeltas(timedelta(0), timedelta(days=1500)),
).map(lambda ago: (NOW - ago).replace(microsecond=0))
locks = st.none() | st.timedeltas(timedelta(days=-9), timedelta(days=9)).map(lambda ahead: NOW + ahead)


@st.composite
def stores(draw: st.DrawFn) -> list[Candidate]:
    return [
        Candidate(
            f"{taken:%Y%m%dT%H%M%SZ}-{number:08x}",
            taken,
            draw(st.sampled_from(["scheduled"] * 6 + ["manual", "safety", "imported"])),
            verified=draw(st.integers(0, 3)) == 3,
            unsound=draw(st.sampled_from([""] * 8 + ["damaged", "not signed"])),
            pinned=draw(st.integers(0, 9)) == 9,
            locked_until=draw(locks),
        )
        for number, taken in enumerate(draw(st.lists(times, max_size=40)))
    ]


settings_ = st.builds(
    RetentionSettings,
    last=st.integers(1, 6),
    hourly=st.integers(0, 6),
    daily=st.integers(0, 6),
    weekly=st.integers(0, 4),
    monthly=st.integers(0, 4),
    max_age_days=st.none() | st.floats(0.01, 400),
    min_verified=st.integers(1, 3),
)


def left(store: list[Candidate], decisions: Decisions) -> list[Candidate]:
    return [candidate for candidate in store if candidate.id not in decisions.remove]


def from_ahead(candidate: Candidate) -> bool:
    return of_the_future(candidate.taken, NOW)


def newest_first(store: list[Candidate]) -> list[Candidate]:
    return sorted(store, key=lambda c: (c.taken, c.id), reverse=True)


@calm
@given(stores(), settings_, st.booleans())
def test_the_newest_the_verified_and_the_pinned_are_never_removed(
    store: list[Candidate], settings: RetentionSettings, all_named: bool
) -> None:
    named = [candidate.id for candidate in store] if all_named else []
    decisions = decide(store, settings, NOW, named)
    gone = {decision.id for decision in decisions.of("remove", "later")}
    sound = sorted((c for c in newest_first(store) if not c.unsound), key=from_ahead)
    regular = [candidate for candidate in sound if candidate.kind in ("scheduled", "manual")]
    verified = [candidate for candidate in regular if candidate.verified]
    assert not gone & {candidate.id for candidate in sound[:1]}
    assert not gone & {candidate.id for candidate in regular[:1]}
    assert not gone & {candidate.id for candidate in verified[: settings.min_verified]}
    assert not gone & {candidate.id for candidate in store if candidate.pinned}
    if not all_named:
        assert not gone & {candidate.id for candidate in store if candidate.unsound}


@calm
@given(stores(), settings_)
def test_each_snapshot_is_judged_once_and_for_a_reason(store: list[Candidate], settings: RetentionSettings) -> None:
    decisions = decide(store, settings, NOW)
    assert sorted(decision.id for decision in decisions.all) == sorted(candidate.id for candidate in store)
    assert all(decision.reasons and all(decision.reasons) for decision in decisions.all)
    assert all((decision.until is not None) == (decision.verdict == "later") for decision in decisions.all)


@calm
@given(stores(), settings_)
def test_pruning_twice_removes_nothing_more(store: list[Candidate], settings: RetentionSettings) -> None:
    first = decide(store, settings, NOW)
    again = decide(left(store, first), settings, NOW)
    assert again.remove == ()
    assert again.keep == first.keep


@calm
@given(stores(), settings_, st.data())
def test_removals_cut_off_anywhere_come_to_the_same_end(
    store: list[Candidate], settings: RetentionSettings, data: st.DataObject
) -> None:
    first = decide(store, settings, NOW)
    done = data.draw(st.sets(st.sampled_from(first.remove))) if first.remove else set()
    rest = [candidate for candidate in store if candidate.id not in done]
    assert set(decide(rest, settings, NOW).remove) == set(first.remove) - done


@calm
@given(stores(), settings_, st.sampled_from(RULES), st.integers(1, 3))
def test_a_more_generous_rule_keeps_all_that_was_kept(
    store: list[Candidate], settings: RetentionSettings, rule: str, more: int
) -> None:
    generous = replace(settings, **{rule: getattr(settings, rule) + more})
    assert set(decide(store, generous, NOW).remove) <= set(decide(store, settings, NOW).remove)


@calm
@given(stores(), settings_, st.timedeltas(timedelta(0), timedelta(days=500)))
def test_what_goes_today_would_go_later_too(
    store: list[Candidate], settings: RetentionSettings, wait: timedelta
) -> None:
    today, later = decide(store, settings, NOW), decide(store, settings, NOW + wait)
    assert set(today.remove) <= set(later.remove)


@calm
@given(stores(), settings_, st.timedeltas(timedelta(0), timedelta(days=5000)))
def test_time_alone_removes_no_backup_when_there_is_no_max_age(
    store: list[Candidate], settings: RetentionSettings, wait: timedelta
) -> None:
    free = [replace(c, locked_until=None) for c in store if c.kind != "safety" and not from_ahead(c)]
    settings = replace(settings, max_age_days=None)
    assert decide(free, settings, NOW + wait).remove == decide(free, settings, NOW).remove


@calm
@given(stores(), settings_, st.booleans(), st.booleans())
@example([at("2026-11-24 01:00"), at("2026-11-24 02:00")], keeping(daily=1), True, False)
def test_a_new_snapshot_saves_none_that_was_to_go(
    store: list[Candidate], settings: RetentionSettings, verified: bool, pinned: bool
) -> None:
    store = [candidate for candidate in store if not from_ahead(candidate)]
    later = NOW + timedelta(minutes=10)
    new = Candidate(f"{later:%Y%m%dT%H%M%SZ}-ffffffff", later, "scheduled", verified=verified, pinned=pinned)
    assert set(decide(store, settings, NOW).remove) <= set(decide([*store, new], settings, NOW).remove)


@calm
@given(stores(), settings_)
def test_what_is_not_sound_pushes_nothing_out(store: list[Candidate], settings: RetentionSettings) -> None:
    """A forger who floods the store with newer "snapshots" removes no real one."""
    forged = [
        replace(c, id=f"{c.id[:-8]}f{c.id[-7:]}", taken=c.taken + timedelta(days=1), unsound="forged") for c in store
    ]
    assert set(decide([*store, *forged], settings, NOW).remove) == set(decide(store, settings, NOW).remove)


def kept(store: list[Candidate], settings: RetentionSettings, **more: object) -> list[str]:
    decisions = decide(store, settings, NOW, **more)  # type: ignore[arg-type]
    return [f"{d.candidate.taken:%m-%d %H:%M}" for d in decisions.of("keep")]


HOURLY_FOR_A_DAY = [at(f"2026-11-23 {hour:02}:00") for hour in range(24)]


def test_the_last() -> None:
    assert kept(HOURLY_FOR_A_DAY, keeping(last=3)) == ["11-23 23:00", "11-23 22:00", "11-23 21:00"]


def test_the_oldest_of_a_day_stays_and_today_does_not_replace_it() -> None:
    assert kept(HOURLY_FOR_A_DAY, keeping(daily=2)) == ["11-23 23:00", "11-23 00:00"]
    assert kept([*HOURLY_FOR_A_DAY, at("2026-11-24 05:00")], keeping(daily=2)) == ["11-24 05:00", "11-23 00:00"]


def test_a_verified_one_stays_instead_of_the_oldest() -> None:
    day = [at("2026-11-23 00:00"), at("2026-11-23 06:00", verified=True), at("2026-11-23 12:00", verified=True)]
    store = [*day, at("2026-11-24 01:00", verified=True)]
    assert kept(store, keeping(daily=2)) == ["11-24 01:00", "11-23 06:00"]


def test_weeks_begin_on_monday_and_belong_to_their_iso_year() -> None:
    store = [at("2026-12-28 00:00"), at("2027-01-03 23:59"), at("2027-01-04 00:00"), at("2027-01-05 00:00")]
    decisions = decide(store, keeping(weekly=9), datetime(2027, 1, 5, tzinfo=UTC))
    assert {d.id[:8]: d.reasons for d in decisions.of("keep")} == {
        "20270105": ("the newest", "of the last 1"),
        "20270104": ("week 2027-W01",),
        "20261228": ("week 2026-W53",),
    }


def test_days_without_a_snapshot_are_not_counted() -> None:
    store = [at("2026-11-24 00:00"), at("2026-10-01 00:00"), at("2026-03-01 00:00"), at("2025-01-01 00:00")]
    assert kept(store, keeping(daily=3)) == ["11-24 00:00", "10-01 00:00", "03-01 00:00"]


def test_max_age_is_stronger_than_the_rules_but_not_than_the_newest_and_the_verified() -> None:
    store = [at("2026-01-03 00:00"), at("2026-01-02 00:00", verified=True), at("2026-01-01 00:00")]
    decisions = decide(store, keeping(last=9, max_age_days=30), NOW)
    assert [d.reasons for d in decisions.of("keep")] == [
        ("the newest", "of the last 9"),
        ("the newest verified", "of the last 9"),
    ]
    assert [d.reasons for d in decisions.of("remove")] == [("older than max_age (30 days)",)]


def test_a_snapshot_that_failed_a_verification_is_neither_counted_nor_removed() -> None:
    store = [at("2026-11-24 00:00", unsound="found bad"), at("2026-11-23 00:00"), at("2026-11-22 00:00")]
    decisions = decide(store, keeping(), NOW)
    assert [(d.verdict, d.reasons) for d in decisions.all] == [
        ("keep", ("found bad: goes only by name",)),
        ("keep", ("the newest", "of the last 1")),
        ("remove", ("no rule keeps it",)),
    ]


@pytest.mark.parametrize(("kind", "days", "verdict"), [("safety", 29, "keep"), ("safety", 31, "remove")])
def test_a_safety_snapshot_stays_a_month_and_counts_for_nothing(kind: str, days: int, verdict: str) -> None:
    safety = replace(at("2026-11-24 00:00"), id="s", taken=NOW - timedelta(days=days), kind=kind)  # type: ignore[arg-type]
    store = [at("2026-11-24 01:00"), safety]
    found = {d.id: d.verdict for d in decide(store, keeping(last=5, daily=5, monthly=5), NOW).all}
    assert found["s"] == verdict


def test_an_imported_one_goes_only_by_age_or_name() -> None:
    old = at("2020-01-01 00:00", kind="imported", verified=True)
    store = [at("2026-11-24 01:00"), old]
    assert decide(store, keeping(), NOW).remove == ()
    assert decide(store, keeping(max_age_days=365), NOW).remove == (old.id,)
    assert decide(store, keeping(), NOW, [old.id]).remove == (old.id,)


def test_a_locked_one_goes_later() -> None:
    until = NOW + timedelta(days=3)
    store = [at("2026-11-24 01:00"), at("2026-11-20 01:00", locked_until=until)]
    decisions = decide(store, keeping(), NOW)
    assert decisions.remove == ()
    assert [(d.until, d.reasons) for d in decisions.of("later")] == [(until, ("no rule keeps it",))]
    assert decide(store, keeping(), until).remove == (store[1].id,)


def test_the_newest_regular_one_stays_also_when_a_safety_snapshot_is_newer() -> None:
    store = [at("2026-11-24 02:00", kind="safety"), at("2026-11-24 01:00"), at("2026-11-23 01:00")]
    decisions = decide(store, keeping(max_age_days=0.01), NOW, [candidate.id for candidate in store])
    assert [d.verdict for d in decisions.all] == ["keep", "keep", "remove"]


def test_max_age_to_the_second() -> None:
    store = [at("2026-11-24 01:00"), replace(at("2026-11-23 01:00"), taken=NOW - timedelta(days=1))]
    settings = keeping(last=9, max_age_days=1.0)
    assert decide(store, settings, NOW).remove == ()
    assert decide(store, settings, NOW + timedelta(seconds=1)).remove == (store[1].id,)


def test_while_one_is_from_the_future_nothing_goes_but_by_name() -> None:
    """A clock was five hours ahead: what is made since it is right would look older, and go at once."""
    first = at("2026-11-24 14:00", revision=7)
    ahead, newest = at("2026-11-24 19:00", revision=8), at("2026-11-24 14:20", revision=9)
    store = [first, ahead, newest]
    assert decide(store, keeping(max_age_days=0.001), NOW).remove == ()
    decisions = decide(store, keeping(), NOW, [candidate.id for candidate in store])
    assert set(decisions.remove) == {first.id, ahead.id}
    (reasons,) = (d.reasons for d in decide(store, keeping(), NOW).all if d.id == first.id)
    assert reasons[0].startswith(f"{ahead.id} says it is from the future")


def test_where_it_is_our_clock_that_is_behind_the_highest_revision_stays() -> None:
    store = [at("2026-11-24 10:00", revision=1), at("2026-11-25 10:00", revision=2), at("2026-11-26 10:00", revision=3)]
    assert decide(store, keeping(), NOW, [candidate.id for candidate in store]).remove == (store[1].id,)
