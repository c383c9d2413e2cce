"""Objects that must be new, also on servers that ignore conditions.

``If-None-Match: *`` lets one writer win. Whether a server honours it is found out with an object of our own, which is
written twice. One that ignores it gets a claim from every writer beside the key (hidden, removed afterwards): who sees
the claim of another gives way, so that two never both win. That needs a listing that shows what was written before,
which S3 promises.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.errors import StoreConflict, StoreError
from tasks.snapshots.stores.s3_bucket import Bucket
from tasks.snapshots.stores.s3_errors import answer_of
from tasks.snapshots.stores.s3_read import read
from tasks.snapshots.stores.s3_upload import put_whole

CLAIMS = ".claims/"
_NEW = {"IfNoneMatch": "*"}
_STALE = timedelta(minutes=10)  # no writer of a small object takes so long; a claim as old is of one that died
_ATTEMPTS = 6


def put_new(bucket: Bucket, key: str, content: bytes, given: dict[str, Any]) -> None:
    """Write a small object, unless there is one of that key.

    Args:
        given: Further parameters of PutObject.

    Raises:
        StoreConflict: There is.
        StoreError: The server failed or refused.
    """
    for attempt in range(_ATTEMPTS):
        with suppress(_GaveWay):
            if bucket.conditions:
                _put_if_none(bucket, key, content, given)
            else:
                _put_claimed(bucket, key, content, given)
            return
        time.sleep(random.uniform(0.1, 0.3) * 2**attempt)  # noqa: S311 - jitter
    raise StoreConflict(f"store {bucket.store}: others are writing {key} at this moment", state="nothing was written")


class _GaveWay(Exception):
    """Another writer is at it; try again in a moment."""


def _put_if_none(bucket: Bucket, key: str, content: bytes, given: dict[str, Any]) -> None:
    try:
        put_whole(bucket, key, content, given | _NEW)
    except StoreError as error:
        answer = answer_of(error.__cause__) if error.__cause__ else None
        if answer is not None and answer.code == "ConditionalRequestConflict":  # what AWS says while another one writes
            raise _GaveWay from error
        if not (isinstance(error, StoreConflict) and _is_ours(bucket, key, content, error)):
            raise


def _is_ours(bucket: Bucket, key: str, content: bytes, error: StoreConflict) -> bool:
    """Whether the object that is in the way is the one that was just written, by a request whose answer was lost."""
    response = getattr(error.__cause__, "response", None) or {}
    if not response.get("ResponseMetadata", {}).get("RetryAttempts"):
        return False
    return b"".join(read(bucket, key)) == content


def _put_claimed(bucket: Bucket, key: str, content: bytes, given: dict[str, Any]) -> None:
    with _claim(bucket, key) as mine:
        if bucket.conditions:
            _put_if_none(bucket, key, content, given)
            return
        others = [name for name, _ in claims(bucket, f"{CLAIMS}{key}/") if name != mine]
        if others:
            raise _GaveWay
        if bucket.head(key) is not None:
            raise StoreConflict(f"store {bucket.store}: {key} exists already", state="what is there was left as it is")
        put_whole(bucket, key, content, given)


@contextmanager
def _claim(bucket: Bucket, key: str) -> Iterator[str]:
    """A claim to a key; writing it tells whether the server honours conditions."""
    mine = f"{CLAIMS}{key}/{secrets.token_hex(8)}"
    try:
        if bucket.conditions is None:
            bucket.conditions = _honours(bucket, mine)
        else:
            put_whole(bucket, mine, b"{}", {})
        yield mine
    finally:
        with suppress(StoreError), bucket.told(f"remove {mine}"):
            bucket.call("delete_object", Key=bucket.name(mine))


def _honours(bucket: Bucket, name: str) -> bool:
    try:
        put_whole(bucket, name, b"{}", _NEW)
    except StoreConflict:
        return True  # nobody else knows the name: it was written by a request whose answer was lost
    except StoreError as error:
        answer = answer_of(error.__cause__) if error.__cause__ else None
        if answer is None or answer.status not in (400, 501):
            raise
        put_whole(bucket, name, b"{}", {})  # it refuses what it does not know
        return False
    try:
        put_whole(bucket, name, b"{}", _NEW)
    except StoreConflict:
        return True
    return False


def claims(bucket: Bucket, prefix: str) -> Iterator[tuple[str, datetime]]:
    """Claims that are not stale, with the time of their writing."""
    params = {"Prefix": bucket.name(prefix)}
    with bucket.told("list claims"):
        answer = bucket.call("list_objects_v2", **params)
    now = datetime.now(UTC)
    for found in answer.get("Contents", ()):
        if now - found["LastModified"] < _STALE:
            yield found["Key"].removeprefix(bucket.top), found["LastModified"]
