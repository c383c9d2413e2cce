"""What an S3 server answers when it refuses, put into words, with what to do about it.

Codes: the S3 API reference, "Error responses". Only the code, the status and a few harmless facts of an answer are
shown: the rest may repeat the request (key ids, strings that were signed).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from tasks.errors import StoreConflict, StoreCorrupt, StoreError, StoreMissing, StoreUnavailable

KEPT = "snapshots that are complete are untouched"


@dataclass(frozen=True)
class Place:
    """Where it happened, for messages.

    Args:
        store: The store's name.
        bucket: The bucket.
        endpoint: As people know it.
        region: As configured.
    """

    store: str
    bucket: str
    endpoint: str
    region: str


@dataclass(frozen=True)
class Answer:
    """What the server answered.

    Args:
        code: S3's name for the error, or the status if there is none (answers to HEAD have no body).
        status: Of HTTP.
        operation: As the API calls it (``PutObject``).
        facts: Further elements of the error.
        headers: Of the answer.
    """

    code: str
    status: int
    operation: str
    facts: dict[str, Any]
    headers: dict[str, str]


def explain_answer(place: Place, start: str, answer: Answer) -> StoreError:
    """The error of ours that an answer stands for."""
    special = _SPECIAL.get(answer.code)
    if special is not None:
        return special(place, start, answer)
    if answer.code in _WORDS:
        kind, why, remedy = _WORDS[answer.code]
        return kind(f"{start}: {_fill(why, place)} ({answer.code})", state=KEPT, remedy=_fill(remedy, place))
    if _foreign(answer):
        return no_s3_server(place, start)
    if answer.status >= 500 or answer.code in _BUSY or answer.status == 429:
        return _busy(start, place, answer)
    said = answer.code if answer.code != str(answer.status) else f"HTTP {answer.status} and no reason"
    return StoreError(
        f"{start}: {place.endpoint} answered {said} to {answer.operation}",
        state=KEPT,
        remedy="look the code up in the server's documentation; its log has more",
    )


def _fill(text: str, place: Place) -> str:
    return text.format(bucket=place.bucket, endpoint=place.endpoint, region=place.region)


def no_s3_server(place: Place, start: str) -> StoreError:
    """For something else that answers at that address."""
    return StoreError(
        f"{start}: what answers at {place.endpoint} is no S3 server",
        state=KEPT,
        remedy="check host and port of the endpoint; it is that of the S3 API, not that of a console or a web site",
    )


def _foreign(answer: Answer) -> bool:
    """Whether it is not an S3 server that answers so: no code of S3 in it, and not even XML.

    HTML with one of these three statuses is what load balancers say of the server behind them.
    """
    coded = not answer.code.isdigit() or answer.operation.startswith("Head")
    return not coded and answer.status not in (502, 503, 504) and "xml" not in answer.headers.get("content-type", "xml")


_BUSY = frozenset(
    {
        "BandwidthLimitExceeded",
        "InternalError",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)

_KEYS = "check access_key and secret_key of this store (or the profile, environment or role that boto3 takes them from)"

_WORDS: dict[str, tuple[type[StoreError], str, str]] = {
    "NoSuchBucket": (
        StoreMissing,
        "there is no bucket {bucket} at {endpoint}",
        "check bucket, endpoint and region in the cluster file; create the bucket if it is new",
    ),
    "InvalidAccessKeyId": (StoreError, "the server knows no such access key id", _KEYS),
    "SignatureDoesNotMatch": (
        StoreError,
        "the secret key does not belong to the access key id, or something on the way changes requests",
        _KEYS + "; if they are right, a proxy on the way rewrites requests",
    ),
    "ExpiredToken": (StoreError, "the temporary credentials have expired", "get new ones, then repeat"),
    "TokenRefreshRequired": (StoreError, "the temporary credentials have expired", "get new ones, then repeat"),
    "InvalidToken": (StoreError, "the session token is not valid", "get new temporary credentials, all three parts"),
    "AccountProblem": (StoreError, "the account is not in order", "ask whoever runs the account"),
    "QuotaExceeded": (
        StoreError,
        "the quota of the bucket or the user is used up",
        "raise it, or free space: `etcd-flows prune-snapshots` removes what the retention no longer keeps",
    ),
    "XMinioStorageFull": (StoreError, "the server's disks are full", "enlarge them, or free space there"),
    "EntityTooLarge": (StoreError, "the server takes no object that large", "raise its limit"),
    "InvalidStorageClass": (
        StoreError,
        "the server has no such storage class",
        "correct storage_class of this store in the cluster file, or leave it out",
    ),
    "InvalidObjectState": (
        StoreError,
        "the object is archived and can't be read at once",
        "restore it from the archive first; choose a storage class for backups that is read without delay",
    ),
    "NoSuchUpload": (
        StoreError,
        "the upload was removed while it ran",
        "a lifecycle rule of the bucket, or another sweep, aborts uploads too early; then run the backup again",
    ),
    "BadDigest": (StoreCorrupt, "bytes were changed on the way: the checksum does not fit", "run the backup again"),
    "InvalidDigest": (StoreCorrupt, "bytes were changed on the way: the checksum does not fit", "run the backup again"),
    "XAmzContentSHA256Mismatch": (StoreCorrupt, "bytes were changed on the way", "run the backup again"),
    "XAmzContentChecksumMismatch": (StoreCorrupt, "bytes were changed on the way", "run the backup again"),
    "PreconditionFailed": (
        StoreConflict,
        "there is such an object already",
        "nothing: what is there was left as it is",
    ),
    "ConditionalRequestConflict": (
        StoreUnavailable,
        "another writer is at the same object at this moment",
        "repeat it in a moment",
    ),
    "NotImplemented": (
        StoreError,
        "the server lacks something that this store is configured to use",
        "see whether it knows tags, storage classes, server-side encryption and object lock; leave out what it lacks",
    ),
    "ObjectLockConfigurationNotFoundError": (
        StoreError,
        "the bucket {bucket} was made without object lock",
        "make a bucket with object lock, or set lock: none for this store",
    ),
}


def _busy(start: str, place: Place, answer: Answer) -> StoreError:
    slow = answer.code in ("SlowDown", "503") or answer.status in (429, 503)
    why = "asks to be spared" if slow else "has trouble of its own"
    return StoreUnavailable(
        f"{start}: {place.endpoint} {why} ({answer.code}, HTTP {answer.status}), also after several attempts",
        state=KEPT,
        remedy="repeat it later; if it stays, ask whoever runs the server",
    )


def _denied(place: Place, start: str, answer: Answer) -> StoreError:
    right = _RIGHTS.get(answer.operation, f"s3:{answer.operation}")
    return StoreError(
        f"{start}: these credentials may not do that in bucket {place.bucket} ({right} is refused)",
        state=KEPT,
        remedy=f"allow {right} on the bucket and what is in it (also in the bucket's policy), or use other credentials",
    )


def _absent(place: Place, start: str, answer: Answer) -> StoreError:
    if _foreign(answer):
        return no_s3_server(place, start)
    return StoreMissing(f"{start}: there is no such object in bucket {place.bucket}", state=KEPT)


def _skewed(place: Place, start: str, answer: Answer) -> StoreError:
    theirs, off = answer.headers.get("date"), "differs too much from the server's"
    if theirs:
        try:
            seconds = (datetime.now(UTC) - parsedate_to_datetime(theirs)).total_seconds()
        except (TypeError, ValueError):
            seconds = 0.0
        if abs(seconds) >= 60:
            off = f"is {abs(seconds) / 60:.0f} minutes {'ahead of' if seconds > 0 else 'behind'} the server's"
    return StoreError(
        f"{start}: this machine's clock {off} ({answer.code})",
        state=KEPT,
        remedy="set the clock (timedatectl; chrony or systemd-timesyncd), here or on the server, then repeat",
    )


def _elsewhere(place: Place, start: str, answer: Answer) -> StoreError:
    right = answer.facts.get("Region") or answer.headers.get("x-amz-bucket-region")
    where = f"it is in {right}" if right else "the server does not say which it is in"
    return StoreError(
        f"{start}: bucket {place.bucket} is not in the region {place.region}; {where} ({answer.code})",
        state=KEPT,
        remedy=f"set region: {right or '...'} for this store in the cluster file",
    )


def _invalid(place: Place, start: str, answer: Answer) -> StoreError:
    said = str(answer.facts.get("Message") or "")
    if "ObjectLock" in said or "object lock" in said.lower():
        return explain_answer(
            place, start, Answer("ObjectLockConfigurationNotFoundError", 400, answer.operation, {}, {})
        )
    hint = f": {said[:160]}" if said and "key" not in said.lower() else ""
    return StoreError(
        f"{start}: the server refuses the request ({answer.code}{hint})",
        state=KEPT,
        remedy="see whether it has the storage class, knows tags and server-side encryption, and whether the bucket "
        "was made with object lock; leave out of this store's settings what it lacks",
    )


_SPECIAL: dict[str, Callable[[Place, str, Answer], StoreError]] = {
    "AccessDenied": _denied,
    "AllAccessDisabled": _denied,
    "403": _denied,
    "NoSuchKey": _absent,
    "404": _absent,
    "RequestTimeTooSkewed": _skewed,
    "RequestExpired": _skewed,
    "AuthorizationHeaderMalformed": _elsewhere,
    "PermanentRedirect": _elsewhere,
    "TemporaryRedirect": _elsewhere,
    "IllegalLocationConstraintException": _elsewhere,
    "301": _elsewhere,
    "InvalidRequest": _invalid,
    "InvalidArgument": _invalid,
}

_RIGHTS = {
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
}
