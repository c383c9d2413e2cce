"""A restore out of the store: one member of etcd 3.5 whose data dir is a disk of its own."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tasks.cluster.load import load_cluster
from tasks.snapshots.catalog import read_catalog
from tasks.snapshots.signing import trusted_key
from tasks.snapshots.stores.directory import DirectoryStore
from tests.e2e.conftest import MakeProduct
from tests.e2e.interruptions import Kind, interrupt
from tests.e2e.product import CLI, KILLED, Done, Product, assert_healthy, cluster_id, etcdctl, token
from tests.e2e.restoring import UNDER_WAY, data_dir, revision
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab


@dataclass
class Alone:
    """The member, and what its cluster's store has."""

    product: Product
    host: LabHost

    def restore(self, *words: str, code: int = 0, **options: Any) -> Done:
        done = self.product.run("disaster-restore", "--confirm", "prod-a", *words, **options)
        assert done.code == code, done.output
        return done

    def snapshots(self, kind: str) -> list[str]:
        """Ids of all snapshots of a kind, the newest first."""
        spec = load_cluster(self.product.file).cluster
        store = DirectoryStore("local", self.product.directory / "backups", "prod-a")
        entries = read_catalog(store, "prod-a", trusted_key(spec)).entries
        assert not any(entry.unsound for entry in entries)
        return [entry.id for entry in entries if entry.kind == kind]


#: One where the flow runs, one on the member's host; each writes down that it ran, and fails if it is told to.
HOOKS = {
    "before_stop": [{"name": "stop-clients", "command": "echo before >>$HOME/hooks; [ ! -e $HOME/broken ]"}],
    "after_proof": [
        {"name": "start-clients", "machine": "etcd-01", "command": "echo $(id -un) >>/hooks; ls /unbroken"}
    ],
}


@pytest.fixture(scope="module")
def alone(lab: Lab, make_product: MakeProduct) -> Alone:
    product, (host,) = make_product(), lab.fresh(1)
    host.small_disk(900)
    store = {"name": "local", "directory": str(product.directory / "backups")}
    product.environ["BACKUP_PASS"] = "correct horse battery staple"
    product.describe(
        [host],
        version="3.5.35",
        restore=HOOKS,
        snapshots={"stores": [store], "encryption": {"passphrase": "env:BACKUP_PASS"}},
    )
    product.bootstrap()
    host.exec(
        "touch /unbroken\n"
        "for i in $(seq 30); do etcdctl put key/$i $i; done; for i in $(seq 10); do etcdctl put key/1 again$i; done"
    )
    host.exec("etcdctl compact 20")
    product.must("snapshot-backup")
    return Alone(product, host)


#: Where a restore is cut off whose hosts are lost then as well.
HALFWAY = "done/etcd-01/hold"


def test_everything_on_the_host_is_gone(alone: Alone) -> None:
    """Data, settings, certificates, programs, records, Prefect's server: what is left is the store, the CA, the key."""
    host = alone.host
    host.exec("systemctl kill -s KILL etcd; systemctl disable --now etcd; find /var/lib/etcd -mindepth 1 -delete")
    host.exec("rm -rf /etc/etcd /opt/bin /var/lib/etcd-flows /etc/systemd/system/etcd.service; systemctl daemon-reload")
    alone.restore(code=-signal.SIGKILL, program=(*KILLED, HALFWAY))
    first = json.loads(host.exec("cat /var/lib/etcd-flows/restore/record.json"))
    host.exec("find /var/lib/etcd -mindepth 1 -delete; rm -rf /var/lib/etcd-flows; systemctl daemon-reload")
    done = alone.restore(PREFECT_API_URL="http://127.0.0.1:9/api")
    assert "not in a shared UI" in done.stderr
    assert f"restore {first['id'][:8]} of {first['snapshot']} was begun and has not ended" in done.stderr
    assert token(host) != first["token"]
    assert done.json["restore"]["base_revision"] > first["revision"] + first["bump"], "clients may have seen those"
    listed = alone.product.must("list", program=(*CLI, "restores")).json["restores"]
    assert [(one["snapshot"], one["state"]) for one in listed] == [
        (first["snapshot"], "done"),
        (first["snapshot"], "not ended"),
    ]
    answer = done.json
    assert_healthy([host])
    etcdctl(host, "del probe")
    assert etcdctl(host, "get key/1 --print-value-only").strip() == "again10"
    assert answer["proof"][0]["keys"] == 30
    assert revision(host) > 1_000_000_000
    assert host.exec("stat -c %m /var/lib/etcd").strip() == "/var/lib/etcd", "it still is a disk of its own"
    assert data_dir(host).startswith("/var/lib/etcd/restored-")
    assert not (alone.product.state / "restore").exists() or not any((alone.product.state / "restore").iterdir())
    assert alone.product.bootstrap().json["plan"]["empty"]


