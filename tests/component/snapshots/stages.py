"""Writes a snapshot into a store and stops at every stage until told to go on; for test_store_kills.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import boto3.session  # noqa: F401 - loaded once, by the process that the writers are forked from

from tasks.cluster.secrets import Secret
from tasks.snapshots.stores import directory_upload, s3_bucket
from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.directory import DirectoryStore
from tasks.snapshots.stores.s3 import S3Store
from tasks.snapshots.stores.s3_client import Credentials
from tasks.snapshots.stores.s3_parts import LEAST
from tests.s3.server import nowhere

DATA = "data/1/snapshot.db"
MANIFEST = "manifests/1.json"
PART = LEAST


_test: Connection


def stop_at(stage: str) -> None:
    _test.send(stage)
    _test.recv()


def around(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    """A function that also stops before and after its work."""

    def outer(*args: Any, **options: Any) -> Any:
        stop_at(f"before {name}")
        result = inner(*args, **options)
        stop_at(f"after {name}")
        return result

    return outer


def store_of(told: dict[str, Any]) -> Store:
    if "directory" in told:
        # Every step of the kernel that matters is a stage.
        os.fsync = around("fsync", os.fsync)
        Path.replace = around("rename", Path.replace)  # type: ignore[method-assign]
        os.link = around("link", os.link)
        directory_upload.DirectoryUpload._check = around(  # type: ignore[method-assign]
            "reading back", directory_upload.DirectoryUpload._check
        )
        return DirectoryStore("local", Path(told["directory"]), "prod-a")
    call = s3_bucket.Bucket.call

    def stopping(self: s3_bucket.Bucket, operation: str, **params: Any) -> dict[str, Any]:
        if operation in ("upload_part", "head_object"):  # several at once, or nothing is changed by it
            return call(self, operation, **params)
        done: dict[str, Any] = around(operation, call)(self, operation, **params)
        return done

    s3_bucket.Bucket.call = stopping  # type: ignore[method-assign]
    credentials = Credentials(Secret(told["keys"][0]), Secret(told["keys"][1]), None)
    return S3Store("offsite", replace(nowhere(), **told["s3"]), "prod-a", credentials)


def write(test: Connection, told: dict[str, Any]) -> None:
    """All of it, in a process of its own."""
    global _test
    _test = test
    store = store_of(told)
    with store.upload(DATA) as upload:
        for number in range(3):
            upload.write(bytes([number]) * PART)
            stop_at(f"{number + 1} parts written")
        upload.write(b"end")
        upload.commit()
    stop_at("data complete")
    store.put(MANIFEST, b"{}", only_new=True)
    stop_at("manifest complete")
