"""Whole backups of real members into real stores: what is said of them is true, and what fails is told apart."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyrage
import pytest

from tasks.cluster.secrets import Secret
from tasks.errors import SnapshotError, StoreError
from tasks.pki.client import ClientFiles
from tasks.snapshots.age_keys import Keys, Locks
from tasks.snapshots.backup import Backup, Means, back_up
from tasks.snapshots.bundle import bundle_key, open_bundle
from tasks.snapshots.catalog import CatalogEntry, read_catalog
from tasks.snapshots.fetch import fetch
from tasks.snapshots.keep import Order
from tasks.snapshots.pipeline import Progress
from tasks.snapshots.signing import public_key_text
from tasks.snapshots.source import find_sources
from tasks.snapshots.spool import NEVER
from tasks.snapshots.stores.base import Entry, Store, Upload
from tasks.snapshots.stores.directory import DirectoryStore
from tests.component.etcd.conftest import Member
from tests.unit.snapshots.shelf import KEY

pytestmark = pytest.mark.component
Make = Callable[..., list[Member]]
TRUSTED = public_key_text(KEY)


def files_of(member: Member) -> ClientFiles:
    folder = Path(member.host.paths.pki_dir)
    return ClientFiles(folder / "ca.crt", folder / "etcdctl-etcd-client.crt", folder / "etcdctl-etcd-client.key")


class Wrapped:
    """A real store, with something put in the way."""

    def __init__(self, store: Store, *, name: str = "", put: Callable[[str], None] = lambda key: None) -> None:
        self._store, self._put = store, put
        self.name = name or store.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, key: str, content: bytes, *, only_new: bool = False, lasting: bool = True) -> None:
        self._put(key)
        self._store.put(key, content, only_new=only_new, lasting=lasting)


class Disturbed(Wrapped):
    """A store whose uploads call something when so many bytes have come."""

    def __init__(self, store: Store, at: int, act: Callable[[], None], **more: Any) -> None:
        super().__init__(store, **more)
        self._at, self._act = at, act

    def upload(self, key: str, *, size_hint: int | None = None, hashed: bool = False) -> Upload:
        upload = self._store.upload(key, size_hint=size_hint, hashed=hashed)
        write, seen = upload.write, 0

        def counted(data: bytes) -> None:
            nonlocal seen
            before, seen = seen, seen + len(data)
            if before <= self._at < seen:
                self._act()
            write(data)

        upload.write = counted  # type: ignore[method-assign]
        return upload


def run(
    members: list[Member],
    *stores: Any,
    locks: Locks | None = None,
    compression: Literal["auto", "none"] = "auto",
    told: list[str] | None = None,
    seen: list[Progress] | None = None,
) -> Backup:
    cluster = members[0].cluster
    snapshots = replace(cluster.snapshots, compression=compression)
    order = Order(replace(cluster, snapshots=snapshots), "a-uuid", "manual", "run-1", "ops", "a test")
    means = Means(
        stores={store.name: store for store in stores},
        files=files_of(members[0]),
        locks=locks,
        key=KEY,
        spool=NEVER,
        progress=(seen if seen is not None else []).append,
        tell=(told if told is not None else []).append,
    )
    return back_up(order, means, find_sources(cluster, means.files))


def entries(store: Store) -> list[CatalogEntry]:
    return list(read_catalog(store, "prod-a", TRUSTED).entries)


def objects(store: Store) -> list[Entry]:
    return list(store.list(""))


@contextmanager
def three(make_members: Make, mib: int = 0) -> Iterator[list[Member]]:
    """Three members of 3.6 that hold so much data."""
    members = make_members("3.6.16", members=3)
    for member in members:
        member.start(ready=False)
    for member in members:
        member.wait()
    with members[0].client(timeout=20) as client:
        for number in range(mib):
            client.put(b"/big/%d" % number, os.urandom(1 << 20))
    yield members


def test_what_the_manifest_says_is_what_comes_back(make_members: Make, tmp_path: Path) -> None:
    stores = [DirectoryStore(name, tmp_path / name, "prod-a") for name in ("first", "second")]
    identity = pyrage.x25519.Identity.generate()
    locks = Locks(recipients=(str(identity.to_public()),))
    with three(make_members) as members:
        with members[1].client() as client:
            last = [client.put(b"/key/%d" % number, b"value" * 100) for number in range(200)][-1]
            cluster_id = client.status().cluster_id
            leader = next(m for m in members if m.client().status().is_leader)
        made = run(members, *stores, locks=locks)
    manifest = made.manifest
    assert manifest.source != leader.host.name, "a follower is read"
    assert made.failed == {}
    assert (manifest.revision_min, manifest.revision_max) == (last, last)
    assert (manifest.etcd_cluster_id, manifest.etcd_version, manifest.cluster_uuid) == (cluster_id, "3.6.16", "a-uuid")
    assert {m.name: m.client_urls for m in manifest.members} == {m.host.name: (m.host.client_url,) for m in members}
    assert manifest.hashkv is not None
    assert manifest.hashkv.revision == last
    assert (manifest.compression, manifest.encryption, manifest.requested_by) == ("zstd", "age", "ops")
    for store in stores:
        (entry,) = entries(store)
        assert (entry.manifest, entry.trust, entry.level, entry.unsound) == (
            made.manifests[store.name],
            "signed",
            "stored",
            "",
        )
        keys = Keys(identity=Secret(str(identity)))
        fetched = fetch(entry, store, keys, tmp_path / f"{store.name}.db")
        assert (fetched.bytes, fetched.sha256, fetched.has_trailer) == (manifest.db_bytes, manifest.db_sha256, True)
        assert b"/key/199" in fetched.path.read_bytes()
        assert entry.bundle
        bundle = open_bundle(store.get(bundle_key(entry.id)), keys, TRUSTED)
        assert (bundle.trust, bundle.facts["cluster_uuid"], bundle.facts["snapshot"]) == ("signed", "a-uuid", entry.id)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert b"/key/1" not in stored


def test_a_member_that_dies_on_the_way_is_given_up_for_the_next(make_members: Make, tmp_path: Path) -> None:
    told: list[str] = []
    with three(make_members, mib=40) as members:
        by_name = {member.host.name: member for member in members}
        first = find_sources(members[0].cluster, files_of(members[0])).choices[0].name
        plain = DirectoryStore("local", tmp_path / "backups", "prod-a")
        store = Disturbed(plain, 4 << 20, by_name[first].stop)
        made = run(members, store, told=told)
        assert made.source.name != first
        assert made.manifest.source == made.source.name
        assert len(told) == 1
        assert told[0].startswith(f"{first}: the member broke off after")
    (entry,) = entries(plain)
    assert {o.key for o in objects(plain)} == {f"manifests/{entry.id}.json", entry.manifest.object}, "nothing spliced"
    assert fetch(entry, plain, None, tmp_path / "db").has_trailer


def test_when_no_member_is_left_there_is_no_snapshot(make_members: Make, tmp_path: Path) -> None:
    members = make_members("3.6.16")
    members[0].start()
    with members[0].client(timeout=20) as client:
        for number in range(20):
            client.put(b"/big/%d" % number, os.urandom(1 << 20))
    plain = DirectoryStore("local", tmp_path / "backups", "prod-a")
    with pytest.raises(SnapshotError, match="none of m1 could be read to the end") as failed:
        run(members, Disturbed(plain, 2 << 20, members[0].stop))
    assert failed.value.state
    assert objects(plain) == []


@pytest.mark.parametrize("when", ["at the beginning", "in the middle", "at the manifest"])
def test_a_store_that_fails_does_not_keep_the_others_from_it(make_members: Make, tmp_path: Path, when: str) -> None:
    members = make_members("3.6.16")
    members[0].start()
    with members[0].client(timeout=20) as client:
        for number in range(8):
            client.put(b"/big/%d" % number, os.urandom(1 << 20))
    good = DirectoryStore("good", tmp_path / "good", "prod-a")
    under = DirectoryStore("bad", tmp_path / "bad", "prod-a")

    def fail(_key: str = "") -> None:
        raise StoreError("the disk is on fire")

    bad: Any = under
    if when == "at the beginning":
        (tmp_path / "bad").write_text("a file where the directory should be")
    elif when == "in the middle":
        bad = Disturbed(under, 3 << 20, fail)
    else:
        bad = Wrapped(under, put=fail)
    made = run(members, good, bad, compression="none")
    assert list(made.manifests) == ["good"]
    assert list(made.failed) == ["bad"]
    assert [entry.level for entry in entries(good)] == ["stored"]
    if when != "at the beginning":
        assert entries(under) == [], "without a manifest it is no snapshot"
        assert [o.key for o in objects(under) if not o.key.startswith("data/")] == []
    with pytest.raises(StoreError):
        run(members, bad)


def test_progress_is_told_and_two_backups_do_not_mix(make_members: Make, tmp_path: Path) -> None:
    members = make_members("3.6.16")
    members[0].start()
    with members[0].client(timeout=20) as client:
        for number in range(30):
            client.put(b"/big/%d" % number, os.urandom(1 << 20))
    store = DirectoryStore("local", tmp_path / "backups", "prod-a")
    seen: list[Progress] = []
    threads = [threading.Thread(target=run, args=(members, store), kwargs={"seen": seen}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = entries(store)
    assert first.id != second.id
    assert seen[-1].released
    assert seen[-1].captured == first.manifest.db_bytes