def test_the_same_command_once_more_takes_nothing_away(alone: Alone) -> None:
    """Arrow-up at 3 a.m., and an API client that asks again: what was written since the restore stays."""
    host = alone.host
    etcdctl(host, "put since-then 1")
    before = untouched(host)
    said = alone.restore().json
    assert (said["already_restored"], said["applied"]) == (True, False)
    assert alone.restore("--start-over").json["already_restored"]
    assert alone.restore("--snapshot", alone.snapshots("manual")[0][:20]).json["already_restored"]
    alone.product.must("snapshot-backup")
    refused = alone.restore(code=3).output
    assert "made of it since" in refused
    assert "--again" in refused
    assert untouched(host) == before
    assert etcdctl(host, "get since-then --print-value-only").strip() == "1"


def untouched(host: LabHost) -> str:
    """Which process runs, on what; and what is on record."""
    return host.exec("pidof etcd; ls -A /var/lib/etcd /var/lib/etcd-flows; cat /etc/etcd/etcd.env")


def test_what_is_there_is_stored_before_and_can_be_gone_back_to(alone: Alone) -> None:
    host = alone.host
    etcdctl(host, "put precious 1")
    before = cluster_id(host)
    done = alone.restore("--again", "--reason", "a test", "--accept", "no-hooks").json
    assert etcdctl(host, "get precious") == ""
    assert alone.snapshots("safety") == [done["safety_snapshot"]]
    etcdctl(host, "put since 1")
    back = alone.restore("--go-back").json
    assert back["taken_back"] is True
    assert cluster_id(host) == before
    assert etcdctl(host, "get precious --print-value-only").strip() == "1"
    assert etcdctl(host, "get since") == ""
    # What was lost by going back is in the store too; and the safety snapshot of before is restored by its id.
    alone.restore("--snapshot", back["safety_snapshot"])
    assert etcdctl(host, "get since --print-value-only").strip() == "1"


def test_hooks_for_clients(alone: Alone) -> None:
    """One that fails before the stop: no member is stopped. One that fails after the proof: all else is done."""
    host, own = alone.host, alone.product.directory / "hooks"
    own.unlink(missing_ok=True)
    host.exec("rm -f /hooks")
    pid, words = host.exec("pidof etcd"), ("--snapshot", alone.snapshots("manual")[0])
    (alone.product.directory / "broken").touch()
    failed = alone.restore("--again", *words, code=1)
    assert "hook stop-clients ended with exit code 1" in failed.output
    assert "no member was stopped" in failed.errors[0]["state"]
    assert host.exec("pidof etcd") == pid
    (alone.product.directory / "broken").unlink()
    host.exec("rm -f /unbroken")
    partly = alone.restore(*words, code=1)
    assert list(partly.json["hooks_failed"]) == ["start-clients"]
    assert (partly.json["applied"], partly.json["ok"]) == (True, False)
    assert_healthy([host])
    host.exec("touch /unbroken")
    again = alone.restore(*words).json
    assert (again["already_restored"], again["applied"], again["hooks_failed"]) == (True, True, {})
    assert not alone.restore(*words).json["applied"], "what failed has been made up for"
    assert own.read_text().split() == ["before", "before"]
    assert host.read("/hooks").split() == ["root", "root"]
    assert alone.product.bootstrap().json["plan"]["empty"]


