"""What a verification may write down as bad, and what not; copies from store to store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tasks.cluster.secrets import Secret
from tasks.errors import (
    DecryptionError,
    EtcdFlowsError,
    ManifestError,
    SnapshotDamaged,
    StoreConflict,
    StoreCorrupt,
    StoreUnavailable,
)
from tasks.snapshots.age_keys import Keys
from tasks.snapshots.copy import copy, missing
from tasks.snapshots.manifest import HashKV, Manifest, manifest_key
from tasks.snapshots.marks import Contents
from tasks.snapshots.opened import Opened
from tasks.snapshots.stores.directory import DirectoryStore
from tasks.snapshots.verify import record, verify
from tests.unit.snapshots.shelf import KEY, NOW, STRANGER, catalog_of, only, sealed, shelve
from tests.unit.snapshots.test_fetch import CODECS, KEYS, encoder

HOUR = timedelta(hours=1)
INSIDE = Opened(1005, HashKV(1005, 900, 77), HashKV(1005, 900, 77), 42, "3.6.0", "3.6.16", 1.0)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    (tmp_path / "local").mkdir()
    return DirectoryStore("local", tmp_path / "local", "prod-a")


@pytest.fixture
def offsite(tmp_path: Path) -> DirectoryStore:
    (tmp_path / "offsite").mkdir()
    return DirectoryStore("offsite", tmp_path / "offsite", "prod-a")


def opens(contents: Opened = INSIDE) -> Callable[[Path, Path, Manifest], Opened]:
    """A database that opens; whether real ones do is tested with etcd."""

    def opener(file: Path, scratch: Path, _manifest: Manifest) -> Opened:
        assert file.parent == scratch
        assert scratch.stat().st_mode & 0o77 == 0
        return contents

    return opener


def flip(store: DirectoryStore) -> None:
    key = only(store).manifest.object
    data = bytearray(store.get(key))
    data[700] ^= 1
    store.put(key, bytes(data))


def looked(store: DirectoryStore, keys: Keys | None = None, **more: Any) -> tuple[str, str, str]:
    """Verify and write down; tells level, what is bad, and what the catalog then says."""
    found = verify(only(store), store, keys, **more)
    record(only(store), store, found, KEY, NOW + HOUR)
    return found.level, found.bad, only(store).level


def test_stored_and_opened_are_written_down(store: DirectoryStore) -> None:
    shelve(store)
    assert looked(store) == ("stored", "", "stored")
    assert only(store).verified_at == (NOW + HOUR).timestamp()
    assert looked(store, opener=opens()) == ("opened", "", "opened")
    assert [seen.mark.contents for seen in only(store).marks if seen.mark and seen.mark.contents] == [
        Contents(1005, 900, 77, 42)
    ]


def test_changed_bytes_are_bad_and_a_later_good_look_mends_it(store: DirectoryStore) -> None:
    shelve(store)
    flip(store)
    level, bad, _ = looked(store, opener=opens())
    assert (level, only(store).verified) == ("stored", False)
    assert "changed, by a failing disk or on purpose" in bad
    assert "changed, by a failing disk" in only(store).unsound
    flip(store)
    record(only(store), store, verify(only(store), store, None), KEY, NOW + 2 * HOUR)
    assert only(store).unsound == ""


def broken(_file: Path, _scratch: Path, _manifest: Manifest) -> Opened:
    raise SnapshotDamaged("page 7: multiple references")


@pytest.mark.parametrize(
    ("changes", "opener", "why"),
    [
        ({}, broken, "page 7"),
        ({}, opens(replace(INSIDE, revision=999)), "at revision 999, but the manifest says 1000 to 1010"),
        ({"hashkv": HashKV(1005, 900, 78)}, opens(), "the hash 77, but the member had 78"),
        ({"db_sha256": "0" * 64}, opens(), "not the database that was captured"),
    ],
)
def test_a_bad_database_is_written_down(store: DirectoryStore, changes: dict[str, Any], opener: Any, why: str) -> None:
    shelve(store, **changes)
    level, bad, after = looked(store, opener=opener)
    assert why in bad
    assert (level, after) == ("opened", "stream")


@pytest.mark.parametrize("known", [HashKV(1005, 900, 77), HashKV(1005, 800, 1), HashKV(1001, 900, 1), None])
def test_hashes_that_can_not_be_compared_mean_nothing(store: DirectoryStore, known: HashKV | None) -> None:
    shelve(store, hashkv=known)
    assert looked(store, opener=opens()) == ("opened", "", "opened")


class Silent(DirectoryStore):
    def read(self, key: str, start: int = 0) -> Any:
        raise StoreUnavailable("no answer")


def test_a_wrong_key_a_silent_store_and_a_missing_directory_say_nothing_of_the_snapshot(
    store: DirectoryStore, tmp_path: Path
) -> None:
    codec = CODECS["age"]
    shelve(store, encode=encoder(codec), encryption="age", recipients=codec.recipients)
    wrong = Keys(identity=Secret(str(pyrage.x25519.Identity.generate())))
    entry = only(store)
    with pytest.raises(DecryptionError):
        verify(entry, store, wrong, opener=opens())
    with pytest.raises(EtcdFlowsError, match="no answer"):
        verify(entry, Silent("local", tmp_path / "local", "prod-a"), KEYS, opener=opens())
    assert verify(entry, store, KEYS, opener=opens()).bad == ""
    assert verify(entry, store, None).bad == "", "reading back needs no key"
    assert only(store).marks == ()


# Copies


def copied(store: DirectoryStore, offsite: DirectoryStore, **more: Any) -> Any:
    at = more.get("at", NOW + 2 * HOUR)
    return copy(only(store), store, offsite, catalog_of(offsite), more.get("key", KEY), lambda: at)


def test_a_copy_is_the_same_to_the_byte_and_as_well_proven(store: DirectoryStore, offsite: DirectoryStore) -> None:
    manifest = shelve(store, level="opened", pinned=True)
    store.put(f"bundles/{manifest.id}.age", b"bundle")
    done = copied(store, offsite)
    assert (done.bytes, done.proof, done.there_before) == (manifest.object_bytes, "read back", False)
    for key in (manifest.object, manifest_key(manifest.id), f"bundles/{manifest.id}.age"):
        assert store.get(key) == offsite.get(key)
    entry = only(offsite)
    assert (entry.trust, entry.level, entry.pinned, entry.unsound) == ("signed", "opened", False, "")
    assert copied(store, offsite).there_before


def test_without_the_signing_key_a_copy_is_trusted_all_the_same(store: DirectoryStore, offsite: DirectoryStore) -> None:
    shelve(store, level="opened")
    copied(store, offsite, key=None)
    assert (only(offsite).trust, only(offsite).level, only(offsite).marks) == ("signed", "stored", ())


def test_changed_bytes_are_not_copied(store: DirectoryStore, offsite: DirectoryStore) -> None:
    shelve(store)
    flip(store)
    with pytest.raises(StoreCorrupt):
        copied(store, offsite)
    assert list(offsite.list("")) == []


def test_a_broken_copy_is_mended(store: DirectoryStore, offsite: DirectoryStore) -> None:
    manifest = shelve(store)
    copied(store, offsite, at=NOW)
    flip(offsite)
    record(only(offsite), offsite, verify(only(offsite), offsite, None), KEY, NOW + HOUR)
    assert only(offsite).unsound
    assert missing(catalog_of(store), catalog_of(offsite)) == [only(store)]
    assert not copied(store, offsite).there_before
    assert only(offsite).unsound == ""
    offsite.delete(manifest.object)
    copied(store, offsite)
    assert only(offsite).unsound == ""


def test_another_snapshot_of_that_id_is_not_written_over(store: DirectoryStore, offsite: DirectoryStore) -> None:
    manifest = shelve(store)
    shelve(offsite, raft_term=99)
    with pytest.raises(StoreConflict):
        copied(store, offsite)
    offsite.put(manifest_key(manifest.id), sealed(manifest, STRANGER))
    with pytest.raises(StoreConflict):
        copied(store, offsite)
    offsite.put(manifest_key(manifest.id), b"{")
    with pytest.raises(StoreConflict):
        copied(store, offsite)


def test_a_backup_into_both_stores_is_one_snapshot(store: DirectoryStore, offsite: DirectoryStore) -> None:
    shelve(store)
    shelve(offsite, proof="checksum", finished=NOW.timestamp() + 9)
    assert copied(store, offsite).there_before


def test_a_manifest_that_was_replaced_meanwhile_is_not_copied(store: DirectoryStore, offsite: DirectoryStore) -> None:
    manifest = shelve(store)
    entry = only(store)
    store.put(manifest_key(manifest.id), sealed(manifest.__class__(**{**vars(manifest), "raft_term": 9}), KEY))
    with pytest.raises(ManifestError, match="was replaced"):
        copy(entry, store, offsite, catalog_of(offsite), KEY, lambda: datetime.now(NOW.tzinfo))
    assert list(offsite.list("")) == []


def test_only_what_is_sound_and_missing_is_copied_by_itself(store: DirectoryStore, offsite: DirectoryStore) -> None:
    first, second = shelve(store, NOW - 2 * HOUR), shelve(store, NOW - HOUR)
    shelve(store, NOW, key=None)
    shelve(store, NOW, 1, bad="cut")
    assert [entry.id for entry in missing(catalog_of(store), catalog_of(offsite))] == [first.id, second.id]
