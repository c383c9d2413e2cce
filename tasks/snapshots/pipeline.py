"""A snapshot's way: member -> hash -> zstd -> age -> hash -> stores, in bounded memory.

The caller's thread does nothing but take bytes from the source, since Python's gRPC is the slowest part. Two threads
work on blocks of about 256 KiB, so that hashlib, zstandard and cryptography do their work without Python's lock: one
hashes and compresses, one encrypts, hashes what is stored and hands it to the stores. A few blocks wait between them,
eight before each store.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from tasks.errors import SnapshotError, StoreError
from tasks.snapshots.channel import Channel
from tasks.snapshots.codec import Codec, Compressor, encryptor_of
from tasks.snapshots.fanout import FanOut
from tasks.snapshots.spool import NEVER, Spool
from tasks.snapshots.stores.base import Stored, Upload
from tasks.snapshots.trailer import Digest, TrailerCheck

BLOCK = 256 * 1024
_BETWEEN = 3  # blocks between two threads
_TELL_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class Progress:
    """How far a snapshot is.

    Args:
        captured: Bytes taken from the source.
        expected: Bytes that the source probably has, None if not known.
        rate: Bytes a second from the source, of late.
        sent: Encoded bytes that even the slowest store has taken.
        encoded: Encoded bytes so far.
        seconds: Since it began.
        spooled: Encoded bytes that went to the disk.
        released: Whether the source was read to its end, so that the member is free.
    """

    captured: int
    expected: int | None
    rate: float
    sent: int
    encoded: int
    seconds: float
    spooled: int
    released: bool

    @property
    def remaining(self) -> float | None:
        """Seconds that the source will probably still be read, None if nobody can tell."""
        if self.released:
            return 0.0
        if not self.expected or self.rate <= 0:
            return None
        return max(0, self.expected - self.captured) / self.rate


@dataclass(frozen=True)
class Pumped:
    """A snapshot that is stored, though without its manifest it does not exist yet.

    Args:
        db_bytes: Of the snapshot itself.
        trailer_ok: Whether its trailer is there and fits.
        object_bytes: Of what is stored.
        stored: By store.
        failed: Stores that could not take it.
        held_seconds: How long the source was read.
        spooled_bytes: That went through the worker's disk.
        seconds: All in all.
        note: What people should know of it.
    """

    db_bytes: int
    db_sha256: str
    trailer_ok: bool
    object_bytes: int
    object_sha256: str
    stored: dict[str, Stored]
    failed: dict[str, StoreError]
    held_seconds: float
    spooled_bytes: int
    seconds: float
    note: str = ""


def pump(
    pieces: Iterator[bytes],
    codec: Codec,
    uploads: Mapping[str, Upload],
    *,
    spool: Spool = NEVER,
    progress: Callable[[Progress], None] | None = None,
    expected: int | None = None,
    trailer: Literal["required", "optional"] = "required",
) -> Pumped:
    """Bring a snapshot into stores.

    Args:
        pieces: The snapshot, in pieces of any size; read in this thread.
        codec: What is done to it on the way.
        uploads: By the store's name; each is committed or aborted in the end.
        spool: Whether it may pass through the disk.
        progress: Called in this thread, about twice a second.
        expected: Bytes to expect, for the progress only.
        trailer: ``required``: a snapshot whose trailer does not fit is refused before anything is committed;
            ``optional`` for a copy of a raw database, which has none.

    Raises:
        SnapshotError: The stream ended too early; all uploads were aborted.
        StoreError: Every store failed.
        Exception: What the source raised, as it is; all uploads were aborted.
    """
    run = _Run(codec, uploads, spool, trailer)
    try:
        tell = _Teller(run, progress, expected)
        for block in _blocks(pieces):
            while not run.first.put(block, _TELL_EVERY):
                tell(0)
            tell(len(block))
        released = monotonic()
        run.first.put(None)
        while not run.wait(_TELL_EVERY):
            tell(0, released=True)
        tell(0, released=True, last=True)
        return run.pumped(released)
    except BaseException:
        run.abort()
        raise


class _Run:
    """The threads of one :func:`pump`."""

    def __init__(
        self, codec: Codec, uploads: Mapping[str, Upload], spool: Spool, trailer: Literal["required", "optional"]
    ) -> None:
        self.began = monotonic()
        self.first: Channel[bytes | None] = Channel(_BETWEEN)
        self.encoded = 0
        self.fan = FanOut(uploads, spool)
        self._second: Channel[tuple[bytes, int] | None] = Channel(_BETWEEN)
        self._codec, self._trailer = codec, trailer
        self._digest: Digest | None = None
        self._object = hashlib.sha256()
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"snapshot-{name}", daemon=True)
            for name, work in (("hash", self._hash_and_compress), ("encrypt", self._encrypt_and_store))
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; whether all is stored, or can't be."""
        self._threads[1].join(seconds)
        if self._error is not None:
            raise self._error
        return not self._threads[1].is_alive() and self.fan.wait(seconds)

    def pumped(self, released: float) -> Pumped:
        digest = self._digest
        if digest is None:
            raise SnapshotError("the snapshot was not hashed to its end")
        sha256 = self._sha256()
        stored, failed = self.fan.results(self.encoded, sha256)
        return Pumped(
            db_bytes=digest.bytes,
            db_sha256=digest.sha256,
            trailer_ok=digest.ok,
            object_bytes=self.encoded,
            object_sha256=sha256,
            stored=stored,
            failed=failed,
            held_seconds=released - self.began,
            spooled_bytes=self.fan.spooled,
            seconds=monotonic() - self.began,
            note=self.fan.note,
        )

    def abort(self) -> None:
        self._stop(SnapshotError("the backup was broken off"))
        self.fan.end()
        for thread in self._threads:
            thread.join()
        self.fan.abort()

    def _stop(self, error: BaseException) -> None:
        self.first.fail(error)
        self._second.fail(error)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for this one
            self._error = self._error or error
            self._stop(error)

    def _hash_and_compress(self) -> None:
        check, compressor = TrailerCheck(), Compressor(self._codec)
        while (block := self.first.get()) is not None:
            check.feed(block)
            self._second.put((compressor.update(block), len(block)))
        self._digest = check.finish()
        if not self._digest.ok and (self._trailer == "required" or self._digest.has_trailer):
            raise _cut_off(self._digest)
        self._second.put((compressor.finish(), 0))
        self._second.put(None)

    def _encrypt_and_store(self) -> None:
        encryptor = encryptor_of(self._codec)
        while (item := self._second.get()) is not None:
            data, source_bytes = item
            self.fan.pace.took(source_bytes)
            self._store(encryptor.update(data) if encryptor else data)
        self._store(encryptor.finish() if encryptor else b"")
        self.fan.finish(self._sha256())

    def _sha256(self) -> str:
        """Of what is stored. What is stored as it is has one hash only."""
        return self._digest.sha256 if self._codec.plain and self._digest else self._object.hexdigest()

    def _store(self, data: bytes) -> None:
        if data:
            if not self._codec.plain:
                self._object.update(data)
            self.encoded += len(data)
            self.fan.write(data)


