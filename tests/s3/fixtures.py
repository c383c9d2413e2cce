"""Fixtures that give a real S3 server. A conftest imports those that its tests use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasks.snapshots.stores.s3 import S3Store
from tests.conftest import NOT_RUN
from tests.lab.system import outside
from tests.s3.packages import S3Unavailable, ceph
from tests.s3.proxy import FaultProxy, fault_proxy
from tests.s3.server import S3Server


@pytest.fixture(scope="session")
def running_s3() -> Iterator[S3Server]:
    """The server of this session, in whichever network the session is."""
    try:
        outside(ceph)
        server = S3Server()
        server.start()
    except S3Unavailable as error:
        pytest.skip(f"{NOT_RUN}{error}")
    yield server
    server.stop()


@pytest.fixture
def s3_server(running_s3: S3Server) -> S3Server:
    """A real S3 server (radosgw) with TLS: its endpoints, CA and credentials, ``make_bucket()``, ``store()``."""
    running_s3.spare_memory()
    return running_s3


@pytest.fixture
def make_s3_store(s3_server: S3Server) -> Iterator[Callable[..., S3Store]]:
    """``make_s3_store(bucket=..., user=..., storage_class=...)``: stores that are closed at the end."""
    made: list[S3Store] = []

    def make(bucket: str | None = None, **options: Any) -> S3Store:
        store = s3_server.store(bucket, **options)
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def s3_store(make_s3_store: Callable[..., S3Store]) -> S3Store:
    """A store in an empty bucket, over TLS."""
    return make_s3_store()


@pytest.fixture
def s3_proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    """A proxy in front of the server that spoils what a test asks it to."""
    with fault_proxy(s3_server.endpoint, s3_server.owner) as proxy:
        yield proxy


@pytest.fixture
def spoiled_store(s3_proxy: FaultProxy, make_s3_store: Callable[..., S3Store]) -> S3Store:
    """A store in an empty bucket, seen through :func:`s3_proxy`."""
    return make_s3_store(endpoint=s3_proxy.endpoint, ca=None)
