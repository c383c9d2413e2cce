"""Keys of a snapshot back into a running member: others' writes stay, a killed run goes on, limits of etcd hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from deployments.cli import main
from tasks.cluster.load import load_cluster
from tasks.cluster.spec import Cluster
from tasks.errors import HostError, TransientHostError
from tasks.etcd.rpc_keys import Write
from tasks.etcd.versions import NEWEST
from tasks.keys.apply import Applied, apply
from tasks.keys.batches import Limits
from tasks.keys.compare import Compared, compare
from tasks.keys.decide import Rules
from tasks.keys.keyspace import Keyspace
from tasks.keys.live import Live, live
from tasks.keys.opening import opened
from tasks.keys.plan_file import Header, plans_dir
from tasks.keys.selection import Selection, select
from tasks.keys.spans import EVERYTHING
from tasks.snapshots.find import find
from tasks.snapshots.library import open_library
from tests.component.etcd.conftest import Member
from tests.component.keys.house import DATA, LEASED, PODS, House, furnish
from tests.component.snapshots.test_backup import entries
from tests.outputs import assert_as_published

pytestmark = pytest.mark.component
ROOT = Path(__file__).parents[3]
MANY = {b"/many/%05d" % number: b"value %d " % number + b"x" * 200 for number in range(1000)}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, etcd_release_dir: Path) -> Iterator[House]:
    made = furnish(tmp_path_factory.mktemp("keys"), etcd_release_dir)
    with made.client() as client:
        for key, value in MANY.items():
            client.put(key, value)
        client.put(b"/large", os.urandom(1_500_000))
        for number in range(4):
            client.put(b"/rather/%d" % number, os.urandom(400_000))
    yield made
    made.member.stop()


@dataclass
class Sides:
    """A snapshot that is open, and the cluster."""

    spec: Cluster
    snapshot: Keyspace
    live: Live

    def plan(self, selection: Selection, rules: Rules | None = None) -> Compared:
        return compare(
            self.snapshot,
            self.live.keyspace(),
            selection,
            rules or Rules(),
            Header("prod-a", self.live.cluster_id, self.snapshot.name, "", selection.words, selection.read),
            plans_dir(self.spec.pki),
            exists=lambda key: self.live.call(lambda client: client.get(key)) is not None,
        )


@contextmanager
def both(house: House, snapshot: str) -> Iterator[Sides]:
    spec = load_cluster(house.file).cluster
    with open_library(spec) as library:
        entry = find(library.catalogs, snapshot)
        store = library.stores[entry.store]
        with opened(spec, entry, store, house.root) as space, live(spec) as cluster:
            yield Sides(spec, space, cluster)


@pytest.fixture(scope="module")
def snapshot(house: House) -> str:
    return house.back_up()


@pytest.fixture(scope="module")
def opened_sides(house: House, snapshot: str) -> Iterator[Sides]:
    with both(house, snapshot) as found:
        yield found


@pytest.fixture
def sides(opened_sides: Sides) -> Iterator[Sides]:
    """Afterwards the cluster is as in the snapshot again."""
    yield opened_sides
    everything, rules = select(prefixes=[""]), Rules("overwrite", delete_extra=True)
    apply(opened_sides.plan(everything, rules).plan, opened_sides.snapshot, opened_sides.live, Limits())
    assert opened_sides.plan(everything, rules).plan.todos == 0


def test_what_was_deleted_comes_back_and_nothing_else_is_touched(house: House, sides: Sides) -> None:
    with house.client() as client:
        for pod in PODS:
            client.delete(pod)
        client.put(b"/registry/configmaps/shop/settings", b"newer")
        client.put(b"/registry/pods/shop/web-9", b"newest")
        before = client.status().revision
        chosen = select(namespaces=["shop"])
        found = sides.plan(chosen)
        assert client.status().revision == before, "a dry run writes nothing"
        counts = {what: keys for what, (keys, _) in found.plan.counts.items() if keys}
        assert counts == {"add": 3, "unchanged": 6, "conflict": 1, "extra": 1}
        assert any("all of these owners" in text for text in found.plan.warnings)
        applied = apply(found.plan, sides.snapshot, sides.live, Limits())
        assert applied.done == {"add": 3, "overwrite": 0, "delete": 0}
        assert client.status().revision == before + 1, "one transaction"
        for pod in PODS:
            back = client.get(pod)
            assert back is not None
            assert (back.value, back.lease) == (DATA[pod], 0)
        settings = client.get(b"/registry/configmaps/shop/settings")
        assert settings is not None
        assert settings.value == b"newer"
        wider = sides.plan(chosen, Rules("overwrite", delete_extra=True))
        assert [(noted.key[-5:], noted.what) for noted in wider.noted] == [
            (b"tings", "overwrite"),
            (b"web-9", "delete"),
        ]
        apply(wider.plan, sides.snapshot, sides.live, Limits())
        assert client.get(b"/registry/pods/shop/web-9") is None


def test_a_writer_at_the_same_time_always_wins(house: House, sides: Sides) -> None:
    """Every key that it has written since the dry run has its value at the end; all others have the snapshot's."""
    with house.client() as client:
        client.delete_prefix(b"/many/")
        for key in list(MANY)[::2]:
            client.put(key, b"before the dry run")
    plan = sides.plan(select(prefixes=["/many/"]), Rules("overwrite")).plan
    assert (plan.counts["add"][0], plan.counts["overwrite"][0]) == (500, 500)
    written: list[bytes] = []
    stop, going = threading.Event(), threading.Event()

    def writer() -> None:
        with house.client() as own:
            for key in reversed(MANY):
                if stop.is_set():
                    return
                own.put(key, b"theirs")
                written.append(key)
                going.set()

    thread = threading.Thread(target=writer)
    thread.start()
    assert going.wait(10)
    applied = apply(plan, sides.snapshot, sides.live, Limits(operations=10))
    stop.set()
    thread.join()
    assert applied.turned == len(MANY)
    assert applied.left >= 1
    assert applied.left + sum(applied.done.values()) == len(MANY)
    with house.client() as client:
        now = {item.key: item.value for item in client.prefix(b"/many/")}
    assert now == {**MANY, **dict.fromkeys(written, b"theirs")}
    assert {key for key, _ in applied.first_left} <= set(written)


