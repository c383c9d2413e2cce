"""Reading, merging and counting: equal to what dictionaries say, whatever the keys are."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.errors import HostError, SnapshotError, TransientHostError
from tasks.etcd.rpc_keys import Page
from tasks.keys.keyspace import FIRST_PAGE, LARGEST_PAGE, Keyspace, next_limit
from tasks.keys.merge import Change, Differences, side_by_side, what_happened
from tasks.keys.spans import EVERYTHING, Span, below, merged, only
from tasks.keys.tree import ChangeTree, Contents, prefixes_of
from tests.unit.keys.keys import Asked, kv, space

calm = hypothesis_settings(deadline=None)

# Few letters, so that keys share prefixes and collide; a byte above all, and none at all.
keys = st.binary(min_size=1, max_size=6).map(lambda raw: bytes(b"/ab\xff\x00/"[byte % 6] for byte in raw))
values = st.binary(max_size=3)
spaces = st.dictionaries(keys, values, max_size=40)
spans = st.lists(st.one_of(keys.map(only), keys.map(below), st.just(below(b""))), max_size=4)


@calm
@given(spaces, spans)
def test_ranges_are_read_once_and_in_order(data: dict[bytes, bytes], chosen: list[Span]) -> None:
    read = [item.key for item in space(data).items(merged(chosen))]
    assert read == sorted(key for key in data if any(key in span for span in chosen))


@calm
@given(spaces, spaces)
def test_a_merge_finds_what_a_dictionary_finds(old: dict[bytes, bytes], new: dict[bytes, bytes]) -> None:
    found = Differences(keep=1000)
    for pair in side_by_side(space(old).items([EVERYTHING]), space(new).items([EVERYTHING])):
        found.add(Change.of(pair))
    by_kind = {
        "added": new.keys() - old.keys(),
        "removed": old.keys() - new.keys(),
        "changed": {key for key in old.keys() & new.keys() if old[key] != new[key]},
    }
    for what, expected in by_kind.items():
        assert {change.key for change in found.first if change.what == what} == expected
        assert found.counts[what] == len(expected)  # type: ignore[index]
    assert found.different + found.counts["unchanged"] == len(old.keys() | new.keys())
    assert [change.key for change in found.first] == sorted(change.key for change in found.first)


@calm
@given(spaces, keys | st.just(b""), st.integers(0, 4))
def test_counts_of_a_tree_add_up(data: dict[bytes, bytes], base: bytes, depth: int) -> None:
    contents = Contents(base, depth, largest=5)
    for item in space(data).items([below(base)]):
        contents.add(item)
    inside = {key: value for key, value in data.items() if key.startswith(base)}
    assert contents.total.keys == len(inside)
    assert contents.total.bytes == sum(len(key) + len(value) for key, value in inside.items())
    for prefix, weight in contents.tree.items():
        assert weight.keys == sum(key.startswith(prefix) for key in inside)
        deeper = [other for other in contents.tree if other != prefix and other.startswith(prefix)]
        children = [one for one in deeper if not any(one != o and one.startswith(o) for o in deeper)]
        assert sum(contents.tree[child].keys for child in children) <= weight.keys
    assert [length for length, _, _ in contents.biggest] == sorted(map(len, inside.values()), reverse=True)[:5]


def test_prefixes() -> None:
    key = b"/registry/pods/shop/web-1"
    assert list(prefixes_of(key, b"", 2)) == [b"", b"/registry/", b"/registry/pods/"]
    assert list(prefixes_of(key, b"/registry/", 1)) == [b"/registry/", b"/registry/pods/"]
    assert list(prefixes_of(key, b"/registry/po", 1)) == [b"/registry/po", b"/registry/pods/"]
    assert list(prefixes_of(key, b"/registry", 9))[-1] == b"/registry/pods/shop/"
    assert list(prefixes_of(b"plain", b"", 3)) == [b""]
    tree = ChangeTree(b"", 1)
    for what in ("added", "added", "removed"):
        tree.add(key, what)
    assert tree.tree == {b"": Counter(added=2, removed=1), b"/registry/": Counter(added=2, removed=1)}


def test_pages_shrink_for_large_values_and_grow_for_small_ones() -> None:
    large = Page(tuple(kv(b"%d" % n, bytes(1 << 20)) for n in range(16)), True, 1)
    small = Page(tuple(kv(b"%d" % n, b"x") for n in range(16)), True, 1)
    assert (next_limit(large), next_limit(small)) == (FIRST_PAGE, LARGEST_PAGE)
    asked = Asked({b"%04d" % number: bytes(100_000) for number in range(300)})
    assert sum(1 for _ in Keyspace("test", 1, asked).items([EVERYTHING])) == 300
    assert asked.largest <= 3 << 20


def test_a_member_counts_few_keys_beside_those_that_are_read() -> None:
    data = {b"%06d" % number: b"x" for number in range(40_000)}
    asked = Asked(data)
    assert [item.key for item in Keyspace("test", 1, asked).items([EVERYTHING])] == sorted(data)
    assert asked.counted < 6 * len(data)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("get on x failed: etcdserver: mvcc: required revision has been compacted", TransientHostError),
        ("get on x failed: etcdserver: user name is empty", SnapshotError),
        ("get on x failed: something else", HostError),
    ],
    ids=["compacted", "auth", "other"],
)
def test_why_it_can_not_be_read(said: str, kind: type[Exception]) -> None:
    def refuse(start: bytes, end: bytes | None, limit: int, revision: int, keys_only: bool) -> Page:
        raise HostError(said)

    with pytest.raises(kind):
        list(Keyspace("now", 1, refuse).items([EVERYTHING]))


def test_a_key_made_again_is_told_apart() -> None:
    again = Change.of((kv(b"k", b"a", created=3), kv(b"k", b"b", created=9)))
    assert (again.what, again.recreated) == ("changed", True)
    assert what_happened((kv(b"k", b"a", changed=3), kv(b"k", b"a", changed=9))) == "unchanged"
