"""disaster-restore as people start it in the UI: registered by `deploy`, run by a worker; and the API that the UI uses.

Prefect's times are shortened: a place in a concurrency limit has to be renewed every 3 seconds instead of every 225.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from flows.report_cut_off_run import TOLD
from tests.e2e.conftest import PrefectServer
from tests.lab.system import wait_until
from tests.loopback import CLI, NAMES, Loopback
from tests.processes import family

#: Run by each Python of the worker: shortens times, and stops a run at an event, or before it runs ("start"), until the
#: file that names it is gone.
CUSTOMIZED = """
import os, sys, time
from pathlib import Path
point = Path(os.environ["ETCD_FLOWS_TEST_POINT"])
def stop_at(here):
    if point.exists() and point.read_text() == here:
        point.with_name("there").touch()
        while point.exists():
            time.sleep(0.02)
if "prefect" in " ".join(sys.orig_argv):
    if "prefect.engine" in sys.orig_argv:
        stop_at("start")
    from tasks.reporting import progress
    progress._listeners.append(lambda event: stop_at(f"{event.kind}/{event.host}/{event.step}"))
    from prefect.concurrency import _leases
    _leases._RENEWAL_FRACTION = 0.01
"""


def customize(directory: Path) -> str:
    """Write it there; returns the directory, for PYTHONPATH."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(CUSTOMIZED)
    return str(directory)


class Deployed:
    """The deployment, and the API that the UI uses."""

    def __init__(self, server: PrefectServer, members: Loopback) -> None:
        self.members = members
        self.url = server.url
        self.worker: subprocess.Popen[bytes] | None = None
        self.point = members.root / "point" / "event"
        self.point.parent.mkdir()
        self.customized = customize(members.root / "customized")
        self.command("deploy")

    def environment(self) -> dict[str, str]:
        """Of the worker, and of commands that are about it."""
        environ = self.members.environment() | {"ETCD_FLOWS_CLUSTERS": str(self.members.root)}
        return environ | {"PREFECT_WORKER_QUERY_SECONDS": "1", "ETCD_FLOWS_TEST_POINT": str(self.point)}

    def command(self, *words: str) -> str:
        """The command line; returns what it printed."""
        done = subprocess.run(
            [*CLI, *words],
            env=self.environment(),
            cwd=self.members.root,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def start_worker(self) -> None:
        """One that takes runs at once."""
        environ = self.environment()
        environ["PYTHONPATH"] = f"{self.customized}{os.pathsep}{environ['PYTHONPATH']}"
        words = ["-m", "prefect", "worker", "start", "--pool", "etcd-flows", "--type", "process"]
        with self.log.open("ab") as log:
            self.worker = subprocess.Popen(
                [sys.executable, *words],
                cwd=self.members.root,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self) -> Path:
        """What the worker and the runs say."""
        return self.members.root / "worker.log"

    def kill_worker(self) -> None:
        """With all that it runs, as if its machine had lost its power."""
        assert self.worker
        for pid in family(self.worker.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.worker.wait(30)

    def stop(self) -> None:
        """Without waiting for runs that still go on."""
        if self.worker and self.worker.poll() is None:
            self.kill_worker()

    def stop_at(self, event: str) -> None:
        """Runs that come to this event stop there until the file is removed, as do those stopped elsewhere."""
        self.there.unlink(missing_ok=True)
        self.point.with_name("new").write_text(event)
        self.point.with_name("new").rename(self.point)

    @property
    def there(self) -> Path:
        """Is made when a run has come to that event."""
        return self.point.with_name("there")

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """GET, or POST with a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"content-type": "application/json"})  # noqa: S310
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - our own server
                    text = answer.read()
                return json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                # its database is busy; Prefect's own clients ask again too
                if error.code != 503 or time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def heard(self, event: str, word: str) -> None:
        """An event has come in whose payload has the word in it."""

        def there() -> bool:
            found = self.ask("/events/filter", {"filter": {"event": {"name": [event]}}})["events"]
            return any(word in json.dumps(one["payload"]) for one in found)

        wait_until(f"{event} with {word}", there, 60)

    def begin(self, flow: str = "disaster-restore", **parameters: Any) -> str:
        """Have it run; returns the run's id."""
        deployment = self.ask(f"/deployments/name/{flow}/demo")["id"]
        return str(self.ask(f"/deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"])

    def state(self, run: str) -> tuple[str, str]:
        """Type and message of the run's state."""
        state = self.ask(f"/flow_runs/{run}")["state"]
        return str(state["type"]), str(state.get("message") or "")

    def wait(self, run: str, kind: str, seconds: float = 120) -> str:
        """Wait for a state; returns its message."""
        ends = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        wait_until(f"{run} is {kind}", lambda: self.state(run)[0] in {kind} | ends, seconds)
        found, message = self.state(run)
        assert found == kind, message
        return message

    def answer(self, run: str, **given: str) -> str:
        """Fill in the form; returns the API's status."""
        return str(self.ask(f"/flow_runs/{run}/resume", {"run_input": given})["status"])

    def paused(self, run: str, times: int) -> dict[str, Any]:
        """Wait until it is paused for the so-manieth time; returns the state."""

        def pauses() -> list[dict[str, Any]]:
            states = self.ask(f"/flow_run_states/?flow_run_id={run}")
            return [state for state in states if state["type"] == "PAUSED"]

        wait_until(f"{run} is paused", lambda: len(pauses()) >= times or self.state(run)[0] == "FAILED", 120)
        assert self.state(run)[0] == "PAUSED", self.state(run)
        return max(pauses(), key=lambda state: str(state["timestamp"]))

    def description(self, run: str, state: dict[str, Any]) -> str:
        """What the form says above its fields."""
        keys = state["state_details"]["run_input_keyset"]
        self.ask(f"/flow_runs/{run}/input/{keys['schema']}")
        return str(self.ask(f"/flow_runs/{run}/input/{keys['description']}"))

    def said(self, run: str, seconds: float = 120) -> str:
        """What was written on a run that was cut off: how its cluster stands."""
        wait_until(f"{run} tells how it stands", lambda: self.state(run)[1].startswith(TOLD), seconds)
        return self.state(run)[1]

    def events(self, name: str, run: str) -> list[dict[str, Any]]:
        """Payloads of our events of that name that tell of the run."""
        found = self.ask("/events/filter", {"filter": {"event": {"name": [f"etcd-flows.{name}"]}}})["events"]
        return [each["payload"] for each in found if each["payload"].get("run") == run]

    def told(self, run: str) -> str:
        """The same, in the run's artifact."""
        artifacts = self.ask("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
        (found,) = (str(found["data"]) for found in artifacts if found["key"] == "demo-restore")
        return found


def values(members: Loopback) -> set[str]:
    """What members hold for the key that the restores of these tests bring back."""
    return {members.ctl(name, "get kept --print-value-only").strip() for name in NAMES}


def locked(members: Loopback) -> bool:
    """Whether any host is."""
    return any(found.is_dir() for name in NAMES for found in members.records(name, "lock").glob("*"))
