"""Plans: what they decide, that what is written is read back, and that carrying one out leads to what it says."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.errors import HostError, InputError, SnapshotError, TransientHostError
from tasks.etcd.rpc_keys import Page, Write, Written
from tasks.etcd.rpc_types import KeyValue
from tasks.keys.apply import Applied, apply
from tasks.keys.batches import Limits, batches, limits_of, weight
from tasks.keys.compare import Compared, compare
from tasks.keys.decide import Rules, decide
from tasks.keys.keyspace import Keyspace
from tasks.keys.live import Live
from tasks.keys.plan_file import Header, find_plan
from tasks.keys.selection import select
from tests.etcd_specs import settings
from tests.unit.keys.keys import json_object, kv, protobuf_object

calm = hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass
class Model:
    """etcd as far as transactions on single keys go (checked against the real one in the component tests)."""

    data: dict[bytes, KeyValue] = field(default_factory=dict)
    revision: int = 1
    largest: int = 1 << 30
    endpoint: str = "model"

    def page(self, start: bytes, end: bytes | None, limit: int, revision: int, keys_only: bool = False) -> Page:
        found = [self.data[key] for key in sorted(self.data) if start <= key and (end is None or key < end)]
        return Page(tuple(found[:limit]), len(found) > limit, self.revision)

    def get(self, key: bytes) -> KeyValue | None:
        return self.data.get(key)

    def put(self, key: bytes, value: bytes, lease: int = 0) -> None:
        self.revision += 1
        old = self.data.get(key)
        created = old.create_revision if old else self.revision
        self.data[key] = KeyValue(key, value, created, self.revision, 1, lease)

    def delete(self, key: bytes) -> None:
        self.revision += 1
        self.data.pop(key, None)

    def write_if(self, writes: Sequence[Write]) -> Written:
        assert len({write.key for write in writes}) == len(writes) <= 128
        if sum(map(weight, writes)) > self.largest:
            raise HostError("transaction on model failed: etcdserver: request is too large")
        now = {w.key: self.data[w.key].mod_revision if w.key in self.data else 0 for w in writes}
        if any(now[write.key] != write.seen for write in writes):
            return Written(False, now if len(writes) > 1 else {})
        for write in writes:
            if write.value is None:
                self.delete(write.key)
            else:
                self.put(write.key, write.value)
        return Written(True, {})

    def hold(self, writes: Sequence[Write]) -> tuple[bool, ...]:
        assert len(writes) <= 128
        return tuple(w.key in self.data and self.data[w.key].value == w.value for w in writes)

    @property
    def values(self) -> dict[bytes, bytes]:
        return {key: item.value for key, item in self.data.items()}

    def live(self) -> Live:
        return Live([self], "c1", patience=0)  # type: ignore[list-item]


def of(values: dict[bytes, bytes], leased: set[bytes] = frozenset()) -> Model:  # type: ignore[assignment]
    made = Model()
    for key, value in values.items():
        made.put(key, value, lease=7 if key in leased else 0)
    return made


def then(model: Model) -> Keyspace:
    return Keyspace("then", 1, model.page)


HEADER = Header("prod-a", "c1", "20261124T000000Z-00000000", "0" * 64, ("--prefix", ""), ())

PLAIN = Rules()


def planned(old: Model, now: Model, folder: Path, rules: Rules = PLAIN) -> Compared:
    chosen = select(prefixes=[""])
    header = replace(HEADER, spans=chosen.read)
    return compare(then(old), now.live().keyspace(), chosen, rules, header, folder, exists=lambda key: key in now.data)


keys = st.sampled_from([b"/%d" % number for number in range(12)] + [b"/\xff\x00"])
spaces = st.dictionaries(keys, st.sampled_from([b"", b"a", b"b"]))
rules = st.builds(Rules, st.sampled_from(["skip", "overwrite"]), st.booleans(), st.booleans())
small = st.builds(Limits, st.integers(1, 4), st.integers(100, 500))


@calm
@given(spaces, spaces, st.sets(keys), rules, small)
def test_a_plan_carried_out_leads_to_what_its_rules_say(
    tmp_path: Path, old: dict[bytes, bytes], now: dict[bytes, bytes], leased: set[bytes], wanted: Rules, limits: Limits
) -> None:
    snapshot, cluster = of(old, leased), of(now)
    compared = planned(snapshot, cluster, tmp_path, wanted)
    expected = dict(now)
    for key in old.keys() | now.keys():
        bound = key in leased and key in old and old[key] != now.get(key)
        if bound and not wanted.with_leased:
            continue
        if key in old and (key not in now or wanted.on_conflict == "overwrite"):
            expected[key] = old[key]
        if key not in old and wanted.delete_extra:
            del expected[key]
    applied = apply(compared.plan, then(snapshot), cluster.live(), limits)
    assert cluster.values == expected
    assert (sum(applied.done.values()), applied.already, applied.left) == (compared.plan.todos, 0, 0)
    assert sum(keys for keys, _ in compared.plan.counts.values()) == len(old.keys() | now.keys())
    assert not any(item.lease for key, item in cluster.data.items() if now.get(key) != expected[key])
    again = planned(snapshot, cluster, tmp_path, wanted)
    assert again.plan.todos == 0, "a second dry run finds nothing to do"
    repeated = apply(compared.plan, then(snapshot), cluster.live(), limits)
    assert (sum(repeated.done.values()), repeated.already, repeated.left) == (0, compared.plan.todos, 0)


@calm
@given(spaces, spaces, st.lists(st.tuples(keys, st.sampled_from([b"x", None]))), small, st.integers(0, 3))
def test_what_others_write_meanwhile_stays(
    tmp_path: Path,
    old: dict[bytes, bytes],
    now: dict[bytes, bytes],
    others: list[tuple[bytes, bytes | None]],
    limits: Limits,
    when: int,
) -> None:
    snapshot, cluster = of(old), of(now)
    plan = planned(snapshot, cluster, tmp_path, Rules("overwrite", delete_extra=True)).plan
    turns = [0]

    def disturb(_: Applied) -> None:
        if turns[0] == when:
            for key, value in others:
                cluster.put(key, value) if value else cluster.delete(key)
        turns[0] += 1

    applied = apply(plan, then(snapshot), cluster.live(), limits, before_each=disturb)
    if turns[0] > when:
        final = dict(others)
        for key, value in final.items():
            held = cluster.values.get(key)
            assert held == value or (value is None and held == old.get(key)), "the other's last word, or nothing there"
    assert applied.turned == plan.todos
    for key, why in applied.first_left:
        assert key in dict(others), why


@calm
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=50), st.binary(max_size=900)), max_size=60), small)
def test_batches_keep_to_the_limits(pairs: list[tuple[bytes, bytes]], limits: Limits) -> None:
    writes = [Write(key, 0, value) for key, value in pairs]
    made = list(batches(writes, limits))
    assert [write for batch in made for write in batch] == writes
    for batch in made:
        assert len(batch) <= limits.operations
        assert len(batch) == 1 or sum(map(weight, batch)) <= limits.bytes


def test_limits_follow_the_cluster_file() -> None:
    assert limits_of(settings()) == Limits(128, 1 << 20)
    tight = settings(extra=(("ETCD_MAX_TXN_OPS", "16"), ("ETCD_MAX_REQUEST_BYTES", "300000")))
    assert limits_of(tight) == Limits(16, 200_000)
    assert limits_of(settings(extra=(("ETCD_MAX_TXN_OPS", "5000"),))) == Limits()


def test_what_is_too_large_is_left_and_said(tmp_path: Path) -> None:
    snapshot = of({b"/a": b"1", b"/b": bytes(2000), b"/c": b"3"})
    cluster = Model(largest=500)
    plan = planned(snapshot, cluster, tmp_path).plan
    applied = apply(plan, then(snapshot), cluster.live(), Limits())
    assert set(cluster.data) == {b"/a", b"/c"}
    assert (applied.done["add"], applied.too_large, applied.first_left[0][0]) == (2, 1, b"/b")


def test_a_write_whose_answer_was_lost_is_not_taken_for_another_s(tmp_path: Path) -> None:
    snapshot, cluster = of({b"/a": b"1", b"/b": b"2"}), Model()
    plan = planned(snapshot, cluster, tmp_path).plan
    write_if, lost = cluster.write_if, [True]

    def unheard(writes: Sequence[Write]) -> Written:
        answer = write_if(writes)
        if lost.pop() if lost else False:
            raise TransientHostError("no answer within 5 s")
        return answer

    cluster.write_if = unheard  # type: ignore[method-assign]
    applied = apply(plan, then(snapshot), Live([cluster], "c1", patience=5), Limits())  # type: ignore[list-item]
    assert cluster.values == {b"/a": b"1", b"/b": b"2"}
    assert (applied.already, applied.left) == (2, 0)


def test_a_failure_says_how_far_it_was(tmp_path: Path) -> None:
    snapshot, cluster = of({b"/%d" % number: b"x" for number in range(6)}), Model()
    plan = planned(snapshot, cluster, tmp_path).plan

    def fail(applied: Applied) -> None:
        if applied.turned == 4:
            raise TransientHostError("gone", remedy="bring it back")

    with pytest.raises(TransientHostError) as caught:
        apply(plan, then(snapshot), cluster.live(), Limits(operations=2), before_each=fail)
    assert caught.value.state == "4 of 6 keys had their turn; this run has changed 4"
    assert caught.value.remedy == "bring it back; then run the same command again: it goes on"


def test_another_snapshot_is_noticed(tmp_path: Path) -> None:
    plan = planned(of({b"/a": b"1", b"/b": b"2"}), Model(), tmp_path).plan
    for other in ({b"/a": b"1", b"/b": b"3"}, {b"/a": b"1"}):
        with pytest.raises(SnapshotError, match="not the one"):
            apply(plan, then(of(other)), Model().live(), Limits())


@pytest.mark.parametrize("many", [3, 300], ids=["with-all-around", "one-by-one"])
def test_values_are_found_in_both_ways_of_reading(many: int, tmp_path: Path) -> None:
    snapshot = of({b"/%04d" % number: b"v%d" % number for number in range(many)})
    cluster = of({key: value for key, value in snapshot.values.items() if key != b"/0001"})
    plan = planned(snapshot, cluster, tmp_path).plan
    assert plan.todos == 1
    apply(plan, then(snapshot), cluster.live(), Limits())
    assert cluster.values == snapshot.values


def test_leases_on_either_side_keep_a_key_from_being_touched() -> None:
    plain, leased = kv(b"/k", b"a"), kv(b"/k", b"b", lease=9)
    everything = Rules("overwrite", delete_extra=True)
    assert [
        decide(pair, everything) for pair in ((leased, None), (plain, leased), (leased, plain), (None, leased))
    ] == (["leased"] * 4)
    assert decide((leased, kv(b"/k", b"b")), everything) == "unchanged"
    too = replace(everything, with_leased=True)
    assert [decide(pair, too) for pair in ((leased, None), (plain, leased), (None, leased))] == (
        ["add", "overwrite", "delete"]
    )


def test_a_plan_is_found_by_its_digest_and_only_unchanged(tmp_path: Path) -> None:
    made = planned(of({b"/a\xff": b"1"}), of({b"/z": b"2"}), tmp_path, Rules(delete_extra=True)).plan
    same = planned(of({b"/a\xff": b"1"}), of({b"/z": b"2"}), tmp_path, Rules(delete_extra=True)).plan
    assert same.digest == made.digest, "the same dry run twice is the same plan"
    for digest in (made.short, made.digest):
        found = find_plan(tmp_path, digest)
        assert found == made
        assert [(todo.key, todo.what) for todo in found.lines()] == [(b"/a\xff", "add"), (b"/z", "delete")]
    assert made.path.stat().st_mode & 0o777 == 0o600
    for wrong in ("", made.digest[:6], "0" * 12, "*" * 12, "../../" + made.short):
        with pytest.raises(InputError, match="no plan"):
            find_plan(tmp_path, wrong)
    made.path.write_bytes(made.path.read_bytes().replace(b'"add"', b'"del"'))
    with pytest.raises(InputError, match="was changed"):
        find_plan(tmp_path, made.short)
    old = time.time() - 15 * 86400
    os.utime(made.path, (old, old))
    planned(of({}), of({}), tmp_path)
    assert not made.path.exists(), "old plans go"


UID = "8d0f6f6e-0000-4000-8000-00000000000"


@pytest.mark.parametrize(
    ("old", "now", "said", "unsaid"),
    [
        (
            {b"/registry/pods/shop/web-1": protobuf_object("web-1", UID + "1", ("ReplicaSet", "web", UID + "9"))},
            {b"/registry/namespaces/shop": b"x"},
            ["ReplicaSet web of /registry/pods/shop/web-1", "1 object", "1 owner"],
            ["namespace"],
        ),
        (
            {
                b"/registry/example.com/widgets/shop/w": json_object("w", UID + "1", ("ReplicaSet", "web", UID + "9")),
                b"/registry/replicasets/shop/web": protobuf_object("web", UID + "9"),
            },
            {},
            ["all of these owners are among the chosen keys", "not there and is not put back: shop"],
            ["Not among"],
        ),
        (
            {b"/registry/secrets/shop/a": b"k8s:enc:aescbc:v1:key1:xx", b"/registry/namespaces/shop": b"x"},
            {},
            ["1 value (aescbc key1)", "EncryptionConfiguration"],
            ["owner", "the namespace"],
        ),
        ({b"/plain": b"x"}, {}, [], ["owner", "namespace", "encrypted", "lease"]),
    ],
    ids=["owner-gone", "owner-chosen", "encrypted", "plain"],
)
def test_warnings_for_kubernetes(
    old: dict[bytes, bytes], now: dict[bytes, bytes], said: list[str], unsaid: list[str], tmp_path: Path
) -> None:
    warnings = "\n".join(planned(of(old), of(now), tmp_path).plan.warnings)
    for text in said:
        assert text in warnings
    for text in unsaid:
        assert text not in warnings


def test_lost_leases_are_said(tmp_path: Path) -> None:
    plan = planned(of({b"/a": b"1"}, {b"/a"}), Model(), tmp_path, Rules(with_leased=True)).plan
    assert "without the lease that they had: 1 key" in plan.warnings[0]
