"""What a run that is taken up again finds of its earlier life."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tasks.snapshots.earlier import backup_of, stored_by
from tasks.snapshots.stores.directory import DirectoryStore
from tests.unit.snapshots.shelf import NOW, STRANGER, catalog_of, shelve

NAMES = ("local", "offsite")
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def stores(tmp_path: Path) -> list[DirectoryStore]:
    found = [DirectoryStore(name, tmp_path / name, "prod-a") for name in NAMES]
    for name in NAMES:
        (tmp_path / name).mkdir()
    return found


def found(stores: list[DirectoryStore], run_id: str = "run-1") -> dict[str, str]:
    manifests = stored_by(run_id, [catalog_of(store) for store in stores], NAMES)
    return {name: manifest.id for name, manifest in manifests.items()}


def test_what_every_store_has_is_not_made_again(stores: list[DirectoryStore]) -> None:
    local, offsite = stores
    only_here = shelve(local, LATER + timedelta(hours=1))
    ids = [shelve(store, NOW).id for store in stores]
    assert found(stores) == dict(zip(NAMES, ids, strict=True))
    newer = [shelve(store, LATER).id for store in stores]
    assert found(stores) == dict(zip(NAMES, newer, strict=True))
    assert only_here.id not in found(stores).values()
    assert found(stores, "run-2") == {}
    assert found(stores[:1]) == {}, "a store that does not answer may not have it"
    assert stored_by("run-1", [catalog_of(local), catalog_of(offsite)], ()) == {}


def test_half_a_backup_is_none(stores: list[DirectoryStore]) -> None:
    shelve(stores[0], NOW)
    shelve(stores[1], LATER)
    assert found(stores) == {}, "each has another one"


@pytest.mark.parametrize("unsound", [{"key": None}, {"key": STRANGER}, {"bad": "page 7"}, {"cluster": "prod-b"}])
def test_what_is_no_backup_does_not_count(stores: list[DirectoryStore], unsound: dict[str, object]) -> None:
    shelve(stores[0], NOW)
    shelve(stores[1], NOW, **unsound)  # type: ignore[arg-type]
    assert found(stores) == {}


def test_it_is_reported_as_a_backup(stores: list[DirectoryStore]) -> None:
    manifests = [shelve(store, NOW) for store in stores]
    backup = backup_of(dict(zip(NAMES, manifests, strict=True)))
    assert backup.earlier
    assert backup.manifest.id == manifests[0].id
    assert (backup.pumped.seconds, backup.pumped.held_seconds) == (4.0, 3.5)
