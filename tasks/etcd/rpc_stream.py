"""The stream of a snapshot: as long as it takes, but never silent for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from tasks.etcd.rpc_errors import explained


class SnapshotStream:
    """The bytes of a snapshot as the member sends them, about 32 KiB at a time, its checksum (32 bytes) last.

    It has no deadline: a large database, or a slow reader, takes its time. But the member must not be silent for longer
    than the idle timeout while more is asked for. Close it, or use it as a context manager: the member keeps a read
    transaction open until then.

    Args:
        begin: Starts the call.
        where: The endpoint, for messages.
        host: The host's name, for messages.
        idle_timeout: Seconds.
    """

    def __init__(self, begin: Callable[[], Any], where: str, host: str | None, idle_timeout: float) -> None:
        self._begin = begin
        self._where = where
        self._host = host
        self._idle = idle_timeout
        self._call: Any = None
        self._asked: float | None = None
        self._ended = threading.Event()
        self.received = 0
        self.remaining: int | None = None
        """Bytes that the member has yet to send, as it says; None before the first piece. Checksum not included."""
        self.storage_version = ""
        """Of the data (``3.6.0``), from etcd 3.6 on."""

    def __enter__(self) -> SnapshotStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        """The pieces, once.

        Raises:
            TransientHostError: The member died, was cut off or fell silent. What came so far is of no use.
        """
        timeout = self._idle
        with explained("snapshot", self._where, self._host, timeout):
            try:
                self._call = self._begin()
                threading.Thread(target=self._watch, name="snapshot-idle", daemon=True).start()
                while (message := self._next()) is not None:
                    self.remaining = message.remaining_bytes
                    self.storage_version = message.version or self.storage_version
                    self.received += len(message.blob)
                    yield message.blob
            finally:
                self.close()

    def close(self) -> None:
        """End the stream; the member lets go of its read transaction."""
        self._ended.set()
        if self._call is not None:
            self._call.cancel()

    def _next(self) -> Any:
        self._asked = time.monotonic()
        try:
            return next(self._call, None)
        finally:
            self._asked = None

    def _watch(self) -> None:
        """Cancel the call when the member has been silent; a reader that takes its time is none of its fault."""
        while not self._ended.wait(min(1.0, self._idle / 4)):
            asked = self._asked
            if asked is not None and time.monotonic() - asked > self._idle:
                self._call.cancel()
                return
