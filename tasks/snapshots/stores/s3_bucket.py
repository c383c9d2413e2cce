"""A bucket on an S3 server, as the modules of this store see it: one client, its settings, its errors in words."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from tasks.cluster.spec import S3Settings
from tasks.snapshots.stores.s3_answers import Place
from tasks.snapshots.stores.s3_client import Credentials, make_client
from tasks.snapshots.stores.s3_errors import answer_of, told


@dataclass
class Bucket:
    """Requests to one bucket. Threads may share it.

    Args:
        store: The store's name.
        settings: From the cluster file.
        folder: The cluster's name; with the prefix it stands before every key.
        credentials: None: those that boto3 finds.
        connections: How many requests run at once at most.
    """

    store: str
    settings: S3Settings
    folder: str
    credentials: Credentials | None
    connections: int
    checksums: bool | None = None  # whether the server takes checksums of its own; None: not known yet
    conditions: bool | None = None  # whether it honours If-None-Match; None: not known yet
    _made: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def place(self) -> Place:
        """For messages."""
        endpoint = self.settings.endpoint or f"AWS ({self.settings.region})"
        return Place(self.store, self.settings.bucket, endpoint, self.settings.region)

    @property
    def top(self) -> str:
        """What stands before every key; ends in a slash."""
        return f"{self.settings.prefix}{self.folder}/"

    @property
    def where(self) -> str:
        """For people."""
        return f"s3://{self.settings.bucket}/{self.top.rstrip('/')}"

    @contextmanager
    def told(self, doing: str) -> Iterator[None]:
        """Turn what boto3 raises in the block into words."""
        with told(self.place, doing):
            yield

    def call(self, operation: str, **params: Any) -> dict[str, Any]:
        """Send one request about this bucket and return the answer; botocore repeats what may pass by itself.

        Args:
            operation: As boto3 calls it (``put_object``).
        """
        answer: dict[str, Any] = getattr(self._client(), operation)(Bucket=self.settings.bucket, **params)
        return answer

    def head(self, key: str, **params: Any) -> dict[str, Any] | None:
        """What there is under one of our keys, None if nothing.

        Raises:
            StoreError: The server does not tell.
        """
        from botocore.exceptions import ClientError

        with self.told(f"look at {key}"):
            try:
                return self.call("head_object", Key=self.name(key), **params)
            except ClientError as error:
                answer = answer_of(error)
                if answer is None or answer.status == 404:
                    return None
                # An answer to HEAD has no body, so no reason either: the same credentials are told it here.
                self.call("list_objects_v2", Prefix=self.name(key), MaxKeys=1)
                raise

    def name(self, key: str) -> str:
        """The name in the bucket of one of our keys."""
        return f"{self.top}{key}"

    def new_object(self, *, data: bool, locked: bool = True) -> dict[str, Any]:
        """What a new object is given.

        Args:
            data: Whether it is one of the large ones, which storage class and tags are for.
            locked: Whether it is locked, if the store locks what it has.
        """
        settings = self.settings
        found: dict[str, Any] = {"ContentType": "application/octet-stream" if data else "application/json"}
        if settings.server_side_encryption != "none":
            found["ServerSideEncryption"] = settings.server_side_encryption
        if data and settings.storage_class:
            found["StorageClass"] = settings.storage_class
        if data and settings.tags:
            found["Tagging"] = urlencode(settings.tags, quote_via=quote)  # a + stays one on servers other than AWS
        if locked and settings.lock != "none":
            found["ObjectLockMode"] = settings.lock.upper()
            found["ObjectLockRetainUntilDate"] = self.lock_end()
        return found

    def lock_end(self) -> datetime:
        """Until when an object that is complete now stays locked, UTC."""
        return datetime.now(UTC).replace(microsecond=0) + timedelta(days=self.settings.lock_days)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = make_client(self.settings, self.credentials, self.connections)
            return self._made


def b64(digest: bytes) -> str:
    """A checksum as it stands in a header."""
    return base64.b64encode(digest).decode()
