"""``etcd-flows snapshots`` as people use it: real processes' code paths, a real store, no Prefect."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from deployments.cli import main
from tasks.snapshots.manifest import manifest_key
from tasks.snapshots.stores.directory import DirectoryStore
from tests.outputs import assert_as_published
from tests.unit.snapshots.shelf import KEY, TRUSTED, catalog_of, database, shelve

HOUR = timedelta(hours=1)
TODAY = datetime.now(UTC).replace(microsecond=0)


@dataclass
class House:
    """A cluster file with two directories as stores, and the key that signs."""

    file: Path
    local: DirectoryStore
    offsite: DirectoryStore

    def run(self, *words: str) -> Result:
        done = CliRunner().invoke(main, ["snapshots", words[0], str(self.file), *words[1:]])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done

    def json(self, *words: str) -> Any:
        return assert_as_published(f"snapshots-{words[0]}", self.run(*words, "--json").stdout)


CLUSTER = """\
name: prod-a
hosts:
  - {name: etcd-01, address: 192.0.2.11}
pki: {state_dir: ./state}
snapshots:
  stores:
    - {name: local, directory: ./local}
    - {name: offsite, directory: ./offsite}
"""


@pytest.fixture
def house(tmp_path: Path) -> House:
    for folder in ("local", "offsite"):
        (tmp_path / folder).mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    key = tmp_path / "state" / "snapshot-signing.key"
    key.write_bytes(KEY.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    file = tmp_path / "prod-a.yaml"
    file.write_text(CLUSTER)
    stores = [DirectoryStore(name, tmp_path / name, "prod-a") for name in ("local", "offsite")]
    return House(file, *stores)


def test_list_shows_each_snapshot_once_with_all_stores_and_hides_nothing(house: House) -> None:
    new = shelve(house.local, TODAY - 2 * HOUR, level="opened", revision_min=1010)
    shelve(house.offsite, TODAY - 2 * HOUR, revision_min=1010)
    pinned = shelve(house.local, TODAY - 50 * HOUR, pinned=True, kind="manual")
    forged = shelve(house.offsite, TODAY - HOUR, key=None)
    broken = shelve(house.local, TODAY)
    house.local.put(manifest_key(broken.id), b"{")
    done = house.run("list")
    assert done.exit_code == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "local, offsite" in lines[new.id]
    assert re.search(r"local: opened, 1 h( \d+ min)? ago; offsite: stored", lines[new.id])
    assert " 1010 " in lines[new.id]
    assert "2 d 2 h" in lines[pinned.id]
    assert lines[pinned.id].endswith("pinned")
    assert lines[forged.id].endswith("not signed")
    assert f"{broken.id} in local can't be used" in done.stdout
    assert "local (" in done.stdout
    assert "2 snapshots" in lines["local"]
    assert "1 verified; the newest is 2 h" in lines["local"]


def test_list_in_json_and_filtered(house: House) -> None:
    new = shelve(house.local, TODAY - 2 * HOUR, level="opened")
    old = shelve(house.local, TODAY - 50 * HOUR, pinned=True, kind="manual")

    def ids(*words: str) -> list[str]:
        return [found["id"] for found in house.json("list", *words)["snapshots"]]

    assert ids() == [new.id, old.id]
    assert ids("--verified") == [new.id]
    assert ids("--pinned") == [old.id]
    assert ids("--kind", "manual") == [old.id]
    assert ids("--since", "1d") == [new.id]
    assert ids("--before", f"{TODAY - HOUR * 3:%Y-%m-%dT%H:%M}") == [old.id]
    assert ids("--store", "offsite") == []
    first = house.json("list")["snapshots"][0]
    assert {key: first[key] for key in ("id", "kind", "revision_min", "revision_max", "db_bytes", "etcd_version")} == {
        "id": new.id,
        "kind": "scheduled",
        "revision_min": 1000,
        "revision_max": 1010,
        "db_bytes": new.db_bytes,
        "etcd_version": "3.6.14",
    }
    assert first["stores"][0] | {"where": ""} == {
        "store": "local",
        "where": "",
        "object": new.object,
        "object_bytes": new.object_bytes,
        "level": "opened",
        "verified": True,
        "verified_at": (TODAY - HOUR).isoformat(),
        "pinned": False,
        "trust": "signed",
        "signer": TRUSTED,
        "unsound": "",
        "bundle": False,
    }


def test_a_store_that_can_not_be_read_does_not_hide_the_other(house: House) -> None:
    shelve(house.local, TODAY)
    house.file.write_text(CLUSTER.replace("{name: offsite, directory: ./offsite}", S3_NOWHERE))
    done = house.run("list")
    assert done.exit_code == 1
    assert catalog_of(house.local).entries[0].id in done.stdout
    assert "offsite" in done.stderr
    answer = house.json("list")
    assert answer["ok"] is False
    assert list(answer["failed"]) == ["offsite"]


S3_NOWHERE = """{name: offsite, s3: {bucket: nowhere, endpoint: "https://127.0.0.1:9",
       access_key: "env:PATH", secret_key: "env:PATH"}}"""


def test_bad_words_are_bad_input(house: House) -> None:
    assert house.run("list", "--store", "nope").exit_code == 2
    assert house.run("list", "--since", "yesterday").exit_code == 2
    assert house.run("show", "latest").exit_code == 2
    assert house.run("show", "20300101").exit_code == 2
    assert house.json("show", "20300101")["errors"][0]["state"] == "nothing was touched"


def test_show_tells_everything(house: House) -> None:
    manifest = shelve(house.local, TODAY - HOUR, level="opened", pinned=True, reason="before the upgrade")
    shelve(house.offsite, TODAY - HOUR, bad="a byte was flipped")
    done = house.run("show", "latest")
    for text in (
        manifest.id,
        manifest.db_sha256,
        "before the upgrade",
        "etcd-02 (streamed to the worker)",
        "signed by the trusted key",
        "opened: good",
        "kept for the audit",
        "NO: a verification found: a byte was flipped",
        str(house.offsite.where),
    ):
        assert text in done.stdout
    answer = house.json("show", manifest.id[:15])
    assert answer["manifest"]["db_sha256"] == manifest.db_sha256
    assert [found["store"] for found in answer["stores"]] == ["local", "offsite"]
    assert {mark["mark"]["kind"] for mark in answer["stores"][0]["marks"]} == {"verification", "pin"}


def test_fetch_writes_the_database(house: House, tmp_path: Path) -> None:
    manifest = shelve(house.local, TODAY)
    target = tmp_path / "back.db"
    done = house.run("fetch", "latest", str(target))
    assert done.exit_code == 0, done.stderr
    assert target.read_bytes() == database(f"{TODAY}0")
    assert "every secret" in done.stdout
    answer = house.json("fetch", manifest.id, str(tmp_path))
    assert answer["path"] == str(tmp_path / f"{manifest.id}.db")


def test_fetch_needs_consent_for_what_is_not_ours(house: House, tmp_path: Path) -> None:
    forged = shelve(house.local, TODAY, key=None)
    done = house.run("fetch", forged.id, str(tmp_path / "x.db"))
    assert done.exit_code == 3
    assert "anyone who can write to the store may have made it" in done.stderr
    assert house.run("fetch", forged.id, str(tmp_path / "x.db"), "--accept-untrusted").exit_code == 0


def test_fetch_says_what_latest_passed_over(house: House, tmp_path: Path) -> None:
    shelve(house.local, TODAY - HOUR)
    forged = shelve(house.local, TODAY, key=None)
    done = house.run("fetch", "latest", str(tmp_path / "x.db"))
    assert f"passed over: {forged.id} in local: not signed" in done.stderr


def test_pin_and_unpin_in_all_stores(house: House) -> None:
    manifest = shelve(house.local, TODAY)
    shelve(house.offsite, TODAY)
    assert house.json("pin", "latest", "--reason", "audit")["pinned"] == ["local", "offsite"]
    assert all(catalog_of(store).entries[0].pinned for store in (house.local, house.offsite))
    assert house.run("unpin", manifest.id, "--store", "offsite").exit_code == 0
    assert [catalog_of(store).entries[0].pinned for store in (house.local, house.offsite)] == [True, False]
    assert house.run("unpin", manifest.id).exit_code == 0
    again = house.run("unpin", manifest.id)
    assert again.exit_code == 3
    assert "is not pinned" in again.stderr


def test_without_the_signing_key_nothing_is_marked(house: House, tmp_path: Path) -> None:
    shelve(house.local, TODAY)
    (tmp_path / "state" / "snapshot-signing.key").unlink()
    done = house.run("pin", "20", "--reason", "x")
    assert done.exit_code == 2
    assert "the key that signs this cluster's snapshots is not in" in done.stderr
    assert not (tmp_path / "state" / "snapshot-signing.key").exists()


def test_key_and_schema(house: House, tmp_path: Path) -> None:
    assert house.run("key").stdout.strip() == TRUSTED
    (tmp_path / "state" / "snapshot-signing.key").unlink()
    made = house.run("key")
    assert "a new signing key was made" in made.stderr
    assert house.json("key")["public_key"] == made.stdout.strip() != TRUSTED
    schema = json.loads(CliRunner().invoke(main, ["snapshots", "schema"]).stdout)
    assert "manifest" in schema["properties"]


@pytest.mark.parametrize("words", [("list",), ("fetch", "latest")], ids=" ".join)
def test_no_prefect_is_imported(house: House, tmp_path: Path, words: tuple[str, ...]) -> None:
    shelve(house.local, TODAY)
    command = [sys.executable, "-X", "importtime", "-m", "deployments.cli", "snapshots", words[0], str(house.file)]
    more = [*words[1:], str(tmp_path / "x.db")] if len(words) > 1 else []
    run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run
    done = run(
        [*command, *more], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr[-800:]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert not imported & {"prefect", "fabric", "paramiko", "etcd3", "grpc"}


def flip(store: DirectoryStore, key: str) -> None:
    data = bytearray(store.get(key))
    data[100] ^= 1
    store.put(key, bytes(data))


def test_verify_says_what_is_bad_and_copy_mends_it(house: House) -> None:
    manifest = shelve(house.local, TODAY)
    shelve(house.offsite, TODAY)
    done = house.run("verify", "latest", "--level", "stored")
    assert done.exit_code == 0, done.stderr
    assert "2 copies good, 0 bad" in done.stdout
    flip(house.local, manifest.object)
    bad = house.run("verify", manifest.id, "--level", "stored")
    assert bad.exit_code == 1
    assert "BAD: the data in local is changed, by a failing disk or on purpose" in bad.stdout
    assert "what to do: use another snapshot, or this one from another store" in bad.stdout
    answer = house.json("verify", manifest.id, "--level", "stored", "--store", "local")
    assert (answer["ok"], answer["recorded"], answer["verified"][0]["ok"]) == (False, True, False)
    assert house.json("copy", "--from", "local", "--to", "offsite")["copied"] == []
    mended = house.json("copy", "--from", "offsite", "--to", "local")
    assert [(one["snapshot"], one["new"]) for one in mended["copied"]] == [(manifest.id, True)]
    assert house.json("verify", manifest.id, "--level", "stored")["ok"]


def test_copy_all_that_is_missing_and_pin_it(house: House) -> None:
    made = [shelve(house.local, TODAY - age * HOUR) for age in (2, 1)]
    shelve(house.local, TODAY, key=None)
    done = house.run("copy", "--from", "local", "--to", "offsite", "--pin", "for the auditors")
    assert done.exit_code == 0, done.stderr
    assert "2 snapshots copied from local to offsite" in done.stdout
    assert [(entry.id, entry.pinned) for entry in catalog_of(house.offsite).entries] == [
        (made[1].id, True),
        (made[0].id, True),
    ]
    assert "offsite has it already" in house.run("copy", "latest", "--from", "local", "--to", "offsite").stdout
    assert house.run("copy", "--from", "local", "--to", "local").exit_code == 2
    assert house.run("copy", "--from", "local", "--to", "nope").exit_code == 2


def test_verify_without_the_signing_key_still_tells_and_says_that_nothing_was_written(
    house: House, tmp_path: Path
) -> None:
    shelve(house.local, TODAY)
    (tmp_path / "state" / "snapshot-signing.key").unlink()
    done = house.run("verify", "20", "--level", "stored")
    assert done.exit_code == 0, done.stderr
    assert "not written down: the key that signs" in done.stderr
    assert "but mind: signed by a key that is not trusted here" in done.stdout
    assert catalog_of(house.local).entries[0].marks == ()


def test_a_machine_that_knows_no_key_says_so_and_what_to_do(house: House, tmp_path: Path) -> None:
    manifest = shelve(house.local, TODAY)
    (tmp_path / "state" / "snapshot-signing.key").unlink()
    advice = "pin it in the cluster file (snapshots.signing.public_key), or bring the state directory"
    assert advice in house.run("list").stdout
    for wanted, code in (("latest", 2), (manifest.id, 3)):
        done = house.run("fetch", wanted, str(tmp_path / "x.db"))
        assert (done.exit_code, advice in done.stderr) == (code, True)
    house.file.write_text(CLUSTER.replace("snapshots:\n", f'snapshots:\n  signing: {{public_key: "{TRUSTED}"}}\n'))
    assert house.run("fetch", "latest", str(tmp_path / "x.db")).exit_code == 0


def test_a_forged_manifest_can_not_write_on_the_terminal(house: House) -> None:
    evil = "\x1b[2J\x1b[32mall is well\n"
    forged = shelve(house.local, TODAY, key=None, reason=evil, cluster=evil, notes=(evil,), source=evil)
    for words in (("list",), ("show", forged.id)):
        done = house.run(*words)
        assert "all is well" in done.stdout or words == ("list",)
        assert "\x1b" not in done.stdout
        assert "\nall" not in done.stdout
