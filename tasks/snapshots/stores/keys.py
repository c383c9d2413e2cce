"""Which keys a store takes: what every file system and every S3 server can keep under that very name."""

from __future__ import annotations

import contextlib
import re

from tasks.errors import StoreError

_PART_BYTES = 200  # file names have at most 255 bytes; what is being written has a suffix
_KEY_BYTES = 700  # S3 allows 1024, the bucket's prefix and the cluster's name included
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


def check_key(key: str) -> str:
    """The key itself, if a store can keep it: parts between single slashes, none hidden (``.``), no control characters.

    Raises:
        StoreError: It can't be kept.
    """
    parts = key.split("/")
    if any(not part or part.startswith(".") for part in parts):
        raise _refusal(key, "it has an empty part, or one that begins with a dot")
    if _UNFIT.search(key):
        raise _refusal(key, "it has control characters, backslashes or broken Unicode in it")
    if len(key.encode()) > _KEY_BYTES or max(len(part.encode()) for part in parts) > _PART_BYTES:
        raise _refusal(key, f"it is longer than {_KEY_BYTES} bytes, or a part of it than {_PART_BYTES}")
    return key


def fits(key: str) -> bool:
    """Whether a store could have made such a key. What others have put there under other names is none of ours."""
    with contextlib.suppress(StoreError):
        return bool(check_key(key))
    return False


def _refusal(key: str, why: str) -> StoreError:
    return StoreError(f"{key[:80]!r} can't be the key of an object: {why}", state="nothing was touched")
