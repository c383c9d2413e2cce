"""Encoded blocks handed to several stores at once; each has its own thread, one that fails drops out."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from time import monotonic

from tasks.errors import StoreCorrupt, StoreError, StoreUnavailable
from tasks.snapshots.channel import Channel
from tasks.snapshots.spool import Pace, Spool, SpoolFile
from tasks.snapshots.stores.base import Stored, Upload

QUEUE = 8  # blocks (of up to 256 KiB) that wait for each store
#: Seconds in which a store has to take something; a hanging network file system would hold up the others for good.
STALLED = 600.0
#: Bytes a second that a commit may take at worst, reading all of it back included; on top of STALLED.
_COMMIT_RATE = 10 * 1024 * 1024
_ABORT = 60.0
_POLL = 0.1


class _Ended(Exception):
    """The upload is not wanted any more."""


class _Feeder:
    """Writes one upload, in its own thread."""

    def __init__(self, name: str, upload: Upload) -> None:
        self.name = name
        self.sent = 0
        self.stored: Stored | None = None
        self.error: StoreError | None = None
        self.over = threading.Event()
        self.beat = monotonic()
        self.committing = False
        self.channel: Channel[bytes | SpoolFile | None] = Channel(QUEUE)
        self.sha256 = ""
        self._upload = upload
        self._thread = threading.Thread(target=self._run, name=f"store-{name}", daemon=True)
        self._thread.start()

    @property
    def live(self) -> bool:
        return not self.over.is_set()

    def give(self, item: bytes | SpoolFile | None, wait: float | None = None) -> bool:
        """Whether it took it in time; one that is over takes everything."""
        try:
            if wait is None:
                self.channel.force(item)
                return True
            return self.channel.put(item, wait)
        except _Ended:
            return True

    def end(self) -> None:
        """Have the upload aborted as soon as the store lets go of it."""
        self.channel.fail(_Ended())

    def silent_for(self) -> float:
        """Seconds since the store was given something, which it has not taken yet."""
        return monotonic() - self.beat

    def drop(self, error: StoreError) -> None:
        """Go on without this store, even if it does not let go of the thread."""
        self.error = self.error or error
        self.end()
        self.over.set()

    def _run(self) -> None:
        try:
            for block in self._blocks():
                self.beat = monotonic()
                self._upload.write(block)
                self.sent += len(block)
            self.beat, self.committing = monotonic(), True
            self.stored = self._upload.commit(self.sha256)
        except _Ended:
            pass
        except StoreError as error:
            self.error = self.error or error
        except Exception as error:  # noqa: BLE001 - a store's fault must not take the others with it
            self.error = self.error or StoreError(
                f"store {self.name}: {type(error).__name__}: {error}",
                remedy="see whether the store can be reached and written, then run it again",
            )
        finally:
            if self.stored is None:
                self._upload.abort()
            self.end()
            self.over.set()

    def _blocks(self) -> Iterator[bytes]:
        while (item := self.channel.get()) is not None:
            if isinstance(item, SpoolFile):
                yield from item.read(going_on=lambda: not self.channel.failed)
            else:
                yield item


class FanOut:
    """All the stores of one snapshot."""

    def __init__(self, uploads: Mapping[str, Upload], spool: Spool) -> None:
        self._feeders = [_Feeder(name, upload) for name, upload in uploads.items()]
        self._spool: Spool = spool
        self._may_spool = spool.directory is not None
        self._file: SpoolFile | None = None
        self._spooling = False
        self._stalled = STALLED
        self.pace = Pace(spool)
        self.taken = 0
        self.spooled = 0
        self.note = ""

    def write(self, block: bytes) -> None:
        """Hand a block to every store that is left, or to the disk.

        Raises:
            StoreError: No store is left.
        """
        self.taken += len(block)
        if self._spooling and self._to_disk(block):
            return
        begin = False
        for feeder in self._live():
            begin = self._hand(feeder, block, begin) or begin
        if begin and self._file is not None:
            self._spooling = True
            for feeder in self._live():
                feeder.give(self._file)
        self._demand_one()

    def finish(self, sha256: str) -> None:
        """That was all: have the uploads committed.

        Args:
            sha256: Of all that was handed over.
        """
        self._end_of_file()
        for feeder in self._feeders:
            feeder.sha256 = sha256
            feeder.give(None)

    def end(self) -> None:
        """Have all uploads aborted; whoever waits in :meth:`write` goes on."""
        for feeder in self._feeders:
            feeder.end()

    def abort(self) -> None:
        """Have all uploads aborted; returns when they are, but does not wait for a store that hangs."""
        self.end()
        self._end_of_file()
        deadline = monotonic() + min(_ABORT, self._stalled)
        for feeder in self._feeders:
            feeder.over.wait(max(0.0, deadline - monotonic()))
        self._close_file()

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for the stores; whether they are all done (well or not)."""
        deadline = monotonic() + seconds
        for feeder in self._feeders:
            feeder.over.wait(max(0.0, deadline - monotonic()))
            self._drop_if_stalled(feeder)
        done = not self._live()
        if done:
            self._close_file()
        return done

    def results(self, size: int, sha256: str) -> tuple[dict[str, Stored], dict[str, StoreError]]:
        """What was stored, compared with what was sent, and what failed.

        Raises:
            StoreError: Nothing was stored.
        """
        stored: dict[str, Stored] = {}
        for feeder in self._feeders:
            found = feeder.stored
            if found is not None and (found.bytes, found.sha256) != (size, sha256):
                feeder.error = _differs(feeder.name, found, size, sha256)
            elif found is not None and feeder.error is None:
                stored[feeder.name] = found
        if not stored:
            raise self._all_failed()
        return stored, self._failed()

    @property
    def sent(self) -> int:
        """Bytes that even the slowest store that is left has taken."""
        return min((feeder.sent for feeder in self._feeders if feeder.error is None), default=0)

    def _live(self) -> list[_Feeder]:
        return [feeder for feeder in self._feeders if feeder.live]

    def _failed(self) -> dict[str, StoreError]:
        return {feeder.name: feeder.error for feeder in self._feeders if feeder.error is not None}

    def _hand(self, feeder: _Feeder, block: bytes, begin: bool) -> bool:
        """Give one store its block; whether the disk takes what follows.

        Args:
            begin: Whether that is settled already; then the store's queue may grow by this block.
        """
        given = feeder.give(block, 0.0)
        while not given and not begin:
            started = monotonic()
            given = feeder.give(block, _POLL)
            self.pace.blocked(monotonic() - started)
            self._drop_if_stalled(feeder)
            begin = self._may_spool and self.pace.too_slow() and self._open_file()
        if not given:
            feeder.give(block)
        return begin

    def _open_file(self) -> bool:
        try:
            self._file = SpoolFile(self._spool)
            self._file.append(b"")
        except OSError as error:
            self._no_disk(error)
            return False
        self._may_spool = False
        return True

    def _to_disk(self, block: bytes) -> bool:
        self._demand_one()
        if self._file is None:
            return False
        try:
            self._file.append(block)
        except OSError as error:
            self._no_disk(error)
            self._end_of_file()
            return False
        self.spooled += len(block)
        return True

    def _no_disk(self, error: OSError) -> None:
        self._may_spool = False
        self.note = (
            f"the stores are slow, and the spool directory {self._spool.directory} can't take the snapshot "
            f"({error.strerror}): the member was held until they had it"
        )

    def _end_of_file(self) -> None:
        self._spooling = False
        if self._file is not None:
            self._file.finish()

    def _close_file(self) -> None:
        if self._file is not None and not self._live():
            self._file.close()

    def _drop_if_stalled(self, feeder: _Feeder) -> None:
        limit = self._stalled + (self.taken / _COMMIT_RATE if feeder.committing else 0.0)
        if feeder.live and feeder.silent_for() > limit:
            feeder.drop(
                StoreUnavailable(
                    f"store {feeder.name} has taken nothing for {limit:.0f} seconds: it hangs",
                    state="the other stores go on without it",
                    remedy="see whether its server, or the network file system below it, still answers",
                )
            )

    def _demand_one(self) -> None:
        if not self._live():
            raise self._all_failed()

    def _all_failed(self) -> StoreError:
        failed = self._failed()
        if len(failed) == 1:
            return next(iter(failed.values()))
        kind = StoreUnavailable if failed and all(error.transient for error in failed.values()) else StoreError
        told = "; ".join(error.message for error in failed.values())
        return kind(f"no store took the snapshot: {told}", state="there is no new snapshot")


def _differs(name: str, found: Stored, size: int, sha256: str) -> StoreError:
    return StoreCorrupt(
        f"store {name} says that it took {found.bytes} bytes with the SHA-256 {found.sha256[:12]}..., but {size} with "
        f"{sha256[:12]}... were sent",
        state="that object has no manifest, so it is no snapshot",
        remedy="see what stands between this machine and the store",
    )
