"""Every way to be refused by a real server, and what the person on call is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tasks.cluster.secrets import Secret
from tasks.errors import StoreError, StoreMissing, StoreUnavailable
from tasks.snapshots.stores import s3_client
from tasks.snapshots.stores.s3 import S3Store
from tasks.snapshots.stores.s3_client import Credentials
from tests.component.etcd import pki
from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server, User, nowhere

SECRET = "SKtheverysecretofthistest"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is unreachable stays so: the waits between attempts add nothing but time."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def put(store: S3Store) -> None:
    store.put("manifests/a.json", b"{}")


def listed(store: S3Store) -> None:
    list(store.list(""))


def head(store: S3Store) -> None:
    store.head("manifests/a.json")


def upload(store: S3Store) -> None:
    with store.upload("data/x") as made:
        made.write(b"x" * (17 << 20))
        made.commit()


def refused(store: S3Store, by: Callable[[S3Store], None], *, kind: type[StoreError] = StoreError) -> str:
    """What is said, all of it; never a secret."""
    with pytest.raises(kind) as caught:
        by(store)
    assert type(caught.value) is kind
    text = str(caught.value)
    assert SECRET not in text
    assert "what to do: " in text
    return text


@pytest.mark.parametrize("by", [put, listed, upload])
def test_no_such_bucket(by: Callable[[S3Store], None], make_s3_store: Callable[..., S3Store]) -> None:
    text = refused(make_s3_store("not-there-at-all"), by, kind=StoreMissing)
    assert "there is no bucket not-there-at-all at https://127.0.0.1" in text
    assert "check bucket, endpoint and region" in text


@pytest.mark.parametrize("by", [put, listed, head, upload])
def test_unknown_key_id(by: Callable[[S3Store], None], make_s3_store: Callable[..., S3Store]) -> None:
    assert "knows no such access key id" in refused(make_s3_store(user=User("AKNOBODY", SECRET)), by)


@pytest.mark.parametrize("by", [put, listed, head, upload])
def test_wrong_secret(
    by: Callable[[S3Store], None], make_s3_store: Callable[..., S3Store], s3_server: S3Server
) -> None:
    store = make_s3_store(user=User(s3_server.owner.access_key, SECRET))
    assert "the secret key does not belong to the access key id" in refused(store, by)


@pytest.mark.parametrize("minutes", [-40, 40])
@pytest.mark.parametrize("by", [put, head])
def test_a_wrong_clock(
    minutes: int, by: Callable[[S3Store], None], s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=minutes)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: off)
    text = refused(s3_store, by)
    assert "this machine's clock" in text
    assert "timedatectl" in text


def test_a_wrong_clock_is_measured(s3_proxy: FaultProxy, make_s3_store: Callable[..., S3Store]) -> None:
    theirs = datetime.now(UTC) - timedelta(minutes=22)
    s3_proxy.add(status=403, code="RequestTimeTooSkewed", headers={"date": f"{theirs:%a, %d %b %Y %H:%M:%S} GMT"})
    store = make_s3_store(endpoint=s3_proxy.endpoint, ca=None)
    assert "this machine's clock is 22 minutes ahead of the server's" in refused(store, put)


@pytest.mark.parametrize(
    ("by", "right"), [(put, "s3:PutObject"), (listed, "s3:ListBucket"), (upload, "s3:PutObject"), (head, "s3:")]
)
def test_missing_rights(
    by: Callable[[S3Store], None], right: str, make_s3_store: Callable[..., S3Store], s3_server: S3Server
) -> None:
    text = refused(make_s3_store(user=s3_server.make_user()), by)
    assert "these credentials may not do that in bucket test-" in text
    assert right in text
    assert "bucket's policy" in text


def test_credentials_that_may_only_write_are_enough_for_a_backup(
    s3_server: S3Server, make_s3_store: Callable[..., S3Store]
) -> None:
    bucket, user = s3_server.make_bucket(), s3_server.make_user()
    objects = {"Principal": {"AWS": [f"arn:aws:iam:::user/{user.uid}"]}, "Resource": [f"arn:aws:s3:::{bucket}/*"]}
    allow = objects | {"Effect": "Allow", "Action": ["s3:PutObject", "s3:AbortMultipartUpload"]}
    deny = objects | {"Effect": "Deny", "Action": ["s3:GetObject"]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]})
    s3_server.client().put_bucket_policy(Bucket=bucket, Policy=policy)
    store = make_s3_store(bucket, user=user)
    for size in (5, 17 << 20):
        with store.upload(f"data/{size}") as made:
            made.write(b"x" * size)
            assert made.commit().proof == "checksum"
    store.put("manifests/a.json", b"{}", only_new=True)
    assert "s3:GetObject is refused" in refused(store, lambda store: b"".join(store.read("data/5")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "extra", "headers"),
    [
        ("AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>", {}),
        ("PermanentRedirect", "", {"x-amz-bucket-region": "eu-central-1"}),
    ],
)
def test_another_region(
    code: str, extra: str, headers: dict[str, str | None], s3_proxy: FaultProxy, make_s3_store: Callable[..., S3Store]
) -> None:
    s3_proxy.add(status=400 if extra else 301, code=code, extra=extra, headers=headers)
    text = refused(make_s3_store(endpoint=s3_proxy.endpoint, ca=None), put)
    assert "is not in the region us-east-1; it is in eu-central-1" in text
    assert "set region: eu-central-1" in text


# --- TLS ---


def test_a_ca_that_is_not_trusted(s3_server: S3Server, make_s3_store: Callable[..., S3Store], tmp_path: Path) -> None:
    for ca in (None, pki.make(tmp_path) / "ca.crt"):
        text = refused(make_s3_store(s3_server.make_bucket(), ca=ca), put)
        assert "comes from a CA that is not trusted here" in text
        assert "`ca: FILE`" in text


def test_a_certificate_for_another_name(s3_server: S3Server, make_s3_store: Callable[..., S3Store]) -> None:
    endpoint = s3_server.tls_endpoint.replace("127.0.0.1", "localhost")
    assert "its certificate is for another name" in refused(make_s3_store(endpoint=endpoint), put)


def test_a_ca_file_that_is_not_there(make_s3_store: Callable[..., S3Store], tmp_path: Path) -> None:
    (tmp_path / "empty.crt").write_text("not a certificate")
    for name in ("missing.crt", "empty.crt"):
        text = refused(make_s3_store("any", ca=tmp_path / name), put)
        assert name in text


def test_tls_where_there_is_none_and_none_where_there_is(
    s3_server: S3Server, make_s3_store: Callable[..., S3Store]
) -> None:
    plain = s3_server.endpoint.replace("http:", "https:")
    assert "does not speak TLS" in refused(make_s3_store("any", endpoint=plain), put)
    secure = s3_server.tls_endpoint.replace("https:", "http:")
    text = refused(make_s3_store("any", endpoint=secure, ca=None), put, kind=StoreUnavailable)
    assert "https:// and http://" in text


# --- nobody there ---


def store_at(endpoint: str, credentials: Credentials | None = None, **changes: Any) -> S3Store:
    from dataclasses import replace

    given = credentials or Credentials(Secret("AK"), Secret(SECRET), None)
    return S3Store("offsite", replace(nowhere(), endpoint=endpoint, **changes), "prod-a", given)


def test_nobody_listens() -> None:
    text = refused(store_at("http://127.0.0.1:1"), put, kind=StoreUnavailable)
    assert "http://127.0.0.1:1 can't be reached: the connection was refused" in text


def test_a_name_that_is_not_known() -> None:
    text = refused(store_at("http://no-such-host.invalid"), put, kind=StoreUnavailable)
    assert "its name is not known" in text


def test_nobody_answers(s3_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_READ_TIMEOUT", 0.2)
    s3_proxy.add(delay=1.0, times=6)
    assert "no answer in time" in refused(store_at(s3_proxy.endpoint), put, kind=StoreUnavailable)


@pytest.mark.parametrize(("status", "kind"), [(200, "text/html"), (404, "text/html"), (405, "text/plain")])
def test_something_else_answers(status: int, kind: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(b"<html><body><h1>It works!</h1><br></body>")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert "is no S3 server" in refused(store_at(f"http://127.0.0.1:{server.server_address[1]}"), listed)
    finally:
        server.shutdown()
        server.server_close()


# --- settings ---


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    store = S3Store("offsite", nowhere(), "prod-a", None)
    text = refused(store, put)
    assert "there are no credentials for it" in text
    assert "access_key and secret_key by reference" in text
    from dataclasses import replace

    store = S3Store("offsite", replace(nowhere(), profile="backup"), "prod-a", None)
    assert "backup" in refused(store, put)


def test_what_the_server_lacks(make_s3_store: Callable[..., S3Store]) -> None:
    assert "storage class" in refused(make_s3_store(storage_class="GLACIER_OF_MARS"), upload)
    assert "made with object lock" in refused(make_s3_store(lock="governance"), put)
