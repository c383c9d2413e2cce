"""Verification, copies and pruning with real databases of etcd, a real S3 server, and the real command line."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from click.testing import CliRunner

from deployments.cli import main
from flows.prune_results import PruneResult
from tasks.cluster.spec import RetentionSettings
from tasks.errors import InputError, SnapshotError
from tasks.etcd.versions import NEWEST
from tasks.etcd.worker_tools import WorkerTools
from tasks.snapshots import catalog_index
from tasks.snapshots.catalog import CatalogEntry, read_catalog
from tasks.snapshots.copy import copy
from tasks.snapshots.fetch import fetch
from tasks.snapshots.find import find
from tasks.snapshots.importing import Plain, import_plain
from tasks.snapshots.keep import Into, Order
from tasks.snapshots.manifest import HashKV, Manifest, manifest_key
from tasks.snapshots.opened import Opened, open_snapshot
from tasks.snapshots.prune import carry_out, plan_prune, review
from tasks.snapshots.scratch import scratch
from tasks.snapshots.spool import NEVER
from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.directory import DirectoryStore
from tasks.snapshots.stores.s3 import S3Store
from tasks.snapshots.verify import record, verify
from tests.component.etcd.conftest import Member, binaries
from tests.outputs import assert_as_published
from tests.s3.server import S3Server
from tests.unit.snapshots.shelf import KEY, TRUSTED, catalog_of, only, shelve
from tests.unit.snapshots.test_fetch import CODECS, KEYS, LOCKS, encoder

pytestmark = pytest.mark.component

ROOT = Path(__file__).parents[3]
DAY = timedelta(days=1)
TODAY = datetime.now(UTC).replace(microsecond=0)


def captured(member: Member) -> tuple[bytes, HashKV]:
    """The member's database as a snapshot, and its hash at that time."""
    with member.client() as client:
        for number in range(30):
            client.put(b"/keys/%d" % (number % 9), os.urandom(5_000))
        hashed = client.hash_kv()
        with client.snapshot() as stream:
            return b"".join(stream), HashKV(hashed.revision, hashed.compact_revision, hashed.hash)


def opener_of(version: str) -> Callable[[Path, Path, Manifest], Opened]:
    folder = binaries(version)
    tools = WorkerTools(version, folder / "etcd", folder / "etcdutl")

    def opener(db: Path, place: Path, manifest: Manifest) -> Opened:
        at = manifest.hashkv.revision if manifest.hashkv else 0
        return open_snapshot(db, tools, place, at=at, skip_hash_check=manifest.via == "raw")

    return opener


def shelve_real(store: Store, data: bytes, hashed: HashKV, taken: datetime = TODAY, **more: Any) -> Manifest:
    """What a backup would have left of those bytes."""
    codec = CODECS["zstd and age"]
    settings = {"compression": "zstd", "encryption": "age", "recipients": codec.recipients, "hashkv": hashed}
    revisions = {"revision_min": hashed.revision, "revision_max": hashed.revision}
    return shelve(store, taken, data=data, encode=encoder(codec), **{**settings, **revisions, **more})


def judged(entry: CatalogEntry, store: Store, version: str, where: Path) -> str:
    found = verify(entry, store, KEYS, opener=opener_of(version), where=where)
    record(entry, store, found, KEY, datetime.now(UTC))
    return found.bad


