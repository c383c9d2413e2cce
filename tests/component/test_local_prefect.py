"""The Prefect server of a run for which none is configured: it costs that run little, and never outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.component

ROOT = Path(__file__).parents[2]
CLUSTER = """\
name: prod-a
hosts: [{name: etcd-01, address: 192.0.2.11}]
pki: {state_dir: ./state}
snapshots: {stores: [{name: local, directory: .}]}
"""

RUN = """
import json, sys
from deployments.cli import main
try:
    main(["prune-snapshots", sys.argv[1], "--plan", "--json"])
except SystemExit as end:
    assert end.code == 0, end.code
from deployments.local_prefect import local_prefect
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
with temporary_settings({PREFECT_API_URL: local_prefect().url}), get_client(sync_client=True) as client:
    states = [run.state.name for run in client.read_flow_runs()]
imported = [name for name in sys.modules if name.startswith(("prefect.server.api", "prefect.server.database"))]
print("=====", json.dumps([local_prefect().pid, states, imported]))
"""

HELD = """
import time
from deployments.local_prefect import local_prefect
local_prefect().wait(120)
print(local_prefect().pid, flush=True)
time.sleep(120)
"""


def environment(home: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**clean, "PREFECT_HOME": str(home), "PYTHONPATH": str(ROOT)}


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def test_a_run_does_not_import_the_server_it_starts_and_needs_no_home(tmp_path: Path) -> None:
    """At 3 a.m. the operator's home may be full, read-only, or on a server that is gone."""
    (temporary := tmp_path / "tmp").mkdir()
    file = tmp_path / "prod-a.yaml"
    file.write_text(CLUSTER)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(file)],
        cwd=tmp_path,
        env=environment(file / "prefect") | {"TMPDIR": str(temporary)},  # no directory can be made below a file
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pid, states, imported = json.loads(done.stdout.rpartition("===== ")[2])
    assert states == ["Completed"]
    assert imported == [], "that is 75 MB, and seconds"
    assert gone(pid)
    assert "can't be written to" in done.stderr
    assert list(temporary.glob("etcd-flows-prefect-*")) == []


def test_it_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    run = subprocess.Popen([sys.executable, "-c", HELD], env=environment(tmp_path), stdout=subprocess.PIPE)
    assert run.stdout
    pid = int(run.stdout.readline())
    assert not gone(pid)
    run.send_signal(signal.SIGKILL)
    run.wait()
    until = time.monotonic() + 60
    while not gone(pid):
        assert time.monotonic() < until, "the server goes on without its run"
        time.sleep(0.1)
