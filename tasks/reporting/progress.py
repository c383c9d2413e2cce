"""Progress of a run as events; whoever wants to show them listens.

The terminal listens in the command line, Prefect's run log listens inside a flow run, a test listens to know where a
run is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["phase", "start", "done", "failed", "info", "warning"]


@dataclass(frozen=True)
class Event:
    """Something happened.

    Args:
        kind: ``phase`` begins a phase; ``start``, ``done`` and ``failed`` are of a step; ``info`` and ``warning`` say
            something to people.
        text: One line without secrets.
        host: Where, if on one host.
        step: Name of the step, if of one.
        seconds: How long it took, for ``done`` and ``failed``.
    """

    kind: Kind
    text: str
    host: str | None = None
    step: str | None = None
    seconds: float | None = None
    at: float = field(default_factory=time.time)


Listener = Callable[[Event], None]

_listeners: list[Listener] = []
_lock = threading.Lock()


def emit(
    kind: Kind, text: str, *, host: str | None = None, step: str | None = None, seconds: float | None = None
) -> None:
    """Tell all listeners. Listeners run in the caller's thread, one event at a time."""
    event = Event(kind, text, host, step, seconds)
    with _lock:
        for listener in _listeners:
            listener(event)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have a listener told of every event for as long as the block runs."""
    with _lock:
        _listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            _listeners.remove(listener)


def line(event: Event) -> str:
    """One event as one line of text."""
    where = f"{event.host}: " if event.host else ""
    took = f" ({event.seconds:.1f} s)" if event.seconds is not None else ""
    match event.kind:
        case "phase":
            return f"== {event.text}"
        case "start":
            return f"   {where}{event.text} ..."
        case "done":
            return f" + {where}{event.text}{took}"
        case "failed":
            return f" ! {where}{event.text}{took}"
        case "warning":
            return f" ! {where}{event.text}"
        case _:
            return f"   {where}{event.text}"