def test_a_real_snapshot_is_opened_and_what_it_says_is_compared(
    make_members: Callable[..., list[Member]], directory_store: DirectoryStore, tmp_path: Path
) -> None:
    version = next(iter(NEWEST.values()))
    (member,) = make_members(version)
    member.start()
    data, hashed = captured(member)
    member.stop()
    good = shelve_real(directory_store, data, hashed)
    other_hash = replace(hashed, hash=hashed.hash ^ 1)
    shelve_real(directory_store, data, other_hash, TODAY - DAY)
    shelve_real(directory_store, data, hashed, TODAY - 2 * DAY, revision_min=1, revision_max=5)
    broken = bytearray(data[:-32])
    for page in range(2, len(broken) // 4096):
        broken[page * 4096 : page * 4096 + 16] = bytes(16)  # their headers; the two meta pages stay
    shelve_real(directory_store, bytes(broken), hashed, TODAY - 3 * DAY, via="raw")
    newest, hash_differs, revision_differs, page_broken = catalog_of(directory_store).entries
    assert judged(newest, directory_store, version, tmp_path) == ""
    assert f"hash {hashed.hash}, but the member had {other_hash.hash}" in judged(
        hash_differs, directory_store, version, tmp_path
    )
    assert "but the manifest says 1 to 5" in judged(revision_differs, directory_store, version, tmp_path)
    assert "no whole database" in judged(page_broken, directory_store, version, tmp_path)
    entries = catalog_of(directory_store).entries
    assert [entry.verified for entry in entries] == [True, False, False, False]
    (seen,) = entries[0].marks
    assert seen.mark
    assert seen.mark.contents
    assert (seen.mark.contents.revision, seen.mark.contents.keys) == (good.revision_max, 9)
    assert [path for path in tmp_path.iterdir() if path.name.startswith("etcd-flows-scratch")] == []


def test_copy_fetch_and_prune_on_s3(s3_store: S3Store, directory_store: DirectoryStore, tmp_path: Path) -> None:
    codec = CODECS["zstd and age"]
    settings: dict[str, Any] = {"compression": "zstd", "encryption": "age", "recipients": codec.recipients}
    made = [
        shelve(directory_store, TODAY - age * DAY, pages=20_000, encode=encoder(codec), level="opened", **settings)
        for age in (3, 2, 1)
    ]
    for entry in catalog_of(directory_store).entries:
        done = copy(entry, directory_store, s3_store, catalog_of(s3_store), KEY, lambda: datetime.now(UTC))
        assert done.proof == "checksum"
    catalog = catalog_of(s3_store)
    assert [(entry.manifest, entry.level, entry.unsound) for entry in catalog.entries] == [
        (manifest, "opened", "") for manifest in reversed(made)
    ]
    fetched = fetch(catalog.entries[0], s3_store, KEYS, tmp_path / "back.db")
    assert fetched.sha256 == made[-1].db_sha256
    plan = plan_prune("prod-a", [review(s3_store, catalog, RetentionSettings(1, 0, 0, 0, 0, None, 1), TODAY)])
    assert [step.name for step in plan.steps] == [made[0].id, made[1].id]
    assert all([carry_out(s3_store, step) for step in plan.steps])
    assert only(s3_store).manifest == made[-1]
    assert not [entry for entry in s3_store.list("") if made[-1].id not in entry.key]


def test_in_a_locked_bucket_a_prune_waits_and_then_only_hides(
    s3_server: S3Server, make_s3_store: Callable[..., S3Store]
) -> None:
    bucket, raw = s3_server.make_bucket(lock=True), s3_server.client()
    settings = RetentionSettings(1, 0, 0, 0, 0, None, 1)
    seconds = 4
    store = make_s3_store(bucket, lock="governance", lock_days=seconds / 86_400)
    made = [shelve(store, TODAY - age * DAY, level="opened") for age in (2, 1)]
    end = datetime.now(UTC) + timedelta(seconds=seconds + 1)
    locked = [review(store, catalog_of(store), settings, datetime.now(UTC))]
    plan = plan_prune("prod-a", locked)
    assert plan.empty, "what is locked is not planned to go"
    (decision,) = locked[0].decisions.of("later")
    assert decision.id == made[0].id
    assert decision.until is not None
    assert decision.until <= end
    assert f"the first until {decision.until:%Y-%m-%d %H:%M} UTC" in " ".join(plan.notes)
    assert "1 locked, to go later" in PruneResult(plan, tuple(locked), applied=True).as_text()
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()))
    plan = plan_prune("prod-a", [review(store, catalog_of(store), settings, datetime.now(UTC))])
    assert [step.name for step in plan.steps] == [made[0].id]
    assert all([carry_out(store, step) for step in plan.steps])
    assert only(store).id == made[1].id
    assert store.head(made[0].object) is None
    versions = raw.list_object_versions(Bucket=bucket, Prefix=f"prod-a/{made[0].object}")
    assert [found["Size"] for found in versions["Versions"]] == [made[0].object_bytes], "hidden, not gone: see README"
    assert len(versions["DeleteMarkers"]) == 1


def test_an_index_in_a_bucket_gives_the_same_catalog(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_index, "ENOUGH", 3)
    made = [shelve(s3_store, TODAY - age * DAY, level="opened") for age in range(3)]
    before = read_catalog(s3_store, "prod-a", TRUSTED, renew=KEY)
    (index,) = s3_store.list(catalog_index.FOLDER)
    read: list[str] = []
    get = S3Store.get

    def watched(store: S3Store, key: str) -> bytes:
        read.append(key)
        return get(store, key)

    monkeypatch.setattr(S3Store, "get", watched)
    assert read_catalog(s3_store, "prod-a", TRUSTED) == before
    assert read == [index.key]
    document = s3_store.get(manifest_key(made[0].id))
    s3_store.put(manifest_key(made[0].id), document.replace(b'"raft_term": 3', b'"raft_term": 4'))
    assert [damaged.id for damaged in catalog_of(s3_store).damaged] == [made[0].id], "the bucket's own bytes count"


CLUSTER = """\
name: prod-a
hosts:
  - {name: etcd-01, address: 192.0.2.11}
pki: {state_dir: ./state}
snapshots:
  stores: [{name: local, directory: .}]
  signing: {public_key: "%s"}
  retention: {last: 1, daily: 0, weekly: 0, monthly: 0, min_verified: 1}
"""


