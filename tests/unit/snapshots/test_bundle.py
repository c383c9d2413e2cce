from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.cluster.secrets import Secret
from tasks.cluster.spec import Cluster, Release, SecretRef
from tasks.errors import DecryptionError, ManifestError, PkiError, Refused, SnapshotError
from tasks.pki.authority import create_authority
from tasks.snapshots.age_keys import Keys, Locks
from tasks.snapshots.bundle import Bundle, _archive, make_bundle, open_bundle
from tasks.snapshots.signing import SigningKey, seal
from tests.unit.snapshots.samples import ID, sample_cluster
from tests.unit.snapshots.test_age import KEYS, LOCKS, OTHER, encrypted
from tests.unit.snapshots.test_signing import KEY, TRUSTED
from tests.unit.snapshots.test_signing import OTHER as FORGER

NOW = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
FILE = b"name: prod-a\n# every secret by reference\n"


def cluster_with_ca(base: Path) -> Cluster:
    """With a CA and a cluster file."""
    (base / "prod-a.yaml").write_bytes(FILE)
    made = sample_cluster(base / "state", identity=SecretRef("file", "/run/secrets/age-key"))
    create_authority(made.pki, made.name, NOW)
    mirror = Release("3.6.16", "https://joe:hunter2@mirror.example.com/etcd", "ab" * 32, base)
    return replace(made, source=base / "prod-a.yaml", release=mirror)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return cluster_with_ca(tmp_path_factory.mktemp("bundle"))


def bundle(cluster: Cluster, locks: Locks | None = LOCKS, key: SigningKey = KEY) -> bytes:
    return make_bundle(
        cluster,
        locks,
        key,
        cluster_uuid="6d1d4d6c-7c55-4c6e-8d3b-0d9f3c1b2a10",
        snapshot_id=ID,
        etcd_version="3.6.16",
        tool_version="0.1.0",
        now=NOW,
    )


@pytest.fixture(scope="module")
def opened(cluster: Cluster) -> Bundle:
    return open_bundle(bundle(cluster), KEYS, TRUSTED)


def test_it_holds_what_is_needed_to_begin_anew(cluster: Cluster, opened: Bundle) -> None:
    state = cluster.pki.state_dir
    assert opened.files.keys() == {"README.txt", "cluster.yaml", "ca.crt", "ca.key"}
    assert opened.files["cluster.yaml"] == FILE
    assert opened.files["ca.crt"] == (state / "ca.crt").read_bytes()
    assert opened.files["ca.key"] == (state / "ca.key").read_bytes()
    assert (opened.trust, opened.signer) == ("signed", TRUSTED)
    assert opened.facts == {
        "cluster": "prod-a",
        "cluster_uuid": "6d1d4d6c-7c55-4c6e-8d3b-0d9f3c1b2a10",
        "snapshot": ID,
        "etcd_version": "3.6.16",
        "etcd_source": "https://mirror.example.com/etcd",
        "etcd_sha256": "ab" * 32,
        "made": "2026-11-24T14:30:00Z",
        "tool_version": "0.1.0",
        "signer": TRUSTED,
        "secrets": ["file:/run/secrets/age-key"],
    }


def test_its_text_says_what_it_cannot_hold(opened: Bundle) -> None:
    text = opened.files["README.txt"].decode()
    for words in ("EncryptionConfiguration", "file:/run/secrets/age-key", "ca.key (0600)", ID, "3.6.16", TRUSTED):
        assert words in text
    assert "hunter2" not in text


def test_the_key_of_the_ca_shows_in_no_place(cluster: Cluster, opened: Bundle) -> None:
    line = opened.files["ca.key"].splitlines()[1]
    assert line not in bundle(cluster)
    assert line.decode() not in repr(opened)
    assert KEY.private.private_bytes_raw() not in b"".join(opened.files.values())


def test_without_encryption_there_is_none(cluster: Cluster) -> None:
    with pytest.raises(Refused, match="no bundle for total loss is made without encryption"):
        bundle(cluster, None)


def test_a_passphrase_will_do(cluster: Cluster) -> None:
    words = Secret("correct horse battery staple")
    assert open_bundle(bundle(cluster, Locks(passphrase=words)), Keys(passphrase=words)).files["cluster.yaml"] == FILE


def test_a_machine_without_ca_and_file_makes_a_smaller_one(tmp_path: Path) -> None:
    found = open_bundle(bundle(sample_cluster(tmp_path / "none")), KEYS)
    assert found.files.keys() == {"README.txt"}
    assert "The CA's key was not on the" in found.files["README.txt"].decode()
    assert found.trust == "foreign"


def test_what_cannot_be_read_is_told(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"gone\.yaml can't be read any more"):
        bundle(replace(cluster, source=tmp_path / "gone.yaml"))
    (tmp_path / "ca.key").write_text("key")
    (tmp_path / "ca.key").chmod(0o644)
    with pytest.raises(PkiError, match="too open"):
        bundle(sample_cluster(tmp_path))


def test_who_can_write_to_the_store_cannot_forge_one(cluster: Cluster, opened: Bundle) -> None:
    assert open_bundle(bundle(cluster, key=FORGER), KEYS, TRUSTED).trust == "foreign"
    sums = dict.fromkeys(opened.files, "00")
    facts = seal({"format": "etcd-flows-bundle/1", "files": sums}, KEY, "bundle")
    for files in (
        {**opened.files, "bundle.json": facts},
        {"cluster.yaml": b"name: evil\n", "bundle.json": seal({"format": "etcd-flows-bundle/1"}, KEY, "bundle")},
        {"bundle.json": seal({"format": "other/1", "files": {}}, KEY, "bundle")},
        {"bundle.json": seal({"format": "etcd-flows-bundle/1", "files": {}}, KEY, "manifest")},
        {"cluster.yaml": FILE},
        {"../evil": b"x"},
    ):
        with pytest.raises(ManifestError):
            open_bundle(encrypted(_archive(files, NOW)), KEYS, TRUSTED)


@given(st.data(), st.integers(1, 255))
def test_any_changed_byte_is_refused(cluster: Cluster, data: st.DataObject, mask: int) -> None:
    changed = bytearray(bundle(cluster))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= mask
    with pytest.raises(DecryptionError):
        open_bundle(bytes(changed), KEYS, TRUSTED)


def test_the_wrong_key_and_rubbish_are_refused(cluster: Cluster) -> None:
    with pytest.raises(DecryptionError, match="none of those"):
        open_bundle(bundle(cluster), Keys(Secret(str(OTHER))), TRUSTED)
    with pytest.raises(DecryptionError, match="no bundle"):
        open_bundle(bytes(9 * 1024 * 1024), KEYS)
    link = io.BytesIO()
    with tarfile.open(fileobj=link, mode="w") as archive:
        entry = tarfile.TarInfo("cluster.yaml")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/shadow"
        archive.addfile(entry)
    for content in (b"", b"rubbish", bytes(10_240), link.getvalue()):
        with pytest.raises(ManifestError):
            open_bundle(encrypted(content), KEYS, TRUSTED)
