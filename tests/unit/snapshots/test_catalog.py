"""The catalog and its marks: what counts, what is only listed, and how a person says which snapshot is meant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import InputError, Refused
from tasks.snapshots.catalog import candidate
from tasks.snapshots.find import find, moment, passed_over
from tasks.snapshots.manifest import manifest_key
from tasks.snapshots.marks import Contents, pin, unpin, verification, write_mark
from tasks.snapshots.signing import MAX_BYTES
from tasks.snapshots.stores.directory import DirectoryStore
from tests.unit.snapshots.shelf import KEY, NOW, STRANGER, catalog_of, only, shelve

HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore("local", tmp_path, "prod-a")


@pytest.fixture
def second(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore("offsite", tmp_path / "second", "prod-a")


def test_an_empty_store_has_an_empty_catalog(store: DirectoryStore) -> None:
    catalog = catalog_of(store)
    assert (catalog.entries, catalog.damaged, catalog.newest) == ((), (), None)


def test_the_newest_comes_first_and_all_is_known_of_it(store: DirectoryStore) -> None:
    old = shelve(store, NOW - HOUR)
    new = shelve(store, NOW, level="opened", pinned=True)
    catalog = catalog_of(store)
    assert [entry.manifest for entry in catalog.entries] == [new, old]
    first, last = catalog.entries
    assert (first.level, first.verified, first.pinned, first.trust) == ("opened", True, True, "signed")
    assert first.verified_at == (NOW + HOUR).timestamp()
    assert (last.level, last.verified, last.pinned, last.verified_at) == ("stored", False, False, None)
    assert {entry.unsound for entry in catalog.entries} == {""}
    assert catalog.newest == first
    assert not catalog.orphans


def edit(data: bytes) -> bytes:
    return data.replace(b'"revision_max": 1010', b'"revision_max": 9010')


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (edit, "changed after it was signed"),
        (lambda data: data[:-40], "damaged"),
        (lambda data: b"", "damaged"),
        (lambda data: b"\xff\x00" * 40, "damaged"),
        (lambda data: b'{"manifest": {"format": "etcd-flows-snapshot/99"}}', "format"),
        (lambda data: b"[1]", "no manifest"),
    ],
    ids=["edited", "cut", "empty", "noise", "newer format", "other JSON"],
)
def test_a_manifest_that_can_not_be_used_is_listed_as_what_it_is(
    store: DirectoryStore, change: Callable[[bytes], bytes], why: str
) -> None:
    good, bad = shelve(store, NOW - HOUR), shelve(store, NOW)
    store.put(manifest_key(bad.id), change(store.get(manifest_key(bad.id))))
    catalog = catalog_of(store)
    assert [entry.id for entry in catalog.entries] == [good.id]
    assert [damaged.id for damaged in catalog.damaged] == [bad.id]
    assert why in catalog.damaged[0].why
    assert not catalog.orphans, "its data is still of a snapshot"
    with pytest.raises(InputError, match=r"can't be used"):
        find([catalog], bad.id)


def test_a_manifest_under_another_name_is_no_snapshot(store: DirectoryStore) -> None:
    one = shelve(store, NOW)
    store.put(manifest_key("20270101T000000Z-00000000"), store.get(manifest_key(one.id)))
    store.put("manifests/README.json", b"hello")
    catalog = catalog_of(store)
    assert [entry.id for entry in catalog.entries] == [one.id]
    assert {damaged.id for damaged in catalog.damaged} == {"20270101T000000Z-00000000", ""}
    assert "under another name" in next(d.why for d in catalog.damaged if d.id)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"key": None}, "not signed"),
        ({"key": STRANGER}, "signed by a key that is not trusted here"),
        ({"cluster": "prod-b"}, "of another cluster, prod-b"),
        ({"bad": "its bytes were changed"}, "a verification found: its bytes were changed"),
    ],
)
def test_what_is_not_sound_is_listed_with_the_reason(store: DirectoryStore, changes: dict[str, Any], why: str) -> None:
    shelve(store, NOW, **changes)
    entry = only(store)
    assert entry.unsound == why
    assert candidate(entry).unsound == why
    assert catalog_of(store).newest is None


def test_without_a_trusted_key_nothing_is_ours(store: DirectoryStore) -> None:
    shelve(store, NOW, level="opened")
    entry = only(store, trusted=None)
    assert (entry.trust, entry.verified) == ("foreign", False)


def test_missing_and_cut_data_is_seen(store: DirectoryStore) -> None:
    missing, cut = shelve(store, NOW), shelve(store, NOW, 1)
    store.delete(missing.object)
    store.put(cut.object, b"short")
    problems = {entry.id: entry.problem for entry in catalog_of(store).entries}
    assert problems == {
        missing.id: "its data is missing",
        cut.id: f"its data has 5 bytes instead of {cut.object_bytes}",
    }


def test_data_without_a_manifest_is_an_orphan(store: DirectoryStore) -> None:
    gone = shelve(store, NOW, level="opened")
    store.delete(manifest_key(gone.id))
    store.put("bundles/notes.txt", b"not ours")
    orphans = catalog_of(store).orphans
    assert list(orphans) == [gone.id]
    assert {entry.key.partition("/")[0] for entry in orphans[gone.id]} == {"data", "marks"}


# Marks


def test_a_pin_is_ended_by_the_unpin_that_names_it_whatever_the_clocks_say(store: DirectoryStore) -> None:
    manifest = shelve(store, NOW)
    write_mark(store, pin(manifest, NOW, "audit"), KEY)
    pins = only(store).standing.pins
    assert len(pins) == 1
    write_mark(store, pin(manifest, NOW + HOUR, "another one's"), KEY)
    write_mark(store, unpin(manifest, NOW - HOUR, pins, "done"), KEY)
    assert only(store).pinned, "the second pin is in force"
    write_mark(store, unpin(manifest, NOW - HOUR, only(store).standing.pins, "done"), KEY)
    assert not only(store).pinned


def test_a_strangers_marks_verify_and_unpin_nothing_but_their_pin_keeps(store: DirectoryStore) -> None:
    manifest = shelve(store, NOW, pinned=True)
    write_mark(store, verification(manifest, "restored", NOW), STRANGER)
    write_mark(store, verification(manifest, "opened", NOW, bad="forged alarm"), STRANGER)
    write_mark(store, unpin(manifest, NOW, only(store).standing.pins, "ha"), STRANGER)
    entry = only(store)
    assert (entry.level, entry.pinned, entry.unsound) == ("stored", True, "")
    assert (
        sorted(seen.ignored for seen in entry.marks if seen.ignored)
        == ["it is signed by a key that is not trusted here"] * 3
    )
    other = shelve(store, NOW + HOUR)
    write_mark(store, pin(other, NOW, "keep"), STRANGER)
    assert catalog_of(store).entries[0].pinned


def test_a_mark_moved_to_another_snapshot_does_not_count(store: DirectoryStore) -> None:
    good, other = shelve(store, NOW, level="opened"), shelve(store, NOW + HOUR)
    (listed,) = store.list(f"marks/{good.id}/")
    store.put(listed.key.replace(good.id, other.id), store.get(listed.key))
    store.put(listed.key.replace("verification", "again"), store.get(listed.key))
    entries = {entry.id: entry for entry in catalog_of(store).entries}
    assert entries[good.id].verified
    assert not entries[other.id].verified
    assert [seen.ignored for seen in entries[other.id].marks] == ["it was made for other data"]
    assert "it is not where it was put" in [seen.ignored for seen in entries[good.id].marks]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"mark": {"format": "etcd-flows-mark/1"}}'])
def test_an_unreadable_mark_is_shown_and_if_it_was_a_pin_it_keeps(store: DirectoryStore, content: bytes) -> None:
    manifest = shelve(store, NOW)
    store.put(f"marks/{manifest.id}/verification-x.json", content)
    assert not only(store).pinned
    assert [bool(seen.ignored) for seen in only(store).marks] == [True]
    store.put(f"marks/{manifest.id}/pin-x.json", content)
    assert only(store).pinned


@pytest.mark.parametrize(
    ("steps", "level", "bad"),
    [
        ([("stored", "")], "stored", ""),
        ([("opened", ""), ("stored", "")], "opened", ""),
        ([("opened", ""), ("stored", "cut")], "stream", "cut"),
        ([("opened", ""), ("stored", "cut"), ("stored", "")], "opened", ""),
        ([("opened", "bbolt"), ("stored", "")], "stream", "bbolt"),
        ([("opened", "bbolt"), ("opened", "")], "opened", ""),
        ([("restored", ""), ("opened", "")], "restored", ""),
    ],
)
def test_the_latest_look_that_goes_as_deep_decides(
    store: DirectoryStore, steps: list[tuple[Any, str]], level: str, bad: str
) -> None:
    manifest = shelve(store, NOW)
    for number, (reached, found) in enumerate(steps):
        contents = Contents(5, 1, 77, 3) if reached != "stored" else None
        made = verification(manifest, reached, NOW + number * HOUR, bad=found, contents=contents, seconds=1.5)
        write_mark(store, made, KEY)
    assert (only(store).level, only(store).standing.bad) == (level, bad)


# Which one is meant


def test_latest_passes_over_what_is_not_sound_and_says_so(store: DirectoryStore) -> None:
    good = shelve(store, NOW - 5 * HOUR)
    shelve(store, NOW - 4 * HOUR, kind="safety")
    shelve(store, NOW - 3 * HOUR, kind="imported")
    unsigned = shelve(store, NOW - 2 * HOUR, key=None)
    bad = shelve(store, NOW - HOUR, bad="cut")
    catalogs = [catalog_of(store)]
    chosen = find(catalogs, "latest")
    assert chosen.manifest == good
    assert [(entry.id, why) for entry, why in passed_over(catalogs, chosen)] == [
        (bad.id, "a verification found: cut"),
        (unsigned.id, "not signed"),
    ]


def test_latest_of_a_level(store: DirectoryStore) -> None:
    verified = shelve(store, NOW - HOUR, level="opened")
    shelve(store, NOW)
    assert find([catalog_of(store)], "latest", "opened").id == verified.id
    with pytest.raises(InputError, match="none of 2 sound snapshots in local"):
        find([catalog_of(store)], "latest", "restored")


def test_before_a_time_means_complete_before_it(store: DirectoryStore) -> None:
    first, second = shelve(store, NOW - HOUR), shelve(store, NOW)  # each takes four seconds
    catalogs = [catalog_of(store)]
    assert find(catalogs, "before 2026-11-24T14:30:04").id == second.id
    assert find(catalogs, "before 2026-11-24T14:30:03").id == first.id
    assert find(catalogs, "before 2026-11-24T15:30:03+01:00").id == first.id
    with pytest.raises(InputError, match="complete before 2026-11-24 13:00:00 UTC") as caught:
        find(catalogs, "before 2026-11-24 13:00")
    assert "the earliest there is ended at 2026-11-24 13:30:04 UTC" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["2026-11-24", "14:30", "24.11.2026 14:30", "2026-11-24T25:00", "2026-11-24T14:30 CET", "", "yesterday"]
)
def test_a_time_that_could_be_misread_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a time"):
        moment(text)


@pytest.mark.parametrize(
    "text", ["2026-11-24T14:30", "2026-11-24 14:30:00Z", "2026-11-24T15:30+01:00", "2026-11-24 14:30 Z"]
)
def test_times_that_are_understood(text: str) -> None:
    assert moment(text) == NOW


def test_an_id_may_be_cut_as_long_as_it_is_the_only_one(store: DirectoryStore) -> None:
    one, two = shelve(store, NOW), shelve(store, NOW, 1)
    shelve(store, NOW - HOUR)
    catalogs = [catalog_of(store)]
    assert find(catalogs, one.id).id == one.id
    assert find(catalogs, two.id[:-1] + "1").id == two.id
    with pytest.raises(InputError, match="may be any of 2 snapshots"):
        find(catalogs, "20261124T1430")
    assert find(catalogs, "20261124T1330").taken == NOW - HOUR
    for unknown in ("2025", "", "xyz"):
        with pytest.raises(InputError, match="no snapshot's id begins with"):
            find(catalogs, unknown)


def test_by_id_what_is_not_sound_needs_consent(store: DirectoryStore) -> None:
    forged = shelve(store, NOW, key=None)
    broken = shelve(store, NOW, 1, bad="cut")
    catalogs = [catalog_of(store)]
    with pytest.raises(Refused, match="not signed"):
        find(catalogs, forged.id)
    assert find(catalogs, forged.id, accept="untrusted").id == forged.id
    with pytest.raises(Refused, match="cut"):
        find(catalogs, broken.id, accept="untrusted")
    assert find(catalogs, broken.id, accept="any").id == broken.id
    with pytest.raises(Refused, match="proven only as far as stream, and opened is needed"):
        find(catalogs, broken.id, "opened", accept="any")


def test_of_two_stores_the_better_proven_copy_is_taken(store: DirectoryStore, second: DirectoryStore) -> None:
    manifest = shelve(store, NOW)
    shelve(second, NOW)
    catalogs = [catalog_of(store), catalog_of(second)]
    assert find(catalogs, "latest").store == "local"
    write_mark(second, verification(manifest, "opened", NOW), KEY)
    catalogs = [catalog_of(store), catalog_of(second)]
    assert find(catalogs, "latest").store == "offsite"
    store.delete(manifest.object)
    assert find([catalog_of(store), catalog_of(second)], manifest.id).store == "offsite"


def test_no_snapshot_at_all(store: DirectoryStore) -> None:
    with pytest.raises(InputError, match="no sound snapshot in local") as caught:
        find([catalog_of(store)], "latest")
    assert "cluster's name" in str(caught.value)


# What is read


class Counting(DirectoryStore):
    """Counts what is really read."""

    reads = 0

    def get(self, key: str) -> bytes:
        self.reads += 1
        return super().get(key)


def test_what_is_far_too_large_is_listed_but_not_read(tmp_path: Path) -> None:
    store = Counting("local", tmp_path, "prod-a")
    good = shelve(store, NOW)
    store.put(manifest_key("20270101T000000Z-00000000"), b" " * (MAX_BYTES + 1))
    store.put(f"marks/{good.id}/pin-x.json", b" " * (MAX_BYTES + 1))
    catalog = catalog_of(store)
    assert store.reads == 1
    assert [damaged.id for damaged in catalog.damaged] == ["20270101T000000Z-00000000"]
    assert catalog.entries[0].pinned
