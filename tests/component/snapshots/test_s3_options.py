"""What the cluster file can ask of a bucket, looked at on the server itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.cluster.spec import SecretRef, StoreSettings
from tasks.errors import InputError, StoreError
from tasks.snapshots.stores.open import open_store
from tasks.snapshots.stores.s3 import S3Store
from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server

BIG = os.urandom(9 << 20)


def upload(store: S3Store, data: bytes, key: str = "data/x") -> None:
    with store.upload(key, size_hint=len(data)) as made:
        made.write(data)
        made.commit()


@pytest.mark.parametrize("data", [b"small", BIG])
def test_tags_and_storage_class_are_for_the_data(
    data: bytes, s3_server: S3Server, make_s3_store: Callable[..., S3Store]
) -> None:
    bucket, raw = s3_server.make_bucket(), s3_server.client()
    store = make_s3_store(bucket, tags=(("team", "platform & co"), ("cluster", "prod-a")), storage_class="STANDARD")
    upload(store, data)
    store.put("manifests/a.json", b"{}")
    tags = raw.get_object_tagging(Bucket=bucket, Key="prod-a/data/x")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "platform & co", "cluster": "prod-a"}
    assert raw.get_object_tagging(Bucket=bucket, Key="prod-a/manifests/a.json")["TagSet"] == []


@pytest.mark.parametrize("data", [b"small", BIG])
def test_a_lock_ends_as_told_and_holds(data: bytes, s3_server: S3Server, make_s3_store: Callable[..., S3Store]) -> None:
    bucket, raw = s3_server.make_bucket(lock=True), s3_server.client()
    store = make_s3_store(bucket, lock="compliance", lock_days=14.0)
    upload(store, data)
    store.put("manifests/a.json", b"{}", only_new=True)
    for key in ("data/x", "manifests/a.json"):
        found = store.head(key)
        assert found is not None
        assert found.locked_until is not None
        assert abs(found.locked_until - datetime.now(UTC) - timedelta(days=14)) < timedelta(minutes=1)
        versions = raw.list_object_versions(Bucket=bucket, Prefix=f"prod-a/{key}")["Versions"]
        with pytest.raises(raw.exceptions.ClientError, match="AccessDenied"):
            raw.delete_object(Bucket=bucket, Key=f"prod-a/{key}", VersionId=versions[0]["VersionId"])
    store.delete("data/x")
    assert store.head("data/x") is None
    assert [found.key for found in store.list("")] == ["manifests/a.json"]


def test_a_legal_hold_never_ends(s3_server: S3Server, make_s3_store: Callable[..., S3Store]) -> None:
    bucket = s3_server.make_bucket(lock=True)
    store = make_s3_store(bucket)
    upload(store, b"small")
    s3_server.client().put_object_legal_hold(Bucket=bucket, Key="prod-a/data/x", LegalHold={"Status": "ON"})
    found = store.head("data/x")
    assert found is not None
    assert found.locked_until is not None
    assert found.locked_until.year == 9999


@pytest.mark.parametrize("data", [b"small", BIG])
def test_server_side_encryption_is_asked_for(
    data: bytes, s3_proxy: FaultProxy, make_s3_store: Callable[..., S3Store]
) -> None:
    # The server here has no key store: it sees the requests without the header, which is looked at on the way.
    s3_proxy.add(drop=("x-amz-server-side-encryption",))
    store = make_s3_store(endpoint=s3_proxy.endpoint, ca=None, server_side_encryption="AES256")
    upload(store, data)
    store.put("manifests/a.json", b"{}")
    asked = {
        request.target.partition("?")[0].rpartition("prod-a/")[2]
        for request in s3_proxy.seen
        if request.headers.get("x-amz-server-side-encryption") == "AES256"
    }
    assert asked == {"data/x", "manifests/a.json"}


# --- credentials, each by the way that a cluster file offers ---


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return monkeypatch


def works(settings: Any) -> None:
    store = open_store(StoreSettings("offsite", s3=settings), "prod-a")
    try:
        store.put("a", b"1")
        assert store.get("a") == b"1"
    finally:
        store.close()


def test_credentials_by_reference(s3_server: S3Server, clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refs = {"access_key": SecretRef("env", "MY_KEY"), "secret_key": SecretRef("file", str(tmp_path / "secret"))}
    settings = s3_server.settings(s3_server.make_bucket(), **refs)
    with pytest.raises(InputError, match="env:MY_KEY"):
        works(settings)
    clean.setenv("MY_KEY", s3_server.owner.access_key)
    (tmp_path / "secret").write_text(s3_server.owner.secret_key + "\n")
    (tmp_path / "secret").chmod(0o600)
    works(settings)


def test_credentials_by_environment(s3_server: S3Server, clean: pytest.MonkeyPatch) -> None:
    settings = s3_server.settings(s3_server.make_bucket())
    with pytest.raises(StoreError, match="no credentials"):
        works(settings)
    clean.setenv("AWS_ACCESS_KEY_ID", s3_server.owner.access_key)
    clean.setenv("AWS_SECRET_ACCESS_KEY", s3_server.owner.secret_key)
    works(settings)


def test_credentials_by_profile(s3_server: S3Server, clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    owner = s3_server.owner
    (tmp_path / "credentials").write_text(
        f"[default]\naws_access_key_id = x\naws_secret_access_key = y\n"
        f"[backup]\naws_access_key_id = {owner.access_key}\naws_secret_access_key = {owner.secret_key}\n"
    )
    works(s3_server.settings(s3_server.make_bucket(), profile="backup"))


def test_a_ca_by_environment(s3_server: S3Server, make_s3_store: Callable[..., S3Store], clean: Any) -> None:
    clean.setenv("SSL_CERT_FILE", str(s3_server.ca))
    make_s3_store(ca=None).put("a", b"1")
