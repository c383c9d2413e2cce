"""snapshot-backup on real hosts: into a directory and an S3 server at once, under all that can get in its way."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tasks.snapshots.catalog import CatalogEntry, read_catalog
from tasks.snapshots.fetch import fetch
from tasks.snapshots.signing import trusted_key
from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.directory import DirectoryStore
from tests.e2e.canaries import Canaries, Leak, WorkerSampler, on_disk, on_host, sampled
from tests.e2e.conftest import MakeProduct, PrefectServer
from tests.e2e.killed_at_store import POINTS
from tests.e2e.product import Done, Product, etcdctl, main_pid
from tests.e2e.test_prefect import ask
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import wait_until
from tests.s3.fixtures import running_s3
from tests.s3.server import S3Server

__all__ = ["running_s3"]

KILLED = (sys.executable, "-m", "tests.e2e.killed_at_store")


@dataclass
class Backed:
    """A cluster of three whose file names two stores."""

    product: Product
    hosts: list[LabHost]
    s3: S3Server
    bucket: str
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return self.product.directory / "backups"

    @property
    def local(self) -> Store:
        return DirectoryStore("local", self.directory, "prod-a")

    @property
    def remote(self) -> Store:
        return self.s3.store(self.bucket)

    def describe(self, **snapshots: Any) -> None:
        """Write the cluster file, with more keys under ``snapshots``."""
        stores = [{"name": "local", "directory": str(self.directory)}, {"name": "offsite", "s3": self.bucket_keys}]
        self.product.write(self.content | {"snapshots": {"stores": stores} | snapshots})

    @property
    def bucket_keys(self) -> dict[str, Any]:
        keys = {"access_key": "env:KEY_ID", "secret_key": "env:KEY_SECRET"}
        return {"bucket": self.bucket, "endpoint": self.s3.tls_endpoint, "ca": str(self.s3.ca), **keys}

    def backup(self, *words: str, code: int = 0, **options: Any) -> Done:
        done = self.product.run("snapshot-backup", *words, **options)
        assert done.code == code, done.output
        return done

    def entries(self, store: Store) -> list[CatalogEntry]:
        from tasks.cluster.load import load_cluster

        return list(read_catalog(store, "prod-a", trusted_key(load_cluster(self.product.file).cluster)).entries)


@pytest.fixture(scope="module")
def cluster(lab: Lab, make_product: MakeProduct, running_s3: S3Server) -> Backed:
    product, hosts = make_product(), lab.fresh(3)
    content = product.describe(hosts, ssh={"connect_timeout": 5})
    user = running_s3.owner
    product.environ |= {"KEY_ID": user.access_key, "KEY_SECRET": user.secret_key}
    made = Backed(product, hosts, running_s3, running_s3.make_bucket(), content)
    made.describe()
    product.bootstrap()
    hosts[0].exec("head -c 900000 /dev/urandom | base64 -w0 >/tmp/value")
    for number in range(24):
        etcdctl(hosts[0], f"put /big/{number} </tmp/value")
    return made


@pytest.fixture
def backed(cluster: Backed) -> Iterator[Backed]:
    """With empty stores."""
    cluster.describe()
    yield cluster
    shutil.rmtree(cluster.directory, ignore_errors=True)
    shutil.rmtree(cluster.product.state / "stores", ignore_errors=True)  # where it is remembered that there was one
    for store in (cluster.local, cluster.remote):
        for entry in list(store.list("")):
            store.delete(entry.key)
        store.sweep(datetime.now(UTC) + timedelta(minutes=1))


def newest_revision(host: LabHost) -> int:
    (status,) = json.loads(etcdctl(host, "endpoint status -w json"))
    return int(status["Status"]["header"]["revision"])


def test_both_stores_hold_what_the_cluster_had(backed: Backed, prefect_server: PrefectServer, tmp_path: Path) -> None:
    pids = [main_pid(host) for host in backed.hosts]
    revision = newest_revision(backed.hosts[0])
    planned = backed.backup("--plan").json
    assert planned["applied"] is False
    assert planned["plan"]["way"] == "stream"
    assert not backed.directory.exists()

    done = backed.backup("--reason", "before the upgrade", "--requested-by", "alice").json
    assert (done["partial"], done["failed"], set(done["stores"])) == (False, {}, {"local", "offsite"})
    for store in (backed.local, backed.remote):
        (entry,) = backed.entries(store)
        manifest = entry.manifest
        assert (entry.id, entry.trust, entry.level, entry.unsound) == (done["snapshot"], "signed", "stored", "")
        assert (manifest.revision_min, manifest.revision_max) == (revision, revision)
        assert (manifest.requested_by, manifest.reason) == ("alice", "before the upgrade")
        identity = json.loads(backed.hosts[0].read("/var/lib/etcd-flows/identity.json"))
        assert manifest.cluster_uuid == identity["uuid"]
        got = fetch(entry, store, None, tmp_path / f"{store.name}.db")
        assert got.has_trailer
    assert (tmp_path / "local.db").read_bytes() == (tmp_path / "offsite.db").read_bytes()
    assert [main_pid(host) for host in backed.hosts] == pids
    assert all(host.exec("ls /var/lib/etcd-flows/lock 2>/dev/null; true") == "" for host in backed.hosts)
    events(prefect_server, "etcd-flows.snapshot.completed", done["snapshot"])


def events(server: PrefectServer, name: str, word: str) -> None:
    """Prefect has heard of it."""

    def heard() -> bool:
        wanted = {"filter": {"event": {"name": [name]}}}
        found: Any = ask(server, "/events/filter", wanted)
        return any(word in json.dumps(event["payload"]) for event in found["events"])

    wait_until(f"{name} with {word}", heard, 20)


def test_encrypted_opened_and_drilled(backed: Backed, prefect_server: PrefectServer) -> None:
    identity = pyrage.x25519.Identity.generate()
    key = backed.product.directory / "age.key"
    key.write_text(f"{identity}\n")
    key.chmod(0o600)
    backed.describe(
        encryption={"recipients": [str(identity.to_public())], "identity": f"file:{key}"},
        verify="opened",
        retention={"last": 1, "daily": 0, "weekly": 0, "monthly": 0, "min_verified": 2},
    )
    made = [backed.backup().json for _ in range(3)]
    assert [one["level"] for one in made] == ["opened"] * 3
    assert made[2]["removed"]["local"] == made[2]["removed"]["offsite"] == [made[0]["snapshot"]]
    for store in (backed.local, backed.remote):
        found = backed.entries(store)
        assert [entry.id for entry in found] == [made[2]["snapshot"], made[1]["snapshot"]], "two verified ones stay"
        assert all(entry.verified and entry.bundle for entry in found)
    stored = b"".join(path.read_bytes() for path in backed.directory.rglob("*") if path.is_file())
    assert b"PRIVATE KEY" not in stored
    assert str(identity).encode() not in stored

    empty = backed.product.directory / "empty"
    for _ in range(2):
        drilled = backed.product.must("restore-drill", "--scratch", str(empty)).json
        assert (drilled["good"], drilled["snapshot"], drilled["recorded"]) == (True, made[2]["snapshot"], True)
        assert drilled["keys"] == drilled["keys_read"] == 24
    assert list(empty.iterdir()) == []
    text = backed.product.must("restore-drill", as_json=False).stdout
    assert "was restored and is good" in text
    assert text.count(f"{made[2]['snapshot']}  ") == 2, "earlier drills are listed"
    assert {entry.level for entry in backed.entries(backed.local)} == {"restored", "opened"}
    events(prefect_server, "etcd-flows.drill.completed", made[2]["snapshot"])


def test_no_secret_gets_out(backed: Backed, prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backed.product, "forked", False)  # for what it shows in /proc, and for its level of logs
    canaries = Canaries()
    words: dict[str, Any] = {"PHRASE": canaries.new("snapshot-passphrase"), "PREFECT_LOGGING_LEVEL": "DEBUG"}
    backed.describe(encryption={"passphrase": "env:PHRASE"}, verify="opened")
    wrong = canaries.new("s3-secret")
    with sampled(backed.hosts), WorkerSampler() as worker:
        runs = [
            backed.backup("--verbose", code=1, **words, KEY_SECRET=wrong),
            backed.backup("--verbose", as_json=False, **words),
        ]
    assert "DEBUG" in runs[1].stderr
    canaries.key("signing-key", (backed.product.state / "snapshot-signing.key").read_bytes())
    for run in runs:
        assert canaries.seen_in(run.output.encode()) == set()
    assert worker.leaks(canaries) == set()
    for host in backed.hosts:
        assert on_host(canaries, host) == set()
    assert on_disk(canaries, prefect_server.home) == set()
    its_place = Leak("signing-key", "state/snapshot-signing.key", 0o600)
    assert on_disk(canaries, backed.product.directory) == {its_place}
    for store in (backed.local, backed.remote):
        documents = [entry.key for entry in store.list("") if entry.key.endswith(".json")]
        assert documents
        assert all(canaries.seen_in(store.get(key)) == set() for key in documents)


def test_a_worker_that_only_reaches_ssh(backed: Backed, tmp_path: Path) -> None:
    rule = "INPUT -s 198.18.0.1 -p tcp --dport 2379 -j REJECT"
    for host in backed.hosts:
        host.exec(f"iptables -w -I {rule}")
    try:
        done = backed.backup()
    finally:
        for host in backed.hosts:
            host.exec(f"iptables -w -D {rule}")
    assert done.json["plan"]["way"] == "host"
    assert "client port" in done.json["plan"]["why"]
    (entry,) = backed.entries(backed.remote)
    assert entry.manifest.via == "host"
    assert fetch(entry, backed.remote, None, tmp_path / "db").has_trailer
    left = [host.exec("find / -xdev -path '*capture*' -name '*.db*' -not -path '/proc/*'") for host in backed.hosts]
    assert "".join(left) == ""


def test_a_store_that_refuses_leaves_a_partial_backup_and_says_so(
    backed: Backed, prefect_server: PrefectServer
) -> None:
    done = backed.backup(code=1, KEY_SECRET="wrong-" + "x" * 34)
    assert done.json["partial"] is True
    assert list(done.json["failed"]) == ["offsite"]
    assert done.json["failed"]["offsite"]["remedy"]
    assert "wrong-" not in done.output
    assert len(backed.entries(backed.local)) == 1
    assert backed.entries(backed.remote) == []
    events(prefect_server, "etcd-flows.snapshot.failed", "offsite")
    text = backed.backup(code=1, KEY_SECRET="wrong-" + "x" * 34, as_json=False).stdout
    assert "PARTIAL" in text
    assert "FAILED: offsite" in text


def test_a_host_that_is_down_and_a_cluster_without_quorum(backed: Backed) -> None:
    backed.hosts[2].cut_off()
    try:
        done = backed.backup()
        assert "etcd-03" in done.stderr
        backed.hosts[1].exec("systemctl stop etcd")
        lone = backed.backup().json
        assert lone["stores"]["local"]["source"] == "etcd-01"
        assert lone["stores"]["local"]["hashkv"] is not None
    finally:
        backed.hosts[1].exec("systemctl start --no-block etcd")
        backed.hosts[2].reconnect()
    wait_until("all are back", lambda: "true" in etcdctl(backed.hosts[2], "endpoint health -w json", check=False), 60)


def test_one_at_a_time(backed: Backed, prefect_server: PrefectServer) -> None:
    fifo = backed.product.directory / "slow"
    os.mkfifo(fifo)
    slow = (
        "import sys, tests.e2e.killed_at_store as k; fifo = sys.argv.pop(1);"
        " k._die = lambda *_: open(fifo).read(); k.main()"
    )
    argv = [sys.executable, "-c", slow, str(fifo), "directory", "begin", "snapshot-backup", str(backed.product.file)]
    first = subprocess.Popen(argv, cwd=backed.product.directory, env=backed.product.environment(), text=True)
    try:
        locked = "ls /var/lib/etcd-flows/lock 2>/dev/null; true"
        wait_until("the first has the lock", lambda: backed.hosts[0].exec(locked) != "", 60)
        second = backed.backup(code=3)
        assert "snapshot-backup of" in second.errors[0]["message"]
        assert "the cluster is locked" in second.errors[0]["message"]
        restore = backed.product.run("bootstrap-cluster", "--plan")
        assert restore.code == 0, "looking is never kept out"
        events(prefect_server, "etcd-flows.snapshot.skipped", "the cluster is locked")
    finally:
        with contextlib.suppress(OSError):
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            os.close(descriptor)
        assert first.wait(60) == 0
        fifo.unlink()
    assert len(backed.entries(backed.local)) == 1


@pytest.mark.parametrize("kind", ["directory", "s3"])
def test_killed_anywhere_nothing_half_made_is_listed(backed: Backed, kind: str) -> None:
    store = backed.local if kind == "directory" else backed.remote
    for point in POINTS:
        killed = backed.product.run("snapshot-backup", program=(*KILLED, kind, point))
        assert killed.code == -signal.SIGKILL, (point, killed.output)
        listed = backed.entries(store)
        assert len(listed) == (1 if point == "after" else 0), point
    backed.backup()
    listed = backed.entries(store)
    assert len(listed) == 2
    assert all(entry.unsound == "" for entry in listed)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    store.sweep(soon)
    assert store.sweep(soon) == (), "no upload is left"


def test_a_clear_word_where_there_is_no_store(backed: Backed) -> None:
    backed.product.write({key: value for key, value in backed.content.items() if key != "snapshots"})
    done = backed.backup(code=2)
    assert "names no store" in done.errors[0]["message"]