def test_killed_between_batches_and_run_again(house: House, sides: Sides) -> None:
    keys = 64
    with house.client() as client:
        client.delete_prefix(b"/many/")
    plan = sides.plan(select(prefixes=["/many/"])).plan
    words = [sys.executable, "-m", "tests.component.keys.killed_between_batches", str(house.file), plan.short, "32"]
    killed = subprocess.run([*words, str(keys)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with house.client() as client:
        assert len(client.prefix(b"/many/")) == keys
        client.put(b"/many/00999", b"somebody else, in the meantime")
    halfway = sides.plan(select(prefixes=["/many/"])).plan
    assert (halfway.counts["unchanged"][0], halfway.counts["add"][0]) == (keys, 999 - keys)
    again = subprocess.run([*words, "-1"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert again.stdout.split() == [str(999 - keys), str(keys), "1"], again.stderr
    with house.client() as client:
        now = {item.key: item.value for item in client.prefix(b"/many/")}
    assert now == {**MANY, b"/many/00999": b"somebody else, in the meantime"}


def test_keys_with_leases(house: House, sides: Sides) -> None:
    with house.client() as client:
        client.delete(LEASED)
        lock = b"/registry/leases/held"
        house.keep_leased(lock, "a lock that somebody holds now")
        chosen = select(prefixes=["/registry/"])
        careful = Rules("overwrite", delete_extra=True)
        left = sides.plan(chosen, careful)
        assert {noted.key for noted in left.noted if noted.what == "leased"} == {LEASED, lock}
        assert left.plan.todos == 0
        brave = sides.plan(chosen, Rules(with_leased=True)).plan
        assert any("without the lease that they had: 1 key" in text for text in brave.warnings)
        apply(brave, sides.snapshot, sides.live, Limits())
        back = client.get(LEASED)
        assert back is not None
        assert (back.value, back.lease) == (b"happened", 0)
        client.delete(lock)


def test_values_as_large_as_etcd_takes(house: House, sides: Sides) -> None:
    with house.client() as client:
        before = client.hash_kv().revision
        client.delete(b"/large")
        client.delete_prefix(b"/rather/")
        plan = sides.plan(select(keys=["/large"], prefixes=["/rather/"])).plan
        applied = apply(plan, sides.snapshot, sides.live, Limits())
        assert (applied.done["add"], applied.too_large) == (5, 0)
        assert client.status().revision - before == 2 + 3, "1.5 MB alone, 400 KB by two"
        client.delete_prefix(b"/rather/")
        careless = sides.plan(select(prefixes=["/rather/"])).plan
        applied = apply(careless, sides.snapshot, sides.live, Limits(bytes=100 << 20))
        assert applied.done["add"] == 4, "what etcd finds too large is cut in two"


@pytest.mark.parametrize("version", NEWEST.values())
def test_pages_and_writes_in_every_supported_etcd(version: str, make_members: Callable[..., list[Member]]) -> None:
    (member,) = make_members(version)
    member.start()
    with member.client() as client:
        most = [Write(b"/most/%03d" % number, 0, b"x") for number in range(129)]
        with pytest.raises(HostError, match="too many operations"):
            client.write_if(most)
        assert client.write_if(most[:128]).done
        again = client.write_if(most[:128])
        assert (again.done, len(again.now), len(set(again.now.values()))) == (False, 128, 1)
        asked = [*most[:126], Write(b"/most/000", 0, b"y"), Write(b"/nowhere", 0, b"")]
        assert client.hold(asked) == (*[True] * 126, False, False)
        assert client.write_if([Write(b"/most/000", again.now[b"/most/000"], None)]).done
        assert not client.write_if([Write(b"/most/001", 0, b"y")]).done
        now = client.page(b"", None, 2)
        assert ([item.key for item in now.items], now.more) == ([b"/most/001", b"/most/002"], True)
        before = client.page(b"/most/", b"/most/001", 9, revision=now.revision - 1)
        assert [item.key for item in before.items] == [b"/most/000"]
        assert member.etcdctl("compact", str(now.revision)).returncode == 0
        space = Keyspace("now", now.revision - 1, client.page)
        with pytest.raises(TransientHostError, match="compacted"):
            list(space.items([EVERYTHING]))


def test_a_member_that_dies_in_the_middle_is_passed_over(
    sides: Sides, make_members: Callable[..., list[Member]]
) -> None:
    """Into an empty cluster of three: the member that the writes go through is killed, another one takes over."""
    members = make_members(members=3)
    for member in members:
        member.start(ready=False)
    for member in members:
        member.wait()
    with members[0].client() as first, members[1].client() as second, members[2].client() as third:
        target = Sides(sides.spec, sides.snapshot, Live([first, second, third], "c1"))
        plan = target.plan(select(prefixes=["/many/"])).plan
        assert plan.counts["add"][0] == len(MANY)
        killed: list[int] = []

        def kill(applied: Applied) -> None:
            if applied.turned >= 256 and not killed:
                killed.append(applied.turned)
                members[0].stop()

        applied = apply(plan, sides.snapshot, target.live, Limits(), before_each=kill)
        assert killed
        assert (applied.turned, applied.left) == (len(MANY), 0)
        assert {item.key: item.value for item in third.prefix(b"/many/")} == MANY


class Runs:
    """``etcd-flows restore-keys`` of this cluster, in this process."""

    def __init__(self, house: House) -> None:
        self._file = str(house.file)

    def __call__(self, *words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(main, ["restore-keys", self._file, *words, "--json"])
        assert done.exit_code == code, (done.output, done.exc_info)
        return assert_as_published("restore-keys", done.stdout)


@pytest.mark.slow
def test_the_flow_from_dry_run_to_report(house: House, snapshot: str, sides: Sides) -> None:
    run = Runs(house)
    pods = ("--from", snapshot[:16], "--resource", "pods", "--namespace", "shop")
    with house.client() as client:
        for pod in PODS:
            client.delete(pod)
        client.put(PODS[2], b"another")
        refused = run(*pods, "--on-conflict", "fail", code=3)
        assert PODS[2].decode() in refused["errors"][0]["message"]
        planned = run(*pods)
        assert {what: count["keys"] for what, count in planned["counts"].items() if count["keys"]} == {
            "add": 2,
            "conflict": 1,
        }
        assert planned["chosen"] == ["--resource", "pods", "--namespace", "shop"]
        assert run("--apply", planned["plan"], code=3)["errors"][0]["state"] == "nothing was changed"
        assert client.get(PODS[0]) is None
        client.put(PODS[1], b"somebody was faster")
        confirmed = ("--apply", planned["plan"], "--confirm", "prod-a")
        written = run(*confirmed, code=1)
        assert (written["done"]["add"], written["left"], written["keys_left"][0]["key"]) == (1, 1, PODS[1].decode())
        assert [item.value for item in client.prefix(b"/registry/pods/shop/")] == [
            DATA[PODS[0]],
            b"somebody was faster",
            b"another",
        ]
        safety = next(entry for entry in entries(house.store) if entry.id == written["safety_snapshot"])
        assert safety.kind == "safety"
        again = run(*confirmed, code=1)
        assert (again["done"]["add"], again["already"], again["left"]) == (0, 1, 1)
        run(*confirmed, "--key", "/x", code=2)
