"""An object that is being uploaded: parts in parallel, each with its checksum, and the proof at the end."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import tenacity

from tasks.errors import StoreCorrupt, StoreError, StoreUnavailable
from tasks.snapshots.stores.base import Stored
from tasks.snapshots.stores.s3_body import Body
from tasks.snapshots.stores.s3_bucket import Bucket
from tasks.snapshots.stores.s3_errors import answer_of
from tasks.snapshots.stores.s3_parts import part_bytes
from tasks.snapshots.stores.s3_proof import Part, checks, digest, judged, prove, refuses_checksums

THREADS = 3  # parts on the way; more of them need more memory, and are no faster while Python feeds them
_PATIENCE = 180.0  # seconds for which a part is sent again while the server does not answer
_WAIT = tenacity.wait_exponential_jitter(1, 20)  # seconds between two attempts
_CORRUPT = 3  # attempts for a part that the server does not receive as it was sent
_GRACE = 20.0  # seconds that parts on the way get when the upload is aborted


class S3Upload:
    """See :class:`tasks.snapshots.stores.base.Upload`.

    Memory: the part that fills and at most :data:`THREADS` on the way, in buffers that are used again and again; to be
    given new ones would take as long as the copying.
    """

    def __init__(self, bucket: Bucket, key: str, hint: int | None, *, hashed: bool = False) -> None:
        self._bucket = bucket
        self._key = key
        self._hint = hint
        self._hash = None if hashed else hashlib.sha256()
        self._bytes = 0
        self._buffer = bytearray()
        self._filled = 0
        self._free: SimpleQueue[bytearray] = SimpleQueue()
        self._buffers = 0
        self._number = 1
        self._id: str | None = None
        self._checksums = True
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"s3-{bucket.store}")
        self._sent: list[Future[Part]] = []
        self._failed: StoreError | None = None
        self._stop = threading.Event()
        self._done = False
        self._patiently = tenacity.Retrying(
            # A checksum that does not fit is the network's doing, too, as long as the next attempt is better.
            retry=tenacity.retry_if_exception_type((StoreUnavailable, StoreCorrupt)),
            stop=lambda state: self._stop.is_set() or _hopeless(state),
            wait=_WAIT,
            sleep=tenacity.sleep_using_event(self._stop),
            reraise=True,
        )

    def __enter__(self) -> S3Upload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self._check_open()
        if self._hash is not None:
            self._hash.update(data)
        self._bytes += len(data)
        view = memoryview(data)
        while view:
            if self._filled == len(self._buffer):  # and more is to come: what fits in one part goes with one request
                self._send()
                self._buffer = self._empty(part_bytes(self._number, self._hint))
            taken = min(len(view), len(self._buffer) - self._filled)
            memoryview(self._buffer)[self._filled : self._filled + taken] = view[:taken]
            self._filled += taken
            view = view[taken:]

    def commit(self, sha256: str = "") -> Stored:
        """Make the object exist, checked."""
        self._check_open()
        ours = self._hash.hexdigest() if self._hash is not None else sha256
        try:
            proof = self._commit_small(ours) if self._id is None else self._commit_parts(ours)
        finally:
            self.abort()
        return Stored(self._key, self._bytes, ours, proof)

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._done:
            return
        self._done = True
        self._stop.set()
        self._free.put(bytearray())  # whoever waits for a buffer finds out
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._id is None:
            return
        # A part that arrives after the abort would stay (S3 API, AbortMultipartUpload).
        wait(self._sent, timeout=_GRACE)
        self._drop()

    def _check_open(self) -> None:
        if self._failed is not None:
            self.abort()
            raise self._failed
        if self._done:
            raise StoreError(f"store {self._bucket.store}: {self._key} was ended before")

    # --- parts ---

    def _empty(self, size: int) -> bytearray:
        """A buffer to fill. Waits for one that is on the way when all are."""
        if self._buffers <= THREADS:
            self._buffers += 1
            return bytearray(size)
        buffer = self._free.get()
        self._check_open()
        return buffer if len(buffer) == size else bytearray(size)

    def _send(self) -> None:
        if not self._filled:
            return
        data = self._buffer if self._filled == len(self._buffer) else self._buffer[: self._filled]
        self._filled = 0
        number, self._number = self._number, self._number + 1
        try:
            if self._bucket.checksums is None:
                self._sent.append(self._first(data))
                self._free.put(data)
                return
            if self._id is None:
                self._checksums = self._bucket.checksums
                self._id = self._begin()
        except StoreError:
            self.abort()
            raise
        sent = self._pool.submit(self._send_part, number, data)
        sent.add_done_callback(self._arrived)
        self._sent.append(sent)

    def _first(self, data: bytearray) -> Future[Part]:
        """Send the first part ever to this store, which tells whether the server knows checksums."""
        try:
            self._id = self._begin()
            part = self._part(1, data)
        except StoreError as error:
            if not refuses_checksums(error):
                raise
            self._drop()
            self._checksums = False
            self._id = self._begin()
            part = self._part(1, data)
        self._bucket.checksums = self._checksums = part.checked
        sent: Future[Part] = Future()
        sent.set_result(part)
        return sent

    def _arrived(self, sent: Future[Part]) -> None:
        error = None if sent.cancelled() else sent.exception()
        if error is not None and self._failed is None:
            self._failed = error if isinstance(error, StoreError) else _unforeseen(self._bucket.store, self._key, error)

    def _begin(self) -> str:
        params = self._bucket.new_object(data=True)
        if self._checksums:
            params["ChecksumAlgorithm"] = "SHA256"
        with self._bucket.told(f"begin to upload {self._key}"):
            answer = self._bucket.call("create_multipart_upload", Key=self._bucket.name(self._key), **params)
        return str(answer["UploadId"])

    def _send_part(self, number: int, data: bytearray) -> Part:
        try:
            return self._part(number, data)
        finally:
            self._free.put(data)

    def _part(self, number: int, data: bytearray) -> Part:
        found = digest(data, self._checksums)
        with_checks = checks(found, self._checksums)
        answer = self._patiently(self._part_once, number, data, with_checks)
        return judged(Part(number, found, str(answer["ETag"])), data, answer)

    def _part_once(self, number: int, data: bytearray, with_checks: dict[str, str]) -> dict[str, Any]:
        with self._bucket.told(f"upload part {number} of {self._key}"):
            return self._bucket.call(
                "upload_part",
                Key=self._bucket.name(self._key),
                UploadId=self._id,
                PartNumber=number,
                Body=Body(data),
                **with_checks,
            )

    def _drop(self) -> None:
        """Abort what the server knows of. What stays, because it does not answer, is found by the sweep."""
        upload_id, self._id = self._id, None
        if upload_id is not None:
            with suppress(StoreError), self._bucket.told(f"abort the upload of {self._key}"):
                self._bucket.call("abort_multipart_upload", Key=self._bucket.name(self._key), UploadId=upload_id)

    # --- the end ---

    def _commit_small(self, sha256: str) -> str:
        answer, part = put_whole(
            self._bucket, self._key, bytes(self._buffer[: self._filled]), self._bucket.new_object(data=True)
        )
        self._finished()
        return prove(self._bucket, self._key, self._bytes, bytes.fromhex(sha256), [part], answer, whole=True)

    def _commit_parts(self, sha256: str) -> str:
        self._send()
        wait(self._sent)
        self._check_open()
        self._buffer, self._free = bytearray(), SimpleQueue()  # what follows needs memory, too
        parts = [sent.result() for sent in self._sent]
        listed = [
            {"PartNumber": part.number, "ETag": part.etag}
            | (checks(part.digest, True, bare=True) if self._checksums else {})
            for part in parts
        ]
        answer = self._patiently(self._complete, listed)
        self._id = None  # nothing to abort any more
        self._finished()
        return prove(self._bucket, self._key, self._bytes, bytes.fromhex(sha256), parts, answer, whole=False)

    def _complete(self, listed: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            with self._bucket.told(f"complete {self._key}"):
                return self._bucket.call(
                    "complete_multipart_upload",
                    Key=self._bucket.name(self._key),
                    UploadId=self._id,
                    MultipartUpload={"Parts": listed},
                )
        except StoreError as error:
            answer = answer_of(error.__cause__) if error.__cause__ else None
            if answer is None or answer.code != "NoSuchUpload":
                raise
            return {}  # completed by an attempt whose answer was lost, or gone: the proof tells

    def _finished(self) -> None:
        """Let the lock end as long after the end of the backup as the cluster file says, not after its beginning."""
        if self._bucket.settings.lock != "none":
            mode = self._bucket.settings.lock.upper()
            retention = {"Mode": mode, "RetainUntilDate": self._bucket.lock_end()}
            with self._bucket.told(f"lock {self._key}"):
                self._bucket.call("put_object_retention", Key=self._bucket.name(self._key), Retention=retention)


def put_whole(bucket: Bucket, key: str, data: bytes, params: dict[str, Any]) -> tuple[dict[str, Any], Part]:
    """Write an object with one request.

    Args:
        bucket: Where.
        key: Ours.
        data: All of it.
        params: Further ones of PutObject.

    Returns:
        The server's answer, and the object as its only part.
    """
    for checksums in (True, False) if bucket.checksums is None else (bucket.checksums,):
        found = digest(data, checksums)
        try:
            with bucket.told(f"write {key}"):
                answer = bucket.call(
                    "put_object", Key=bucket.name(key), Body=data, **params, **checks(found, checksums)
                )
        except StoreError as error:
            if bucket.checksums is None and checksums and refuses_checksums(error):
                continue
            raise
        part = judged(Part(1, found, str(answer.get("ETag", ""))), data, answer)
        bucket.checksums = part.checked
        break
    return answer, part


def _hopeless(state: tenacity.RetryCallState) -> bool:
    if state.outcome is not None and isinstance(state.outcome.exception(), StoreCorrupt):
        return state.attempt_number >= _CORRUPT
    return (state.seconds_since_start or 0.0) >= _PATIENCE


def _unforeseen(store: str, key: str, error: BaseException) -> StoreError:
    made = StoreError(
        f"store {store}: can't upload {key}: {type(error).__name__}: {error}",
        remedy="see whether the store can be reached and written, then run it again",
    )
    made.__cause__ = error
    return made
