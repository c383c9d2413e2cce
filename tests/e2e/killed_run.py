"""The product's command line, killed with SIGKILL at one event: ``killed_run KIND/HOST/STEP VERB CLUSTER...``

Kill points are events of the plan's own steps, so they need no sleeps: ``start/etcd-01/pki`` is just before that step
touches the host, ``done/etcd-01/pki`` just after.
"""

from __future__ import annotations

import os
import signal
import sys

from tasks.reporting.progress import Event, listening


def main() -> None:
    """Run the command line with everything but the first argument."""
    point = sys.argv.pop(1)

    def kill(event: Event) -> None:
        if f"{event.kind}/{event.host}/{event.step}" == point:
            os.kill(os.getpid(), signal.SIGKILL)

    from deployments import cli

    with listening(kill):
        cli.main(prog_name="etcd-flows")


if __name__ == "__main__":
    main()
