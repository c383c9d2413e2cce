"""An object read as a stream; a connection that breaks is taken up again where it broke."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from tasks.errors import StoreConflict, StoreCorrupt, StoreUnavailable
from tasks.snapshots.stores.s3_bucket import Bucket
from tasks.snapshots.stores.s3_errors import answer_of

PIECE = 1 << 20
_ATTEMPTS = 6  # without a byte in between
_FIRST_WAIT = 0.5  # seconds; doubled each time


def read(bucket: Bucket, key: str, start: int = 0) -> Iterator[bytes]:
    """The bytes of an object from an offset on; see :class:`tasks.snapshots.stores.base.Store`.

    ``If-Match`` makes sure that what is read after a break is of the same object.
    """
    position, etag, failures = start, "", 0
    while True:
        try:
            with bucket.told(f"read {key}"):
                answer = _get(bucket, key, position, etag)
                if answer is None:
                    return
                etag = answer["ETag"]
                with closing(answer["Body"]) as body:
                    for piece in body.iter_chunks(PIECE):
                        position += len(piece)
                        failures = 0
                        yield piece
            return
        except StoreConflict as error:
            raise StoreCorrupt(
                f"store {bucket.store}: {key} was replaced while it was read",
                state="what was read so far is of no use",
                remedy="find out what else writes to the bucket; then repeat",
            ) from error
        except StoreUnavailable:
            failures += 1
            if failures == _ATTEMPTS:
                raise
            time.sleep(_FIRST_WAIT * 2 ** (failures - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - jitter


def _get(bucket: Bucket, key: str, position: int, etag: str) -> dict[str, Any] | None:
    """Ask for the rest; None if nothing is left."""
    from botocore.exceptions import ClientError

    params = {"IfMatch": etag} if etag else {}
    if position:
        params["Range"] = f"bytes={position}-"
    try:
        return bucket.call("get_object", Key=bucket.name(key), **params)
    except ClientError as error:
        answer = answer_of(error)
        if position and answer is not None and answer.status == 416:
            return None
        raise
