"""What is made of a bundle when everything else is gone."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from deployments.cli import main
from tasks.cluster.load import load_cluster
from tasks.cluster.spec import Cluster
from tasks.errors import InputError, Refused
from tasks.snapshots.bundle import bundle_key
from tasks.snapshots.library import Library
from tasks.snapshots.recover import Place, find_bundle, new_cluster_file
from tasks.snapshots.signing import SigningKey
from tasks.snapshots.stores.directory import DirectoryStore
from tests.unit.snapshots.shelf import KEY, NOW, STRANGER, TRUSTED, catalog_of, shelve
from tests.unit.snapshots.test_age import KEYS
from tests.unit.snapshots.test_bundle import bundle, cluster_with_ca

WAS = b"""# ours
name: prod-a
hosts:
  - {name: etcd-01, address: 10.0.0.11}
pki: {extra_sans: [etcd.example.com], state_dir: /root/state}
snapshots:
  stores:
    - {name: offsite, s3: {bucket: etcd, prefix: clusters/, endpoint: "https://s3.example.com"}}
  encryption: {recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]}
"""


@pytest.fixture
def lost(tmp_path: Path) -> Cluster:
    made = cluster_with_ca(tmp_path)
    (tmp_path / "prod-a.yaml").write_bytes(WAS)
    return made


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore("offsite", tmp_path / "backups", "prod-a")


def library(lost: Cluster, store: DirectoryStore, trusted: str | None = TRUSTED) -> Library:
    return Library(lost, {"offsite": store}, (catalog_of(store, trusted),), {})


def put(lost: Cluster, store: DirectoryStore, snapshot: str, key: SigningKey = KEY) -> None:
    store.put(bundle_key(snapshot), bundle(lost, key=key))


def test_of_the_newest_that_has_one(lost: Cluster, store: DirectoryStore) -> None:
    old, middle, _ = (shelve(store, NOW + timedelta(hours=hours), hours) for hours in (0, 1, 2))
    with pytest.raises(InputError, match="has a bundle"):
        find_bundle(library(lost, store), KEYS, "latest", "sound", TRUSTED)
    put(lost, store, old.id)
    put(lost, store, middle.id)
    assert find_bundle(library(lost, store), KEYS, "latest", "sound", TRUSTED)[0].id == middle.id
    assert find_bundle(library(lost, store), KEYS, old.id, "sound", TRUSTED)[0].id == old.id


def test_a_forged_one_is_refused(lost: Cluster, store: DirectoryStore) -> None:
    """Its CA would be the forger's, and with that every client's trust."""
    made = shelve(store)
    put(lost, store, made.id, STRANGER)
    with pytest.raises(Refused, match="not the key that is trusted"):
        find_bundle(library(lost, store), KEYS, "latest", "sound", TRUSTED)
    assert find_bundle(library(lost, store), KEYS, made.id, "untrusted", TRUSTED)[1].trust == "foreign"


def test_the_new_cluster_file(tmp_path: Path) -> None:
    place = Place({"name": "recovered", "directory": "/mnt/b"}, TRUSTED, "file:/run/age-key")
    text = new_cluster_file(WAS, place, [("etcd-11", "10.1.0.11")], "Of prod-a\nLook.")
    (tmp_path / "cluster.yaml").write_bytes(text)
    made = load_cluster(tmp_path / "cluster.yaml").cluster
    assert text.startswith(b"# Of prod-a\n# Look.\n")
    assert [(host.name, host.address) for host in made.hosts] == [("etcd-11", "10.1.0.11")]
    assert made.pki.state_dir == tmp_path / "state"
    assert made.pki.extra_sans == ("etcd.example.com",)
    assert [one.name for one in made.snapshots.stores] == ["recovered", "offsite"]
    assert made.snapshots.public_key == TRUSTED
    assert made.snapshots.recipients
    same = Place({"name": "x", "s3": {"bucket": "etcd", "prefix": "clusters", "endpoint": "https://s3.example.com"}})
    assert [one["name"] for one in yaml.safe_load(new_cluster_file(WAS, same, [], ""))["snapshots"]["stores"]] == [
        "offsite"
    ]


def test_by_the_command_line_with_nothing_but_store_key_and_pin(
    lost: Cluster, store: DirectoryStore, tmp_path: Path
) -> None:
    made = shelve(store)
    put(lost, store, made.id)
    assert KEYS.identity is not None
    (tmp_path / "age.key").write_text(KEYS.identity.reveal())
    (tmp_path / "age.key").chmod(0o600)
    words = ["snapshots", "bundle", "prod-a", str(tmp_path / "new"), "--from", str(tmp_path / "backups")]
    words += ["--signer", TRUSTED, "--identity", str(tmp_path / "age.key"), "--host", "etcd-11=10.1.0.11"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    new = tmp_path / "new"
    assert (new / "state/ca.key").read_bytes() == (lost.pki.state_dir / "ca.key").read_bytes()
    assert (new / "cluster.yaml.was").read_bytes() == WAS
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (new, new / "state", new / "state/ca.key")}
    assert modes == {"new": 0o700, "state": 0o700, "ca.key": 0o600}
    assert load_cluster(new / "cluster.yaml").cluster.snapshots.identity is not None
    again = CliRunner().invoke(main, words)
    assert (again.exit_code, "is not empty" in again.output) == (2, True)
    unsigned = [word for word in words if word not in ("--signer", TRUSTED)]
    assert CliRunner().invoke(main, unsigned).exit_code == 2, "nobody's signature is trusted"
