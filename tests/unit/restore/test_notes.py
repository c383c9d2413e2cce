"""Restores as stores know them: signed, merged, swept; and what is told of them before the next one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from deployments.cli import main
from tasks.restore.expect import STOP, Drill, Last, expected, lost
from tasks.restore.notes import KEPT, Noted, merged, new_end, note_begun, note_end, read_notes
from tasks.restore.record import Record
from tasks.snapshots.signing import public_key_text
from tasks.snapshots.stores.directory import DirectoryStore
from tests.unit.restore.scene import cluster, record
from tests.unit.snapshots.shelf import KEY, TRUSTED

RECORD = record(cluster(), began=1795530600.0, taken=1795527000.0, bytes=1 << 30)
DONE = new_end(RECORD, "done", 1795530700.0, writable=20.0, phases=[("bring", 50.0), (STOP, 5.0), ("rest", 25.0)])


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    (tmp_path / "local").mkdir()
    return DirectoryStore("local", tmp_path / "local", "prod-a")


def read(store: DirectoryStore) -> tuple[Noted, ...]:
    return read_notes(store, "prod-a", TRUSTED)


def test_begun_done_and_taken_back(store: DirectoryStore) -> None:
    note_begun(store, RECORD, KEY)
    note_begun(store, RECORD, KEY)
    assert read(store) == (Noted(RECORD, None),)
    note_end(store, RECORD, DONE, KEY)
    assert read(store) == (Noted(RECORD, DONE),)
    back = new_end(RECORD, "taken back", DONE.at + 60)
    note_end(store, RECORD, back, KEY)
    assert read(store)[0].state == "taken back"
    assert read_notes(store, "prod-b", TRUSTED) == ()


def test_an_end_whose_beginning_was_missed(store: DirectoryStore) -> None:
    note_end(store, RECORD, DONE, KEY)
    assert read(store) == (Noted(RECORD, DONE),)


def test_what_somebody_else_put_there_says_nothing(store: DirectoryStore) -> None:
    note_begun(store, RECORD, KEY)
    assert read_notes(store, "prod-a", None) == ()
    (entry,) = store.list("restores/")
    store.put(entry.key, store.get(entry.key).replace(b'"bump": 1000000000', b'"bump": 1'))
    store.put("restores/x/begun.json", b"not ours")
    assert read(store) == ()


def test_the_oldest_are_removed(store: DirectoryStore) -> None:
    for number in range(KEPT + 3):
        note_begun(store, replace(RECORD, id=f"{number:016x}", began=float(number)), KEY)
    note_end(store, replace(RECORD, id="f" * 16, began=1e6), replace(DONE, id="f" * 16), KEY)
    begun = [one.record.began for one in read(store)]
    assert len(begun) == KEPT
    assert begun[0] == 1e6
    assert begun[-1] == 4.0


def test_what_one_store_missed_another_knows() -> None:
    other = replace(RECORD, id="f" * 16, began=RECORD.began + 5)
    assert merged([[Noted(RECORD)], [Noted(other), Noted(RECORD, DONE)]]) == (Noted(other), Noted(RECORD, DONE))


def test_they_are_listed(tmp_path: Path, store: DirectoryStore) -> None:
    file = tmp_path / "prod-a.yaml"
    pinned = f"signing: {{public_key: '{public_key_text(KEY)}'}}"
    hosts = "hosts: [{name: etcd-01, address: 192.0.2.11}]"
    file.write_text(f"name: prod-a\n{hosts}\nsnapshots: {{stores: [{{name: local, directory: ./local}}], {pinned}}}\n")
    assert "no restore is on record" in CliRunner().invoke(main, ["restores", "list", str(file)]).output
    note_end(store, replace(RECORD, requested_by="ops", reason="a typo"), DONE, KEY)
    (_, _, row) = CliRunner().invoke(main, ["restores", "list", str(file)]).output.splitlines()
    for said in ("2026-11-24", "01234567", RECORD.snapshot, "done", "20 s", "ops", "a typo"):
        assert said in row


# --- what is told before ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (None, "nothing newer is known of"),
        (Last(100, RECORD.taken, "snapshot X"), "nothing newer is known of"),
        (Last(100, RECORD.taken + 7200, "what the members hold now"), "nothing was written in the 2 h since"),
        (Last(142, RECORD.taken + 7200, "what the members hold now"), "42 revisions in 2 h, up to what the members"),
        (Last(10**9 + 142, RECORD.taken + 7200, "now"), "how many can't be told: in 2 h"),
    ],
)
def test_what_is_lost(last: Last | None, said: str) -> None:
    assert said in lost(RECORD, last)


def test_how_long_it_takes() -> None:
    def said(wanted: Record, *noted: Noted, drill: Drill | None = None) -> str:
        return expected(wanted, noted, drill)

    assert "a guess" in said(RECORD)
    assert "the last drill" in said(RECORD, drill=Drill(1 << 20, 1.0))
    assert "a guess" in said(RECORD, Noted(RECORD), Noted(RECORD, new_end(RECORD, "taken back", 0.0)))
    assert "can't write for about 20 s" in said(RECORD, Noted(RECORD), Noted(RECORD, DONE))
    twice = replace(RECORD, bytes=2 << 30)
    assert "can't write for about 40 s, about 3 min 30 s in all (as the restore of 2026-11-24 did" in said(
        twice, Noted(RECORD, DONE)
    )
