"""A server, and a way to it, that fail: what passes is repeated, what is wrong is noticed, nothing is left behind."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import tenacity

from tasks.errors import StoreConflict, StoreCorrupt, StoreError, StoreUnavailable
from tasks.snapshots.stores import s3_read, s3_upload
from tasks.snapshots.stores.s3 import S3Store
from tests.s3.proxy import FaultProxy, Request
from tests.s3.server import S3Server

MIB = 1 << 20
DATA = os.urandom(20 * MIB + 11)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits are the libraries'; what is tried and how often is what these tests look at."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
    monkeypatch.setattr(s3_read, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(s3_upload, "_WAIT", tenacity.wait_fixed(0.01))
    monkeypatch.setattr(s3_upload, "_PATIENCE", 0.5)


def upload(store: S3Store, key: str = "data/x", data: bytes = DATA) -> str:
    with store.upload(key) as made:
        for start in range(0, len(data), 300_000):
            made.write(data[start : start + 300_000])
        stored = made.commit()
    assert (stored.bytes, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert b"".join(store.read(key)) == data
    return stored.proof


def nothing_is_left(store: S3Store) -> None:
    assert list(store.list("")) == []
    assert store.sweep(datetime.now(UTC) + timedelta(hours=1)) == ()


# --- what passes by itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "contains"),
    [("POST", "uploads"), ("PUT", "partNumber=2"), ("PUT", "partNumber="), ("POST", "uploadId="), ("HEAD", "data/x")],
)
def test_a_throttled_upload_gets_there(
    method: str, contains: str, spoiled_store: S3Store, s3_proxy: FaultProxy
) -> None:
    s3_proxy.add(method=method, contains=contains, status=503, times=4)
    assert upload(spoiled_store) == "checksum"
    assert len(s3_proxy.asked(method, contains)) >= 5


@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "DELETE"])
def test_small_requests_survive_throttling_and_resets(
    method: str, spoiled_store: S3Store, s3_proxy: FaultProxy
) -> None:
    s3_proxy.add(method=method, status=503, times=2)
    s3_proxy.add(method=method, reset=0, times=2)
    spoiled_store.put("manifests/a.json", b"{}")
    assert spoiled_store.get("manifests/a.json") == b"{}"
    assert spoiled_store.head("manifests/a.json") is not None
    assert [entry.key for entry in spoiled_store.list("")] == ["manifests/a.json"]
    spoiled_store.delete("manifests/a.json")
    nothing_is_left(spoiled_store)


def test_a_new_object_whose_answer_is_lost_is_no_conflict(spoiled_store: S3Store, s3_proxy: FaultProxy) -> None:
    """Neither where it is found out what the server can do, nor afterwards; one of another content is."""
    for name in ("a", "b"):
        s3_proxy.add(method="PUT", contains=f"notes/{name}", lose=True, times=1)
        spoiled_store.put(f"notes/{name}", b"mine", only_new=True)
        assert spoiled_store.get(f"notes/{name}") == b"mine"
    s3_proxy.clear()
    with pytest.raises(StoreConflict):
        spoiled_store.put("notes/a", b"mine", only_new=True)
    s3_proxy.add(method="PUT", contains="notes/b", reset=0, times=1)
    with pytest.raises(StoreConflict):
        spoiled_store.put("notes/b", b"another's", only_new=True)
    assert spoiled_store.get("notes/b") == b"mine"
    assert [entry.key for entry in spoiled_store.list("")] == ["notes/a", "notes/b"]


def test_parts_cut_off_or_damaged_on_the_way_are_sent_again(spoiled_store: S3Store, s3_proxy: FaultProxy) -> None:
    s3_proxy.add(method="PUT", contains="partNumber=1", reset=0, times=2)
    s3_proxy.add(method="PUT", contains="partNumber=2", corrupt_request=True, times=2)
    s3_proxy.add(method="PUT", contains="partNumber=3", lose=True, times=2)
    assert upload(spoiled_store) == "checksum"


def test_a_completion_whose_answer_is_lost_counts(spoiled_store: S3Store, s3_proxy: FaultProxy) -> None:
    s3_proxy.add(method="POST", contains="uploadId=", lose=True, times=1)
    s3_proxy.add(method="POST", contains="uploadId=", status=404, code="NoSuchUpload", times=1)
    assert upload(spoiled_store) == "checksum"


def test_reading_goes_on_where_the_connection_broke(spoiled_store: S3Store, s3_proxy: FaultProxy) -> None:
    upload(spoiled_store)
    s3_proxy.clear()
    s3_proxy.add(method="GET", contains="data/x", reset=5 * MIB + 1, times=3)
    assert b"".join(spoiled_store.read("data/x", 7)) == DATA[7:]
    asked = s3_proxy.asked("GET", "data/x")
    assert len(asked) >= 4
    assert all("if-match" in request.headers for request in asked[1:])
    starts = [int(request.headers["range"].partition("=")[2].partition("-")[0]) for request in asked]
    assert starts == sorted(set(starts))


# --- what stays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "contains"),
    [("POST", "uploads"), ("PUT", "partNumber=2"), ("PUT", "partNumber="), ("POST", "uploadId=")],
)
def test_an_upload_that_stays_throttled_fails_and_leaves_nothing(
    method: str, contains: str, spoiled_store: S3Store, s3_proxy: FaultProxy
) -> None:
    s3_proxy.add(method=method, contains=contains, status=503)
    with pytest.raises(StoreUnavailable, match="asks to be spared") as caught:
        upload(spoiled_store)
    assert caught.value.transient
    s3_proxy.clear()
    nothing_is_left(spoiled_store)


def test_bytes_that_are_always_damaged_on_the_way_are_refused(spoiled_store: S3Store, s3_proxy: FaultProxy) -> None:
    s3_proxy.add(method="PUT", contains="partNumber=2", corrupt_request=True)
    with pytest.raises(StoreCorrupt, match="on the way"):
        upload(spoiled_store)
    s3_proxy.clear()
    nothing_is_left(spoiled_store)


def test_an_upload_that_was_swept_says_so(spoiled_store: S3Store, s3_proxy: FaultProxy) -> None:
    made = spoiled_store.upload("data/x")
    made.write(DATA)
    assert spoiled_store.sweep(datetime.now(UTC) + timedelta(hours=1)) == ("upload of data/x",)
    with pytest.raises(StoreError, match=r"was removed while it ran|not there|no such object"):
        made.commit()
    nothing_is_left(spoiled_store)


def test_an_abort_that_fails_is_left_to_the_sweep(spoiled_store: S3Store, s3_proxy: FaultProxy) -> None:
    fault = s3_proxy.add(method="DELETE", contains="uploadId=", status=503)
    with spoiled_store.upload("data/x") as made:
        made.write(DATA)
    fault.times = 0
    assert spoiled_store.sweep(datetime.now(UTC) - timedelta(hours=1)) == ()
    assert spoiled_store.sweep(datetime.now(UTC) + timedelta(hours=1)) == ("upload of data/x",)
    nothing_is_left(spoiled_store)


def test_an_object_replaced_while_it_is_read(
    spoiled_store: S3Store, s3_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(spoiled_store)
    s3_proxy.add(method="GET", contains="data/x", reset=5 * MIB, times=1)
    pieces = spoiled_store.read("data/x")
    first = next(pieces)
    assert DATA.startswith(first)
    with spoiled_store.upload("data/x") as made:
        made.write(os.urandom(len(DATA)))
        made.commit()
    with pytest.raises(StoreCorrupt, match="replaced"):
        b"".join(pieces)


def test_a_damaged_answer_is_noticed(spoiled_store: S3Store, s3_proxy: FaultProxy) -> None:
    spoiled_store.put("manifests/a.json", b'{"n": 1}')
    s3_proxy.add(method="GET", contains="manifests/a.json", corrupt=True, times=1)
    with pytest.raises(StoreCorrupt, match="checksum"):
        spoiled_store.get("manifests/a.json")
    assert spoiled_store.get("manifests/a.json") == b'{"n": 1}'


def wrong_size(proxy: FaultProxy) -> None:
    proxy.add(method="HEAD", contains="data/x", headers={"content-length": "7"})


def other_checksum_and_bytes(proxy: FaultProxy) -> None:
    other = base64.b64encode(bytes(32)).decode() + "-3"
    proxy.add(method="HEAD", contains="data/x", headers={"x-amz-checksum-sha256": other})
    proxy.add(method="GET", contains="data/x", corrupt=True, headers={"x-amz-checksum-sha256": None})


@pytest.mark.parametrize("lie", [wrong_size, other_checksum_and_bytes])
def test_a_server_that_holds_something_else(
    lie: Callable[[FaultProxy], None], spoiled_store: S3Store, s3_proxy: FaultProxy
) -> None:
    lie(s3_proxy)
    with pytest.raises(StoreCorrupt, match="does not hold data/x as it was sent"):
        upload(spoiled_store)
    s3_proxy.clear()
    nothing_is_left(spoiled_store)


# --- servers that know less -----------------------------------------------------------------------------------------


def has_checksum(request: Request) -> bool:
    return any("checksum" in name and name != "x-amz-checksum-mode" for name in request.headers)


@pytest.mark.parametrize("data", [b"small", DATA])
@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "InvalidArgument")])
def test_a_server_that_refuses_checksums(
    status: int, code: str, data: bytes, spoiled_store: S3Store, s3_proxy: FaultProxy
) -> None:
    s3_proxy.add(when=has_checksum, status=status, code=code)
    s3_proxy.add(headers={"x-amz-checksum-sha256": None})
    assert upload(spoiled_store, data=data) == "checksum"
    first = len([request for request in s3_proxy.seen if has_checksum(request)])
    assert first <= 2
    assert upload(spoiled_store, data=data) == "checksum"
    assert len([request for request in s3_proxy.seen if has_checksum(request)]) == first


def test_a_server_that_tells_no_checksums_at_all_is_read_back(spoiled_store: S3Store, s3_proxy: FaultProxy) -> None:
    s3_proxy.add(
        method="HEAD", contains="data/x", headers={"x-amz-checksum-sha256": None, "etag": '"made-by-a-key-server"'}
    )
    s3_proxy.add(headers={"x-amz-checksum-sha256": None})
    s3_proxy.add(method="POST", contains="uploads", drop=("x-amz-checksum-algorithm",))
    assert upload(spoiled_store) == "read back"


@pytest.mark.parametrize("data", [b"small", DATA])
def test_a_server_that_passes_checksums_over_in_silence(
    data: bytes, spoiled_store: S3Store, s3_proxy: FaultProxy
) -> None:
    """Its ETag tells, already of the first upload."""
    unknown = ("x-amz-checksum-sha256", "x-amz-sdk-checksum-algorithm", "x-amz-checksum-algorithm")
    s3_proxy.add(drop=unknown, headers={"x-amz-checksum-sha256": None})
    for key in ("data/x", "data/y"):
        assert upload(spoiled_store, key, data) == "checksum"
    assert s3_proxy.asked("GET") == s3_proxy.asked("GET", "data/")
    assert not [request for request in s3_proxy.asked("PUT", "data/y") if "content-md5" not in request.headers]


def test_only_new_while_another_one_writes(spoiled_store: S3Store, s3_proxy: FaultProxy) -> None:
    s3_proxy.add(method="PUT", contains="prod-a/manifests/", status=409, code="ConditionalRequestConflict", times=2)
    spoiled_store.put("manifests/a.json", b"first", only_new=True)
    with pytest.raises(StoreConflict, match="already"):
        spoiled_store.put("manifests/a.json", b"second", only_new=True)


def ignores_conditions(proxy: FaultProxy) -> None:
    proxy.add(method="PUT", drop=("if-none-match",))


def refuses_conditions(proxy: FaultProxy) -> None:
    proxy.add(when=lambda request: "if-none-match" in request.headers, status=501, code="NotImplemented")


@pytest.mark.parametrize("server", [ignores_conditions, refuses_conditions])
def test_only_new_without_conditions(
    server: Callable[[FaultProxy], None], spoiled_store: S3Store, s3_proxy: FaultProxy, s3_server: S3Server
) -> None:
    server(s3_proxy)
    spoiled_store.put("manifests/a.json", b"first", only_new=True)
    with pytest.raises(StoreConflict, match="exists already"):
        spoiled_store.put("manifests/a.json", b"second", only_new=True)
    assert spoiled_store.get("manifests/a.json") == b"first"
    assert [entry.key for entry in spoiled_store.list("")] == ["manifests/a.json"]
    spoiled_store.delete("manifests/a.json")
    nothing_is_left(spoiled_store)
