"""How it is known that a bucket holds the bytes that were sent.

Each part goes with its checksum, so a server that receives other bytes refuses them. At the end the server's own
checksum of the whole, made of those of its parts, is compared with ours (S3 API, "Checking object integrity").
It is SHA-256, since CPUs and OpenSSL are quick at it: radosgw spends five times as much on CRC32 (seen with 20.2).
A server that knows no checksums gets Content-MD5, and its ETag is compared; where that is no MD5 either, everything is
read back and hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from tasks.errors import StoreCorrupt, StoreError
from tasks.snapshots.stores.s3_bucket import Bucket, b64
from tasks.snapshots.stores.s3_errors import answer_of
from tasks.snapshots.stores.s3_read import read

CHECKSUM = "ChecksumSHA256"

#: Codes of refusals that have nothing to do with checksums, although their status is 400.
_OTHER_REASONS = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "BadDigest",
        "EntityTooLarge",
        "EntityTooSmall",
        "ExpiredToken",
        "InvalidDigest",
        "InvalidStorageClass",
        "InvalidTag",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "TokenRefreshRequired",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)


@dataclass(frozen=True)
class Part:
    """A part that the server has.

    Args:
        number: From 1 on.
        digest: SHA-256, or MD5 where the server knows no checksums.
        etag: What the server calls it.
    """

    number: int
    digest: bytes
    etag: str

    @property
    def checked(self) -> bool:
        """Whether the server showed that it knows its checksum."""
        return len(self.digest) == hashlib.sha256().digest_size


def digest(data: bytes | bytearray, checksums: bool) -> bytes:
    """What protects a part on its way: its SHA-256, or its MD5 for a server that knows no checksums."""
    return hashlib.sha256(data).digest() if checksums else hashlib.md5(data, usedforsecurity=False).digest()


def checks(found: bytes, checksums: bool, *, bare: bool = False) -> dict[str, str]:
    """Parameters of a request that carry the checksum; ``bare`` without the name of the algorithm."""
    if not checksums:
        return {"ContentMD5": b64(found)}
    # radosgw compares the checksum only if the algorithm is named, too (seen with 20.2).
    return {CHECKSUM: b64(found)} | ({} if bare else {"ChecksumAlgorithm": "SHA256"})


def judged(part: Part, data: bytes | bytearray, answer: dict[str, Any]) -> Part:
    """A part as it has to be compared: by MD5 if the server passed its checksum over in silence, as old ones do."""
    return part if CHECKSUM in answer else replace(part, digest=digest(data, checksums=False))


def refuses_checksums(error: StoreError) -> bool:
    """Whether a server that refused this may take it without a checksum: old ones know no such header."""
    answer = answer_of(error.__cause__) if error.__cause__ else None
    return answer is not None and answer.status in (400, 501) and answer.code not in _OTHER_REASONS


def prove(
    bucket: Bucket, key: str, size: int, sha256: bytes, parts: Sequence[Part], answer: dict[str, Any], *, whole: bool
) -> str:
    """Find out that the bucket holds what was sent; remove it if not.

    Args:
        bucket: Where.
        key: Ours.
        size: Bytes that were sent.
        sha256: Of what was sent.
        parts: As they were sent.
        answer: What the server said when the object was completed.
        whole: Whether it was sent with one request, not in parts.

    Returns:
        The kind of proof: ``checksum`` or ``read back``.

    Raises:
        StoreCorrupt: It holds something else, which was removed.
        StoreError: That can't be found out.
    """
    if whole and parts[0].checked and parts[0].digest != sha256:
        raise _corrupt(bucket, key, "bytes were changed between their source and the request")
    seen = _look(bucket, key, answer)
    if "ContentLength" in seen and seen["ContentLength"] != size:
        raise _corrupt(bucket, key, f"it has {seen['ContentLength']} bytes there, {size} were sent")
    for theirs, ours in (
        (str(seen.get(CHECKSUM, "")), _joined(parts, "sha256", whole)),
        (str(seen.get("ETag", "")).strip('"'), _joined(parts, "md5", whole)),
    ):
        if theirs and ours and _comparable(theirs, ours):
            if theirs == ours:
                return "checksum"
            break  # the bytes themselves decide: servers differ in how they put checksums together
    if _hash(bucket, key) != sha256:
        raise _corrupt(bucket, key, "what was read back has another SHA-256")
    return "read back"


def _look(bucket: Bucket, key: str, answer: dict[str, Any]) -> dict[str, Any]:
    try:
        found = bucket.head(key, ChecksumMode="ENABLED")
    except StoreError:
        if CHECKSUM not in answer:
            raise
        return answer  # credentials that may only write: the answer itself carries the checksum
    if found is None:
        raise StoreError(
            f"store {bucket.store}: {key} was completed and is not there",
            remedy="look at the bucket's lifecycle rules, and at what else writes there; then run the backup again",
        )
    return answer | found


def _joined(parts: Sequence[Part], algorithm: str, whole: bool) -> str:
    """The checksum of an object as a server puts it together; nothing if it can't be had from these parts."""
    if any(len(part.digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size for part in parts):
        return ""
    found = parts[0].digest
    if not whole:
        found = hashlib.new(algorithm, b"".join(part.digest for part in parts), usedforsecurity=False).digest()
    text = found.hex() if algorithm == "md5" else b64(found)
    return text if whole else f"{text}-{len(parts)}"


def _comparable(theirs: str, ours: str) -> bool:
    """Whether both are of one kind: of parts or of a whole, and as long (a key server makes ETags that are no MD5)."""
    return ("-" in theirs) == ("-" in ours) and len(theirs.partition("-")[0]) == len(ours.partition("-")[0])


def _hash(bucket: Bucket, key: str) -> bytes:
    found = hashlib.sha256()
    for piece in read(bucket, key):
        found.update(piece)
    return found.digest()


def _corrupt(bucket: Bucket, key: str, why: str) -> StoreCorrupt:
    with suppress(StoreError), bucket.told(f"remove {key}"):
        bucket.call("delete_object", Key=bucket.name(key))
    return StoreCorrupt(
        f"store {bucket.store}: {bucket.where} does not hold {key} as it was sent: {why}",
        state="it was removed again",
        remedy="run the backup again; if it stays, something between here and the server, or the server, changes bytes",
    )
