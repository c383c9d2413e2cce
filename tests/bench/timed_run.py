"""The product's command line with a clock in it: ``timed_run FILE VERB CLUSTER...`` writes when its events came.

One JSON object a line: seconds since the process was started, CPU seconds used so far, kind and text of the event.
Beside the run's own events there are ``clock`` events for what every command goes through.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import sys
import time
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tasks.reporting.progress import Event, listening

_TICKS = os.sysconf("SC_CLK_TCK")


def process_age() -> float:
    """Seconds since this process was started, to a hundredth."""
    born = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19]) / _TICKS
    return time.clock_gettime(time.CLOCK_BOOTTIME) - born


def main() -> None:
    """Run the command line with everything but the first argument."""
    out = Path(sys.argv.pop(1)).open("w", buffering=1)  # noqa: SIM115 - until the process ends

    def note(kind: str, text: str) -> None:
        print(json.dumps({"at": process_age(), "cpu": time.process_time(), "kind": kind, "text": text}), file=out)

    class Watch(MetaPathFinder):
        """Finds nothing; sees when Prefect is looked for first."""

        def find_spec(self, fullname: str, *_: Any) -> None:
            if fullname == "prefect":
                note("clock", "prefect")

    def watched(name: str) -> object:
        note("clock", "import")
        module = importlib.import_module(name)
        note("clock", "imported")
        return module

    def listen(event: Event) -> None:
        note(event.kind, event.text)

    from deployments import cli, runner

    setattr(runner, "importlib", SimpleNamespace(import_module=watched))  # noqa: B010 - it is not the runner's to export
    sys.meta_path.insert(0, Watch())
    atexit.register(note, "clock", "result")
    with listening(listen):
        cli.main(prog_name="etcd-flows")


if __name__ == "__main__":
    main()
