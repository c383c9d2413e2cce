"""A bucket on an S3-compatible server as a store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from tasks.cluster.spec import S3Settings
from tasks.errors import StoreError
from tasks.snapshots.stores.base import Entry
from tasks.snapshots.stores.keys import check_key, fits
from tasks.snapshots.stores.s3_bucket import Bucket
from tasks.snapshots.stores.s3_claims import CLAIMS, put_new
from tasks.snapshots.stores.s3_client import Credentials
from tasks.snapshots.stores.s3_read import read
from tasks.snapshots.stores.s3_upload import S3Upload, put_whole

#: Kept open at most: three parts of each of some uploads, or what the catalog reads at once.
CONNECTIONS = 16


class S3Store:
    """Objects in a bucket, below the prefix and the cluster's name.

    In a bucket with versions a removed object is only hidden: its bytes stay until a lifecycle rule of the bucket
    removes old versions. With object lock nothing else is possible before the lock ends.

    Args:
        name: As the cluster file calls it.
        settings: From the cluster file.
        folder: The cluster's name.
        credentials: None: those that boto3 finds.
    """

    def __init__(self, name: str, settings: S3Settings, folder: str, credentials: Credentials | None) -> None:
        self._name = name
        self._bucket = Bucket(name, settings, folder, credentials, connections=CONNECTIONS)

    @property
    def name(self) -> str:
        """As the cluster file calls it."""
        return self._name

    @property
    def where(self) -> str:
        """Bucket and what stands before every key."""
        return self._bucket.where

    def upload(self, key: str, *, size_hint: int | None = None, hashed: bool = False) -> S3Upload:
        """Begin to write a large object; see :class:`tasks.snapshots.stores.base.Store`."""
        return S3Upload(self._bucket, check_key(key), size_hint, hashed=hashed)

    def put(self, key: str, content: bytes, *, only_new: bool = False, lasting: bool = True) -> None:
        """Write a small object whole; see :class:`tasks.snapshots.stores.base.Store`."""
        given = self._bucket.new_object(data=False, locked=lasting)
        if only_new:
            put_new(self._bucket, check_key(key), content, given)
        else:
            put_whole(self._bucket, check_key(key), content, given)

    def get(self, key: str) -> bytes:
        """A small object, whole."""
        return b"".join(self.read(key))

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """The bytes of an object from an offset on."""
        return read(self._bucket, check_key(key), start)

    def head(self, key: str) -> Entry | None:
        """What is there under that key, and until when it is locked if these credentials may know."""
        found = self._bucket.head(check_key(key))
        if found is None:
            return None
        return Entry(
            key, found["ContentLength"], _utc(found["LastModified"]), _locked_until(found), str(found.get("ETag", ""))
        )

    def list(self, prefix: str) -> Iterator[Entry]:
        """All objects whose key starts like this, in order of their keys."""
        for found in self._pages("list_objects_v2", "Contents", prefix, ContinuationToken="NextContinuationToken"):
            key = found["Key"].removeprefix(self._bucket.top)
            if fits(key):
                yield Entry(key, found["Size"], _utc(found["LastModified"]), version=str(found.get("ETag", "")))

    def delete(self, key: str) -> None:
        """Remove an object."""
        with self._bucket.told(f"remove {key}"):
            self._bucket.call("delete_object", Key=self._bucket.name(check_key(key)))

    def sweep(self, older_than: datetime) -> tuple[str, ...]:
        """Abort uploads begun before then and not ended, and remove claims as old."""
        swept = []
        following = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
        for found in list(self._pages("list_multipart_uploads", "Uploads", "", **following)):
            if found["Initiated"] < older_than:
                key = found["Key"].removeprefix(self._bucket.top)
                with self._bucket.told(f"abort the upload of {key}"):
                    self._bucket.call("abort_multipart_upload", Key=found["Key"], UploadId=found["UploadId"])
                swept.append(f"upload of {key}")
        for found in list(
            self._pages("list_objects_v2", "Contents", CLAIMS, ContinuationToken="NextContinuationToken")
        ):
            if found["LastModified"] < older_than:
                with self._bucket.told("remove an old claim"):
                    self._bucket.call("delete_object", Key=found["Key"])
                swept.append(found["Key"].removeprefix(self._bucket.top))
        return tuple(sorted(swept))

    def close(self) -> None:
        """Close connections."""
        self._bucket.close()

    def _pages(self, operation: str, part: str, prefix: str, **following: str) -> Iterator[dict[str, Any]]:
        """What a listing has, page after page; ``following`` says which parameter takes which element of the last."""
        params: dict[str, Any] = {}
        while True:
            with self._bucket.told(f"list {self.where}"):
                answer = self._bucket.call(operation, Prefix=self._bucket.name(prefix), **params)
            yield from answer.get(part, ())
            if not answer.get("IsTruncated"):
                return
            params = {ours: answer[theirs] for ours, theirs in following.items() if answer.get(theirs)}
            if not params:
                raise StoreError(
                    f"store {self._name}: the server ends its listing without saying how to go on",
                    remedy="see whether it really is an S3 server, and its version",
                )


def _locked_until(found: dict[str, Any]) -> datetime | None:
    if found.get("ObjectLockLegalHoldStatus") == "ON":
        return datetime.max.replace(tzinfo=UTC)
    until = found.get("ObjectLockRetainUntilDate")
    return _utc(until) if isinstance(until, datetime) else None


def _utc(when: datetime) -> datetime:
    return when.astimezone(UTC)
