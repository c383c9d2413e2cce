"""The index of a store: whatever state it is in, the catalog is the same; it only saves reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.errors import StoreError
from tasks.snapshots import catalog_index
from tasks.snapshots.catalog import Catalog, read_catalog
from tasks.snapshots.manifest import manifest_key
from tasks.snapshots.signing import SigningKey, sign_bytes, signed_bytes
from tasks.snapshots.stores.directory import DirectoryStore
from tests.unit.snapshots.shelf import KEY, NOW, STRANGER, TRUSTED, shelve

HOUR = timedelta(hours=1)


class Counting(DirectoryStore):
    """Counts what is read, the index apart."""

    reads = 0

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        self.reads += not key.startswith(catalog_index.FOLDER)
        return super().read(key, start)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_index, "ENOUGH", 2)


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    return Counting("local", tmp_path, "prod-a")


def listed(store: DirectoryStore, renew: SigningKey | None = None) -> Catalog:
    return read_catalog(store, "prod-a", TRUSTED, renew=renew)


def plain(catalog: Catalog) -> tuple[object, ...]:
    """A catalog as far as it can be compared: an error is equal to itself only, and its words are kept."""
    return catalog.entries, catalog.damaged, catalog.objects


def reads(store: Counting, renew: SigningKey | None = None) -> int:
    before = store.reads
    listed(store, renew)
    return store.reads - before


def indexes(store: DirectoryStore) -> list[str]:
    return [entry.key for entry in store.list(catalog_index.FOLDER) if entry.key.endswith(catalog_index.SUFFIX)]


def contents(store: DirectoryStore) -> dict[str, list[str]]:
    """The documents of the newest index."""
    found = zstandard.decompress(signed_bytes(store.get(indexes(store)[-1]), TRUSTED, "index"))
    documents: dict[str, list[str]] = json.loads(found)["documents"]
    return documents


def write(store: DirectoryStore, documents: object, key: SigningKey = KEY) -> None:
    text = json.dumps({"format": catalog_index.FORMAT, "documents": documents}).encode()
    store.put(indexes(store)[-1], sign_bytes(zstandard.compress(text), key, "index"))


def test_it_is_written_when_it_pays_and_saves_the_reads_of_what_it_holds(store: Counting) -> None:
    for age in range(2):
        shelve(store, NOW - age * HOUR)
    assert reads(store, KEY) == 2
    assert indexes(store) == [], "few are read one by one"
    shelve(store, NOW - 2 * HOUR, level="opened")
    assert reads(store) == 4
    assert indexes(store) == [], "who only reads writes nothing"
    before = listed(store, KEY)
    assert len(indexes(store)) == 1
    assert reads(store) == 0
    assert plain(listed(store)) == plain(before)
    shelve(store, NOW + HOUR)
    assert reads(store) == 1, "only what is new"


def test_it_is_written_anew_when_much_is_new_or_gone_and_the_old_one_goes(store: Counting) -> None:
    made = [shelve(store, NOW - age * HOUR) for age in range(8)]
    listed(store, KEY)
    first = indexes(store)
    listed(store, KEY)
    assert indexes(store) == first
    for manifest in made[:6]:
        store.delete(manifest_key(manifest.id))
    listed(store, KEY)
    second = indexes(store)
    assert second != first
    assert len(second) == 1
    assert len(contents(store)) == 2
    for age in range(3):
        shelve(store, NOW + (1 + age) * HOUR)
    listed(store, KEY)
    assert len(contents(store)) == 5


def test_only_what_the_trusted_key_signed_is_in_it(store: Counting) -> None:
    for age in range(4):
        shelve(store, NOW - age * HOUR)
    foreign = shelve(store, NOW + HOUR, key=STRANGER)
    unsigned = shelve(store, NOW + 2 * HOUR, key=None, pinned=True)
    moved = "20270101T000000Z-00000000"
    store.put(manifest_key(moved), store.get(manifest_key(next(iter(listed(store).entries[2:])).id)))
    before = listed(store, KEY)
    inside = contents(store)
    assert len(inside) == 5, "four manifests and a mark"
    assert not {manifest_key(name) for name in (foreign.id, unsigned.id, moved)} & inside.keys()
    assert plain(listed(store)) == plain(before)
    assert plain(read_catalog(store, "prod-a", None))[0] != plain(before)[0], "nobody trusted, nothing taken from it"
    assert all(entry.trust != "signed" for entry in read_catalog(store, "prod-a", None).entries)


def test_a_changed_object_is_read_where_it_lies(store: Counting, tmp_path: Path) -> None:
    made = [shelve(store, NOW - age * HOUR) for age in range(4)]
    listed(store, KEY)
    path = tmp_path / "prod-a" / manifest_key(made[1].id)
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    assert [damaged.id for damaged in listed(store).damaged] == [made[1].id]


def test_one_who_has_not_the_trusted_key_writes_none(store: Counting) -> None:
    for age in range(4):
        shelve(store, NOW - age * HOUR)
    listed(store, STRANGER)
    assert indexes(store) == []


class Dying(DirectoryStore):
    """Fails at the n-th change."""

    left = 0

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoreError("gone")

    def put(self, key: str, content: bytes, *, only_new: bool = False, lasting: bool = True) -> None:
        self._count()
        super().put(key, content, only_new=only_new, lasting=lasting)

    def delete(self, key: str) -> None:
        self._count()
        super().delete(key)


@pytest.mark.parametrize("at", [0, 1])
def test_cut_off_anywhere_the_catalog_is_whole_and_the_next_writer_tidies_up(tmp_path: Path, at: int) -> None:
    store = Counting("local", tmp_path, "prod-a")
    for age in range(4):
        shelve(store, NOW - age * HOUR)
    listed(store, KEY)
    for age in range(4):
        shelve(store, NOW + (1 + age) * HOUR)
    before = plain(listed(store))
    dying = Dying("local", tmp_path, "prod-a")
    dying.left = at
    assert plain(listed(dying, KEY)) == before
    assert len(indexes(store)) == 1 + at
    assert plain(listed(store)) == before
    for age in range(4):
        shelve(store, NOW + (9 + age) * HOUR)
    listed(store, KEY)
    assert len(indexes(store)) == 1


def forged(store: DirectoryStore) -> None:
    """Somebody who may write to the store calls all that was found bad good, in an index of their own."""
    write(
        store,
        {key: [stamp, text.replace('"ok": false', '"ok": true')] for key, (stamp, text) in whole(store)},
        STRANGER,
    )


def mixed_up(store: DirectoryStore) -> None:
    """Ours, but each text stands for another object."""
    found = dict(whole(store))
    texts = [text for _, text in found.values()]
    write(store, {k: [stamp, t] for (k, (stamp, _)), t in zip(found.items(), texts[1:] + texts[:1], strict=True)})


def whole(store: DirectoryStore) -> list[tuple[str, list[str]]]:
    return list(contents(store).items())


STATES: dict[str, Callable[[DirectoryStore], None]] = {
    "gone": lambda store: store.delete(indexes(store)[-1]),
    "empty": lambda store: store.put(indexes(store)[-1], b""),
    "noise": lambda store: store.put(indexes(store)[-1], bytes(range(256)) * 40),
    "signed noise": lambda store: store.put(indexes(store)[-1], sign_bytes(b"noise", KEY, "index")),
    "no documents": lambda store: write(store, {}),
    "a list": lambda store: write(store, [1, 2]),
    "odd documents": lambda store: write(store, {key: 1 for key, _ in whole(store)}),
    "a newer one that is none": lambda store: store.put("index/99990101T000000Z-00000000.json.zst", b"x"),
    "something else there": lambda store: store.put("index/README", b"hello"),
    "forged": forged,
    "mixed up": mixed_up,
    "half": lambda store: write(store, dict(whole(store)[::2])),
    "texts that are none": lambda store: write(store, {key: [stamp, "{}"] for key, (stamp, _) in whole(store)}),
}


@pytest.mark.parametrize("state", STATES)
def test_in_whatever_state_it_is_the_catalog_is_the_same(store: Counting, state: str) -> None:
    for age in range(4):
        shelve(store, NOW - age * HOUR, level="opened", bad="a page is broken" if age == 1 else "")
    shelve(store, NOW + HOUR, key=None, pinned=True)
    before = plain(listed(store, KEY))
    assert len(indexes(store)) == 1
    STATES[state](store)
    assert plain(listed(store)) == before
    listed(store, KEY)
    assert plain(listed(store)) == before
    assert reads(store) == 1, "a good one was written; the unsigned manifest is not in it"


def test_a_text_that_would_fill_the_memory_is_not_unpacked(store: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    for age in range(4):
        shelve(store, NOW - age * HOUR)
    before = plain(listed(store, KEY))
    monkeypatch.setattr(catalog_index, "MOST", 10_000)
    store.put(indexes(store)[-1], sign_bytes(zstandard.compress(b" " * 10_001), KEY, "index"))
    assert reads(store) == 4
    assert plain(listed(store)) == before


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "mark", "unsign", "remove", "damage", "renew", "spoil"]), st.integers(0, 9)),
        max_size=14,
    )
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happened_before_the_catalog_is_that_of_a_store_without_one(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    store = DirectoryStore("local", tmp_path_factory.mktemp("index"), "prod-a")
    for number, (what, which) in enumerate(steps):
        manifests = [entry.key for entry in store.list("manifests/")]
        others = [*manifests, *(entry.key for entry in store.list("marks/")), *indexes(store)]
        if what == "add":
            shelve(store, NOW + number * HOUR, pinned=which % 2 == 0)
        elif what == "mark":
            shelve(store, NOW + number * HOUR, level="opened", bad="bad" if which % 2 else "")
        elif what == "unsign":
            shelve(store, NOW + number * HOUR, key=None)
        elif what == "renew":
            listed(store, KEY)
        elif what == "remove" and manifests:
            store.delete(manifests[which % len(manifests)])
        elif what in ("damage", "spoil") and others:
            key = others[which % len(others)]
            data = bytearray(store.get(key))
            data[which * 7 % len(data)] ^= 1
            store.put(key, bytes(data if what == "damage" else data[: len(data) // 2]))
    with_index = plain(listed(store))
    for key in indexes(store):
        with suppress(StoreError):
            store.delete(key)
    assert plain(listed(store)) == with_index
