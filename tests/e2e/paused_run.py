"""The product's command line, stopped at one event of its run until told to go on: ``paused_run EVENT FLAG VERB ...``

EVENT is ``KIND/HOST/STEP`` as in :mod:`tests.e2e.killed_run`, or the beginning of an event's text. When it comes,
``FLAG.paused`` is made, and the run goes on as soon as FLAG is there. What it does in other threads goes on until its
next event.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tasks.reporting.progress import Event, listening


def main() -> None:
    """Run the command line with everything but the first two arguments."""
    point, flag = sys.argv.pop(1), Path(sys.argv.pop(1))
    paused = flag.with_name(f"{flag.name}.paused")

    def pause(event: Event) -> None:
        here = f"{event.kind}/{event.host}/{event.step}" == point or event.text.startswith(point)
        if not here or paused.exists():
            return
        paused.touch()
        while not flag.exists():
            time.sleep(0.01)

    from deployments import cli

    with listening(pause):
        cli.main(prog_name="etcd-flows")


if __name__ == "__main__":
    main()
