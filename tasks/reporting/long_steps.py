"""Says of a step that takes long that it goes on, so that nobody takes a wait for the end of the program."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.reporting.progress import Event, emit, listening

#: Seconds after which a step is long, and between two words about it.
EVERY = 20.0


@contextmanager
def long_steps(every: float = EVERY) -> Iterator[None]:
    """For as long as the block runs.

    Args:
        every: See :data:`EVERY`.
    """
    steps = _Steps()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every / 4):
            for begun, seconds in steps.due(every):
                emit("info", f"{begun.text}: goes on, for {seconds:.0f} s now", host=begun.host)

    # Prefect's run log is found by the context.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(watch,), daemon=True, name="long steps")
    thread.start()
    try:
        with listening(steps):
            yield
    finally:
        over.set()
        thread.join()


class _Steps:
    """What has begun and not ended: at most one step a host, since hosts do one thing at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: dict[str | None, tuple[Event, float, float]] = {}  # with when it began, and was last told of

    def __call__(self, event: Event) -> None:
        with self._lock:
            if event.kind == "phase":  # those of the last one have ended, however they did
                self._begun.clear()
            elif event.kind == "start":
                self._begun[event.host] = (event, time.monotonic(), time.monotonic())
            elif event.kind in ("done", "failed"):
                self._begun.pop(event.host, None)

    def due(self, every: float) -> list[tuple[Event, float]]:
        """Steps of which nothing was said for so long, with the seconds that they have taken."""
        now = time.monotonic()
        with self._lock:
            found = [key for key, (_, _, told) in self._begun.items() if now - told >= every]
            for key in found:
                event, began, _ = self._begun[key]
                self._begun[key] = (event, began, now)
            return [(self._begun[key][0], now - self._begun[key][1]) for key in found]
