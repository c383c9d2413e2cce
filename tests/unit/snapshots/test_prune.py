"""Pruning a real store: what the plan says goes, in the right order, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.cluster.spec import RetentionSettings
from tasks.errors import InputError, Refused, StoreUnavailable
from tasks.plan import Plan
from tasks.snapshots.manifest import manifest_key
from tasks.snapshots.marks import pin, write_mark
from tasks.snapshots.prune import LONGEST_CAPTURE, Review, carry_out, check_named, plan_prune, review
from tasks.snapshots.stores.base import Entry
from tasks.snapshots.stores.directory import DirectoryStore
from tests.unit.snapshots.shelf import KEY, NOW, catalog_of, shelve

DAY = timedelta(days=1)
LATER = datetime.now(NOW.tzinfo) + LONGEST_CAPTURE + DAY  # as seen from files that are written now
TWO = RetentionSettings(2, 0, 0, 0, 0, None, 1)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore("local", tmp_path, "prod-a")


def look(store: DirectoryStore, settings: RetentionSettings = TWO, now: datetime = NOW, **more: Any) -> Review:
    return review(store, catalog_of(store), settings, now, **more)


def plan_for(store: DirectoryStore, **more: Any) -> Plan:
    return plan_prune("prod-a", [look(store, **more)])


def keys(store: DirectoryStore) -> set[str]:
    return {entry.key for entry in store.list("")}


def test_what_no_rule_keeps_goes_with_all_that_belongs_to_it(store: DirectoryStore) -> None:
    old = shelve(store, NOW - 3 * DAY, level="stored")
    store.put(f"bundles/{old.id}.age", b"bundle")
    kept = [shelve(store, NOW - age * DAY) for age in (2, 1)]
    plan = plan_for(store)
    assert [step.key for step in plan.steps] == [f"local/{old.id}"]
    assert plan.steps[0].why == "no rule keeps it"
    before = keys(store)
    assert carry_out(store, plan.steps[0])
    assert before - keys(store) == {key for key in before if old.id in key}
    assert {entry.id for entry in catalog_of(store).entries} == {manifest.id for manifest in kept}
    assert plan_for(store).empty
    assert carry_out(store, plan.steps[0]), "again does no harm"


def test_the_oldest_goes_first(store: DirectoryStore) -> None:
    made = [shelve(store, NOW - age * DAY) for age in (5, 4, 3, 2, 1)]
    assert [step.name for step in plan_for(store).steps] == [manifest.id for manifest in made[:3]]


class Dying(DirectoryStore):
    """Fails at a certain removal, as a killed process would."""

    def __init__(self, path: Path, removals: int) -> None:
        super().__init__("local", path, "prod-a")
        self.left = removals
        self.order: list[str] = []

    def delete(self, key: str) -> None:
        if not self.left:
            raise StoreUnavailable("gone")
        self.left -= 1
        self.order.append(key)
        super().delete(key)


@pytest.mark.parametrize("removals", [0, 1, 2, 3])
def test_cut_off_anywhere_a_removal_is_finished_by_a_later_prune(
    store: DirectoryStore, tmp_path: Path, removals: int
) -> None:
    old = shelve(store, NOW - 3 * DAY, level="stored")
    store.put(f"bundles/{old.id}.age", b"bundle")
    kept = [shelve(store, NOW - age * DAY) for age in (2, 1)]
    plan = plan_for(store)
    dying = Dying(tmp_path, removals)
    with pytest.raises(StoreUnavailable):
        carry_out(dying, plan.steps[0])
    assert dying.order[:1] == [manifest_key(old.id)][:removals], "the manifest first"
    catalog = catalog_of(store)
    assert len(catalog.entries) == (2 if removals else 3)
    assert not catalog.damaged
    for step in plan_for(store, now=LATER).steps:
        assert carry_out(store, step)
    assert {key for key in keys(store) if old.id in key} == set()
    assert {entry.id for entry in catalog_of(store).entries} == {manifest.id for manifest in kept}


def test_what_may_belong_to_a_capture_that_runs_is_left(store: DirectoryStore) -> None:
    shelve(store, NOW)
    store.put("data/20200101T000000Z-00000000/snapshot.db", b"an old snapshot is being copied in")
    store.put("data/notes.txt", b"somebody else's")
    assert plan_for(store).empty
    plan = plan_for(store, now=LATER)
    assert [step.name for step in plan.steps] == ["20200101T000000Z-00000000"]
    assert plan.steps[0].why == "there is no manifest, so it is no snapshot"
    store.put(manifest_key("20200101T000000Z-00000000"), b"it came after the plan was made")
    assert not carry_out(store, plan.steps[0])
    assert "data/20200101T000000Z-00000000/snapshot.db" in keys(store)


def test_a_pin_that_came_after_the_plan_saves_the_snapshot(store: DirectoryStore) -> None:
    old = shelve(store, NOW - 3 * DAY)
    for age in (2, 1):
        shelve(store, NOW - age * DAY)
    plan = plan_for(store)
    write_mark(store, pin(old, NOW, "wait!"), KEY)
    assert not carry_out(store, plan.steps[0])
    assert old.id in {entry.id for entry in catalog_of(store).entries}


def test_the_digest_tells_plans_apart(store: DirectoryStore) -> None:
    for age in (4, 3, 2, 1):
        shelve(store, NOW - age * DAY)
    three = replace(TWO, last=3)
    digests = {plan_for(store).digest, plan_for(store).digest, plan_for(store, settings=three).digest}
    assert len(digests) == 2


class Locked(DirectoryStore):
    """A directory that says of itself what a bucket with object lock says."""

    until: datetime | None = None

    def head(self, key: str) -> Entry | None:
        found = super().head(key)
        return replace(found, locked_until=self.until) if found and key.startswith("data/") else found


def test_what_is_locked_is_put_off_and_that_is_said(tmp_path: Path) -> None:
    store = Locked("vault", tmp_path, "prod-a")
    store.until = NOW + 2 * DAY
    for age in (4, 3, 2, 1):
        shelve(store, NOW - age * DAY)
    plan = plan_for(store)
    assert plan.empty
    assert any("vault: 2 snapshots would go but the store has locked them" in note for note in plan.notes)
    assert len(plan_for(store, now=NOW + 3 * DAY).steps) == 2


def test_what_is_left_of_a_removal_and_still_locked_waits_too(tmp_path: Path) -> None:
    store = Locked("vault", tmp_path, "prod-a")
    gone = shelve(store, NOW - 9 * DAY)
    store.delete(manifest_key(gone.id))
    store.until = LATER + DAY
    assert plan_for(store, now=LATER).empty
    assert len(plan_for(store, now=LATER + 2 * DAY).steps) == 1


def test_unsound_ones_stay_and_are_told_and_go_by_name(store: DirectoryStore) -> None:
    unsigned = shelve(store, NOW - 9 * DAY, key=None)
    cut = shelve(store, NOW - 8 * DAY)
    store.put(manifest_key(cut.id), b"{")
    for age in (2, 1):
        shelve(store, NOW - age * DAY)
    plan = plan_for(store)
    assert plan.empty
    assert any("2 snapshots not sound, neither counted nor removed" in note for note in plan.notes)
    named = plan_for(store, named=[unsigned.id, cut.id])
    assert [step.name for step in named.steps] == [unsigned.id, cut.id]
    assert all(carry_out(store, step) for step in named.steps)
    assert not [key for key in keys(store) if unsigned.id in key or cut.id in key]


def test_no_name_removes_the_newest_the_last_verified_or_a_pinned_one(store: DirectoryStore) -> None:
    pinned = shelve(store, NOW - 4 * DAY, pinned=True)
    verified = shelve(store, NOW - 3 * DAY, level="opened")
    damaged = shelve(store, NOW - 2 * DAY, pinned=True)
    store.put(manifest_key(damaged.id), b"{")
    newest = shelve(store, NOW - DAY)
    for manifest, why in (
        (pinned, "pinned"),
        (verified, "the newest verified"),
        (newest, "the newest"),
        (damaged, "pin"),
    ):
        with pytest.raises(Refused, match=why):
            look(store, named=[manifest.id])
    with pytest.raises(InputError, match="no store that answered has a snapshot '2026'"):
        check_named([catalog_of(store)], ["2026"])


def test_without_a_known_key_nothing_goes_and_it_says_why(store: DirectoryStore) -> None:
    for age in range(5):
        shelve(store, NOW - age * DAY)
    plan = plan_prune("prod-a", [review(store, catalog_of(store, None), TWO, NOW)])
    assert plan.empty
    assert "pin it: snapshots.signing.public_key" in plan.notes[0]