def test_prune_snapshots_as_a_flow_shows_and_then_removes_the_same(tmp_path: Path) -> None:
    from tasks.snapshots.signing import public_key_text

    store = DirectoryStore("local", tmp_path, "prod-a")
    kept = [shelve(store, TODAY - 2 * DAY, level="opened"), shelve(store, TODAY - DAY)]
    gone = shelve(store, TODAY - 3 * DAY)
    unsigned = shelve(store, TODAY - 4 * DAY, key=None)
    file = tmp_path / "prod-a.yaml"
    file.write_text(CLUSTER % public_key_text(KEY))

    # Both in one process, since Prefect's start is what takes the time.
    script = f"""
from deployments.cli import main
for words in (["--plan"], ["--remove", {unsigned.id!r}]):
    try:
        main(["prune-snapshots", {str(file)!r}, "--json", *words])
    except SystemExit as end:
        assert end.code == 0, end.code
    print("=====")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    shown, pruned = (assert_as_published("prune-snapshots", part) for part in done.stdout.split("=====\n")[:2])
    assert not shown["applied"]
    assert shown["stores"][0]["removed"] == []
    verdicts = {found["id"]: found["verdict"] for found in shown["stores"][0]["snapshots"]}
    assert verdicts == {kept[0].id: "keep", kept[1].id: "keep", gone.id: "remove", unsigned.id: "keep"}
    assert pruned["stores"][0]["removed"] == [unsigned.id, gone.id]
    assert {entry.id for entry in catalog_of(store).entries} == {manifest.id for manifest in kept}


@pytest.mark.parametrize("via", ["file", "raw"])
def test_a_file_from_elsewhere_is_opened_stored_and_marked(
    via: Literal["file", "raw"],
    make_members: Callable[..., list[Member]],
    directory_store: DirectoryStore,
    tmp_path: Path,
) -> None:
    version = next(iter(NEWEST.values()))
    (member,) = make_members(version)
    member.start()
    data, hashed = captured(member)
    member.stop()
    file = tmp_path / "old.db"
    file.write_bytes(data if via == "file" else data[:-32])
    into = Into({"local": directory_store}, LOCKS, KEY, NEVER, lambda _progress: None)
    order = Order(replace(member.cluster, name="prod-a"), "", "imported", "run-1", "ops@bastion", "from the old site")

    def opener(plain: Plain) -> Opened:
        with scratch(tmp_path) as place:
            folder = binaries(version)
            tools = WorkerTools(version, folder / "etcd", folder / "etcdutl")
            return open_snapshot(plain.path, tools, place, skip_hash_check=plain.via == "raw")

    done = import_plain(order, into, Plain(file, "old.db", via, ("by etcdctl",)), opener)
    entry = only(directory_store)
    assert entry.manifest == done.manifest
    assert (entry.kind, entry.level, entry.unsound, entry.manifest.via) == ("imported", "opened", "", via)
    assert entry.manifest.revision_min == entry.manifest.revision_max == hashed.revision
    with pytest.raises(InputError):
        find([catalog_of(directory_store)], "latest")
    fetched = fetch(entry, directory_store, KEYS, tmp_path / "back.db")
    assert fetched.path.read_bytes() == file.read_bytes()
    assert fetched.has_trailer == (via == "file")
    assert judged(entry, directory_store, version, tmp_path) == ""

    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(SnapshotError):
        import_plain(order, into, Plain(file, "old.db", via, ()), opener)
    assert only(directory_store).manifest == entry.manifest


IMPORTING = """\
name: prod-a
hosts: [{name: etcd-01, address: 192.0.2.11}]
etcd: {version: %s, release: {source: %s, cache: ./cache}}
pki: {state_dir: ./state}
snapshots: {stores: [{name: local, directory: .}]}
"""


def test_import_on_the_command_line(
    make_members: Callable[..., list[Member]], etcd_release_dir: Path, tmp_path: Path
) -> None:
    version = next(iter(NEWEST.values()))
    (member,) = make_members(version)
    member.start()
    data, hashed = captured(member)
    member.stop()
    file = tmp_path / f"Full-00000000-{hashed.revision:08}-1764000000.gz"
    file.write_bytes(gzip.compress(data, 1))
    cluster = tmp_path / "prod-a.yaml"
    cluster.write_text(IMPORTING % (version, etcd_release_dir))
    run = CliRunner().invoke
    done = run(main, ["snapshots", "import", str(cluster), str(file), "--reason", "the old site", "--json"])
    assert done.exit_code == 0, done.output
    answer = assert_as_published("snapshots-import", done.stdout)
    assert (answer["revision"], answer["stores"]) == (hashed.revision, ["local"])
    shown = run(main, ["snapshots", "show", str(cluster), answer["snapshot"]]).stdout
    for text in (file.name, "the old site", "opened: good", "imported: a full snapshot of etcd-backup-restore"):
        assert text in shown
    file.write_bytes(gzip.compress(data[:9000] + b"!" + data[9001:], 1))
    refused = run(main, ["snapshots", "import", str(cluster), str(file)])
    assert refused.exit_code == 1
    assert "is damaged" in refused.stderr
    assert len(json.loads(run(main, ["snapshots", "list", str(cluster), "--json"]).stdout)["snapshots"]) == 1
