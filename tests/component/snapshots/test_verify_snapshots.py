"""Stored snapshots of a real member, in a directory and in a bucket, opened by `verify-snapshots`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tasks.snapshots.age_keys import Locks
from tasks.snapshots.alone import alone
from tasks.snapshots.catalog import read_catalog
from tasks.snapshots.signing import public_key_text
from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.directory import DirectoryStore
from tests.component.etcd.conftest import Member
from tests.component.snapshots.test_backup import run
from tests.outputs import assert_as_published
from tests.s3.server import S3Server
from tests.unit.snapshots.shelf import KEY

pytestmark = pytest.mark.component

ROOT = Path(__file__).parents[3]
TRUSTED = public_key_text(KEY)
PEM = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)

#: All runs in one process, since Prefect's start is what takes the time; events are told instead of sent.
RUNS = """
import sys
from deployments.cli import main
import flows.events
flows.events.emit_event = lambda event, **more: print("event", event, file=sys.stderr)
for words in sys.argv[2:]:
    try:
        main(["verify-snapshots", sys.argv[1], "--json", *words.split()])
    except SystemExit as end:
        print("=====", end.code)
"""


def levels(*stores: Store) -> list[list[str]]:
    """By store, the newest first; ``BAD`` for what is known to be bad."""
    return [
        ["BAD" if entry.unsound else entry.level for entry in read_catalog(store, "prod-a", TRUSTED).entries]
        for store in stores
    ]


class Site:
    """A cluster file, and the command line."""

    def __init__(self, folder: Path, release: Path, stores: list[dict[str, Any]], **environment: str) -> None:
        self.file = folder / "prod-a.yaml"
        self.environment = {**os.environ, **environment}
        document = {
            "name": "prod-a",
            "hosts": [{"name": "etcd-01", "address": "192.0.2.11"}],
            "etcd": {"release": {"source": str(release), "cache": str(folder / "cache")}},
            "pki": {"state_dir": str(folder / "state")},
            "snapshots": {
                "stores": stores,
                "encryption": {"identity": "env:AGE_KEY"},
                "signing": {"private_key": f"file:{folder / 'signing.key'}"},
            },
        }
        self.file.write_text(yaml.safe_dump(document))
        (folder / "signing.key").write_bytes(PEM)
        (folder / "signing.key").chmod(0o600)

    def verify(self, *runs: str) -> list[tuple[int, dict[str, Any]]]:
        """Exit code and answer of each run."""
        argv = [sys.executable, "-c", RUNS, str(self.file), *runs]
        done = subprocess.run(
            argv, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )
        self.said = done.stderr
        assert done.returncode == 0, done.stderr[-3000:]
        ended = done.stdout.split("===== ")
        codes = [int(text.split("\n", 1)[0]) for text in ended[1:]]
        answers = [text if not number else text.split("\n", 1)[1] for number, text in enumerate(ended[:-1])]
        said = [assert_as_published("verify-snapshots", answer) if answer else {} for answer in answers]
        return [*zip(codes, said, strict=True)]


def test_what_is_stored_is_opened_within_bounds(
    make_members: Callable[..., list[Member]],
    etcd_release_dir: Path,
    s3_server: S3Server,
    tmp_path: Path,
) -> None:
    local = DirectoryStore("local", tmp_path / "backups", "prod-a")
    bucket = s3_server.make_bucket()
    offsite = s3_server.store(bucket)
    identity = pyrage.x25519.Identity.generate()
    (member,) = make_members()
    member.start()
    with member.client() as client:
        for number in range(3):
            client.put(b"/keys/%d" % number, os.urandom(5_000))
            run([member], local, offsite, locks=Locks(recipients=(str(identity.to_public()),)))
    member.stop()
    assert levels(local, offsite) == [["stored"] * 3] * 2

    keys = {"access_key": "env:KEY_ID", "secret_key": "env:KEY_SECRET"}
    s3 = {"bucket": bucket, "endpoint": s3_server.tls_endpoint, "ca": str(s3_server.ca), **keys}
    site = Site(
        tmp_path,
        etcd_release_dir,
        [{"name": "local", "directory": str(tmp_path / "backups")}, {"name": offsite.name, "s3": s3}],
        AGE_KEY=str(identity),
        KEY_ID=s3_server.owner.access_key,
        KEY_SECRET=s3_server.owner.secret_key,
    )
    ids = [entry.id for entry in read_catalog(local, "prod-a", TRUSTED).entries]
    data = next((tmp_path / "backups").rglob(f"{ids[2]}/snapshot.db*"))
    content = bytearray(data.read_bytes())
    content[-20] ^= 1
    data.write_bytes(content)

    (planned, bounded, rest, nothing) = site.verify("--plan", "--at-most 3", "", "")
    assert planned[0] == 0
    assert planned[1]["chosen"] == [
        {"snapshot": each, "store": name} for each in ids for name in ("local", offsite.name)
    ]
    assert planned[1]["verified"] == []
    assert bounded[0] == 0, site.said
    assert [(each["snapshot"], each["ok"]) for each in bounded[1]["verified"]] == [(ids[0], True)] * 2 + [
        (ids[1], True)
    ]
    assert [each["contents"]["keys"] for each in bounded[1]["verified"]] == [3, 3, 2]
    assert bounded[1]["left"] == 3
    assert rest[0] == 1
    (bad,) = [each for each in rest[1]["verified"] if not each["ok"]]
    assert (bad["snapshot"], bad["store"]) == (ids[2], "local")
    assert "changed" in bad["bad"]
    assert bad["remedy"]
    assert (nothing[0], nothing[1]["chosen"], nothing[1]["left"]) == (0, [], 0)
    assert levels(local, offsite) == [["opened", "opened", "BAD"], ["opened"] * 3]
    told = [line.rpartition(".")[2] for line in site.said.splitlines() if line.startswith("event ")]
    assert told == ["completed", "failed", "completed"]


def test_nothing_is_green_that_was_not_looked_at(
    make_members: Callable[..., list[Member]], etcd_release_dir: Path, tmp_path: Path
) -> None:
    local = DirectoryStore("local", tmp_path / "backups", "prod-a")
    theirs, ours = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    (member,) = make_members()
    member.start()
    run([member], local, locks=Locks(recipients=(str(theirs.to_public()),)))
    keys = {"access_key": "env:AGE_KEY", "secret_key": "env:AGE_KEY"}
    gone = {"name": "gone", "s3": {"bucket": "nowhere", "endpoint": "https://127.0.0.1:9", **keys}}
    stores: list[dict[str, Any]] = [{"name": "local", "directory": str(tmp_path / "backups")}, gone]
    site = Site(tmp_path, etcd_release_dir, stores, AGE_KEY=str(ours))
    with alone(tmp_path / "state", "verify-snapshots"):
        ((held, answer),) = site.verify("--store local")
    assert (held, answer["error"]) == (3, "LockHeld")
    assert "event" not in site.said
    ((locked, answer),) = site.verify("--store local")
    assert locked == 2
    assert "no key at hand opens 1 snapshot" in answer["errors"][0]["message"]
    assert "event etcd-flows.verification.failed" in site.said
    run([member], local)
    ((partly, answer),) = site.verify("")
    assert partly == 1
    assert [each["ok"] for each in answer["verified"]] == [True]
    assert list(answer["failed"]) == ["gone"]
    assert answer["locked"] == 1
