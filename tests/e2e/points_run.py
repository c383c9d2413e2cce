"""The product's command line, which stands still at points of its plan: ``points_run DIRECTORY POINT,POINT VERB ...``

A point is ``[PHASE|]KIND/HOST/STEP``. HOST may be ``*``, the first host that gets there. PHASE is the beginning of a
phase's name, where a step occurs in several. KIND is

* ``start`` or ``done``: just before and just after the step, seen from here,
* ``sent``: the step's first command without data has been sent whole and runs on the host,
* ``half``: the step's first command with data runs on the host and has got half of the data.

At point number N the file ``N.reached`` is made in the directory, with ``HOST/STEP`` in it, and that host's thread
waits for ``N.go``; other hosts go on. What to do meanwhile is the test's business: :mod:`tests.e2e.interruptions`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tasks.hosts import wire
from tasks.reporting.progress import Event, listening


class Points:
    """Knows where each thread of the run is."""

    def __init__(self, points: list[str], directory: Path) -> None:
        self._waiting = dict(enumerate(points))
        self._directory = directory
        self._lock = threading.Lock()
        self._here = threading.local()
        self._phase = ""

    def listen(self, event: Event) -> None:
        """Follow the run by its events."""
        if event.kind == "phase":
            self._phase = event.text
        if event.step is not None:
            step = f"{event.host}/{event.step}"
            self._here.step = step if event.kind == "start" else None
            self.reach(event.kind, step)

    def sending(self, payload: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
        """What goes to a host, with a stop in the middle of a step's first command."""

        def stopping(*args: Any) -> Iterator[bytes]:
            # Called in the step's thread, read in one of the connection's.
            step, pieces = getattr(self._here, "step", None), payload(*args)
            return pieces if step is None else self._halves(list(pieces), step)

        return stopping

    def _halves(self, pieces: list[bytes], step: str) -> Iterator[bytes]:
        half = max(1, len(pieces) // 2)
        yield from pieces[:half]
        self.reach("sent" if len(pieces) == 1 else "half", step)
        yield from pieces[half:]

    def reach(self, kind: str, step: str) -> None:
        """Stand still if this is one of the points."""
        with self._lock:
            number = next((n for n, point in self._waiting.items() if self._is(point, kind, step)), None)
            if number is None:
                return
            del self._waiting[number]
        draft = self._directory / f"{number}.draft"
        draft.write_text(step)
        draft.rename(self._directory / f"{number}.reached")
        while not (self._directory / f"{number}.go").exists():
            time.sleep(0.01)

    def _is(self, point: str, kind: str, step: str) -> bool:
        phase, _, place = point.rpartition("|")
        host, _, name = step.partition("/")
        return self._phase.startswith(phase) and place in (f"{kind}/{step}", f"{kind}/*/{name}") and bool(host)


def main() -> None:
    """Run the command line with everything but the first two arguments."""
    directory, points = Path(sys.argv.pop(1)), sys.argv.pop(1).split(",")
    stops = Points(points, directory)
    wire.payload = stops.sending(wire.payload)

    from deployments import cli

    with listening(stops.listen):
        cli.main(prog_name="etcd-flows")


if __name__ == "__main__":
    main()
