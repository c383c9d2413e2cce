"""The ways to reach a bucket that the cluster file offers, each tried on a real server."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.snapshots.stores.s3 import S3Store
from tests.s3.server import S3Server

WAYS = ("plain HTTP", "virtual", "prefix")


def find_subdomains_of_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of buckets become host names; RFC 6761 puts them all on this machine, not every resolver does."""
    real = socket.getaddrinfo

    def find(host: Any, *args: Any, **more: Any) -> Any:
        return real("127.0.0.1" if str(host).endswith("localhost") else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", find)


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_the_bucket(
    way: str, s3_server: S3Server, make_s3_store: Callable[..., S3Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_subdomains_of_localhost(monkeypatch)
    plain: dict[str, Any] = {"endpoint": s3_server.endpoint, "ca": None}
    changes = {
        "plain HTTP": plain,
        "virtual": plain | {"endpoint": s3_server.endpoint.replace("127.0.0.1", "localhost"), "path_style": False},
        "prefix": {"prefix": "clusters/etcd/"},
    }[way]
    bucket = s3_server.make_bucket()
    store = make_s3_store(bucket, **changes)
    data = os.urandom(9_000_000)
    store.put("manifests/a+b.json", b"{}", only_new=True)
    with store.upload("data/x") as upload:
        upload.write(data)
        assert upload.commit().proof == "checksum"
    assert b"".join(store.read("data/x", 17)) == data[17:]
    assert [entry.key for entry in store.list("")] == ["data/x", "manifests/a+b.json"]
    left = store.upload("data/y")
    left.write(data)
    assert store.sweep(datetime.now(UTC) + timedelta(minutes=1)) == ("upload of data/y",)
    left.abort()
    start = "clusters/etcd/prod-a/" if way == "prefix" else "prod-a/"
    seen = [found["Key"] for found in s3_server.client().list_objects_v2(Bucket=bucket)["Contents"]]
    assert seen == [f"{start}data/x", f"{start}manifests/a+b.json"]
    assert store.where == f"s3://{bucket}/{start.rstrip('/')}"