def test_bytes_that_rotted_in_the_store_stop_nothing(alone: Alone) -> None:
    """Nor does a key that is missing here, or another one."""
    host = alone.host
    pid = host.exec("pidof etcd")
    newest = alone.snapshots("manual")[0]
    for passphrase in ("", "another"):
        assert not alone.product.run(
            "disaster-restore", "--confirm", "prod-a", "--snapshot", newest, "--again", BACKUP_PASS=passphrase
        ).json["ok"]
    (data,) = (alone.product.directory / "backups").rglob(f"data/{newest}/*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.chmod(0o600)
    data.write_bytes(content)
    failed = alone.restore("--snapshot", newest, "--again", code=1)
    assert json.loads(failed.stdout)["ok"] is False
    assert host.exec("pidof etcd") == pid
    assert host.exec("ls /var/lib/etcd-flows/restore 2>/dev/null; true") == ""


def test_a_host_without_room_stops_nothing(alone: Alone) -> None:
    host = alone.host
    pid = host.exec("pidof etcd")
    host.exec(
        "fallocate -l $(( $(df -B1 --output=avail /var/lib/etcd | tail -n 1) - 100000000 )) /var/lib/etcd/ballast"
    )
    try:
        assert "are needed" in alone.restore("--snapshot", alone.snapshots("safety")[0], code=3).output
    finally:
        host.exec("rm /var/lib/etcd/ballast")
    assert host.exec("pidof etcd") == pid


def fill_up(pid: int, host: LabHost) -> None:
    """Take all that is left of the disk."""
    host.exec(
        "fallocate -l $(df -B1 --output=avail /var/lib/etcd | tail -n 1) /var/lib/etcd/ballast;"
        " cat /dev/zero >>/var/lib/etcd/ballast; true"
    )


def make_room(host: LabHost) -> None:
    host.exec("rm -f /var/lib/etcd/ballast")


def spoil(pid: int, host: LabHost) -> None:
    """Change the bytes that have just been brought to the host and compared there."""
    host.exec("printf x | dd of=$(ls /var/lib/etcd/restore-*.db) bs=1 seek=9000 conv=notrunc status=none")


@pytest.mark.parametrize(
    ("point", "act", "why"),
    [
        ("half/etcd-01/push", fill_up, "No space left"),
        ("start/etcd-01/unpack", fill_up, "no space left"),
        ("start/etcd-01/unpack", spoil, "sha256"),
    ],
    ids=["full-while-it-arrives", "full-while-it-is-unpacked", "changed-after-it-arrived"],
)
def test_what_fails_on_the_host_stops_nothing_and_goes_on_when_it_is_mended(
    alone: Alone, point: str, act: Callable[[int, LabHost], None], why: str
) -> None:
    host = alone.host
    host.exec(f"find /var/lib/etcd -maxdepth 1 -name 'restored-*' ! -path {data_dir(host)} -exec rm -r {{}} +")
    etcdctl(host, "put precious 2")
    before = host.exec("pidof etcd; cat /etc/etcd/etcd.env")
    words = ("--snapshot", alone.snapshots("manual")[-1], "--confirm", "prod-a", "--again")
    run = interrupt(alone.product, [host], [(point, Kind("trouble", act, make_room))], *words, flow="disaster-restore")
    assert run.done.code == 1, run.done.output
    (error,) = run.done.errors
    assert error["host"] == host.name
    assert why in error["message"]
    assert "no member was stopped" in error["state"]
    assert "goes on from the record" in error["remedy"]
    assert host.exec("pidof etcd; cat /etc/etcd/etcd.env") == before
    assert etcdctl(host, "get precious --print-value-only").strip() == "2"
    record = host.read(f"{UNDER_WAY}/record.json")
    done = alone.restore().json
    assert done["restore"]["id"] == json.loads(record)["id"], "the same restore goes on"
    assert etcdctl(host, "get precious") == ""
    assert host.exec("ls -d /var/lib/etcd/*.db /var/lib/etcd/.* 2>/dev/null | grep -v '/[.]*$'; true") == ""
