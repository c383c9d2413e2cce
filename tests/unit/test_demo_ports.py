"""Where the demo's members listen."""

from __future__ import annotations

import subprocess
import sys

from deployments.demo.cluster import free_ports


def test_another_demo_takes_other_ports_also_while_members_are_down() -> None:
    mine = free_ports()  # where nothing listens yet
    script = "from deployments.demo.cluster import free_ports; print(free_ports())"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert abs(int(run.stdout) - mine) >= 3