class _Teller:
    """Tells the progress, not too often."""

    def __init__(self, run: _Run, progress: Callable[[Progress], None] | None, expected: int | None) -> None:
        self._run, self._progress, self._expected = run, progress, expected
        self._captured = 0
        self._told, self._told_bytes, self._rate = run.began, 0, 0.0

    def __call__(self, count: int, *, released: bool = False, last: bool = False) -> None:
        self._captured += count
        now = monotonic()
        if self._progress is None or (now - self._told < _TELL_EVERY and not last):
            return
        if not released and now > self._told:
            self._rate = (self._captured - self._told_bytes) / (now - self._told)
        self._told, self._told_bytes = now, self._captured
        run = self._run
        self._progress(
            Progress(
                captured=self._captured,
                expected=self._expected,
                rate=self._rate,
                sent=run.fan.sent,
                encoded=run.encoded,
                seconds=now - run.began,
                spooled=run.fan.spooled,
                released=released,
            )
        )


def _blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pieces of any size as blocks of about 256 KiB."""
    kept: list[bytes] = []
    size = 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        if size >= BLOCK:
            yield kept[0] if len(kept) == 1 else b"".join(kept)
            kept, size = [], 0
    if kept:
        yield b"".join(kept)


def _cut_off(digest: Digest) -> SnapshotError:
    why = (
        "its trailer is not the hash of what came before: bytes were lost or changed on the way"
        if digest.has_trailer
        else "it ends without the trailer that etcd writes last: the stream was cut off"
    )
    return SnapshotError(
        f"the snapshot of {digest.bytes:,} bytes is not whole: {why}",
        state="nothing of it was kept in any store",
        remedy="run the backup again; if it happens again, look at the member's log",
    )
