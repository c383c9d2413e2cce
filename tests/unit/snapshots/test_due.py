"""Which stored snapshots are to be opened next."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyrage
import pytest

from tasks.cluster.secrets import Secret
from tasks.errors import InputError, LockHeld
from tasks.snapshots.age_keys import Keys
from tasks.snapshots.alone import alone
from tasks.snapshots.due import due, fits
from tasks.snapshots.stores.directory import DirectoryStore
from tests.unit.snapshots.shelf import NOW, STRANGER, catalog_of, manifest_of, shelve

DAY = timedelta(days=1)


@pytest.fixture
def stores(tmp_path: Path) -> list[DirectoryStore]:
    found = [DirectoryStore(name, tmp_path / name, "prod-a") for name in ("local", "offsite")]
    for name in ("local", "offsite"):
        (tmp_path / name).mkdir()
    return found


def test_the_newest_that_nobody_opened_come_first_in_all_stores(stores: list[DirectoryStore]) -> None:
    local, offsite = stores
    old = shelve(local, NOW - 3 * DAY, level="stored")
    shelve(local, NOW - 2 * DAY, level="opened")
    again = shelve(offsite, NOW - 2 * DAY)
    shelve(local, NOW - DAY, level="restored")
    newest = [shelve(store, NOW).id for store in stores]
    for unsound in ({"key": None}, {"key": STRANGER}, {"bad": "page 7"}, {"cluster": "prod-b"}):
        shelve(offsite, NOW + DAY, len(str(unsound)), **unsound)
    todo = due([catalog_of(store) for store in stores], None, 3)
    assert [(entry.id, entry.store) for entry in todo.chosen] == [
        (newest[0], "local"),
        (newest[1], "offsite"),
        (again.id, "offsite"),
    ]
    assert [(entry.id, entry.store) for entry in todo.waiting] == [(old.id, "local")]
    assert todo.locked == ()


def test_what_no_key_opens_takes_nobodys_turn(stores: list[DirectoryStore]) -> None:
    ours, theirs = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    keys = Keys(identity=Secret(f"{ours}\n"))
    locked = shelve(stores[0], NOW, recipients=(str(theirs.to_public()),), encryption="age")
    catalogs = [catalog_of(stores[0])]
    with pytest.raises(InputError, match=locked.id):
        due(catalogs, keys, 1).demand_a_key()
    both = (str(theirs.to_public()), str(ours.to_public()))
    older = shelve(stores[0], NOW - DAY, recipients=both, encryption="age")
    todo = due([catalog_of(stores[0])], keys, 1)
    todo.demand_a_key()
    assert [entry.id for entry in todo.chosen] == [older.id]
    assert [entry.id for entry in todo.locked] == [locked.id]


def test_a_passphrase_may_fit_what_has_no_recipients() -> None:
    clear, locked = manifest_of(NOW, b""), manifest_of(NOW, b"", encryption="age")
    assert fits(clear, None)
    assert not fits(locked, None)
    assert fits(locked, Keys(passphrase=Secret("a phrase")))
    assert not fits(locked, Keys(identity=Secret(str(pyrage.x25519.Identity.generate()))))


def test_one_at_a_time(tmp_path: Path) -> None:
    state = tmp_path / "state" / "prod-a"
    held = pytest.raises(LockHeld, match="another verify-snapshots")
    with alone(state, "verify-snapshots"), held, alone(state, "verify-snapshots"):
        raise AssertionError("not reached")
    with alone(state, "verify-snapshots"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"), alone(tmp_path / "file" / "state", "verify-snapshots"):
        raise AssertionError("not reached")
