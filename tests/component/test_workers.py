"""Beyond one machine: backups of many clusters queue on PostgreSQL; two workers share them, one is killed.

``ETCD_FLOWS_TEST_BACKUPS=50`` makes it 50 clusters instead of four; it then tells its figures (``pytest -s``).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.component.test_serve import free_ports
from tests.e2e.conftest import PrefectServer
from tests.postgresql import Database, postgresql
from tests.processes import family

pytestmark = [pytest.mark.component, pytest.mark.slow]

COUNT = int(os.environ.get("ETCD_FLOWS_TEST_BACKUPS", "4"))
CLI = (sys.executable, "-m", "deployments.cli")
ROOT = Path(__file__).parents[2]

# Silence is noticed sooner than the two minutes (and five) of the product; Prefect's least is a beat in 30 seconds.
NOTICE_SOON = """
from datetime import timedelta
from prefect.client.orchestration import get_client
from deployments.automations import PREFIX, register_automations
from deployments.lost_runs import lost_runs
with get_client(sync_client=True) as client:
    register_automations(client, lost_runs(PREFIX, timedelta(seconds=45), timedelta(seconds=75)), "")
"""

# What is to be done where a page of the server's list holds few, and where the runs are to be another pool's.
PLANNED = """
import json, os
from prefect.client.orchestration import get_client
from deployments import registry
from deployments.declared import declared
from deployments.served_clusters import served_clusters
registry._PAGE = 2
wanted = declared(served_clusters(os.environ))
with get_client(sync_client=True) as client:
    plans = [registry.plan_registration(client, wanted, pool).changes for pool in ("etcd-flows", "others")]
print(json.dumps(plans))
"""


@dataclass
class Site:
    """Cluster files, their one etcd member, a Prefect server, workers."""

    directory: Path
    server: PrefectServer
    database: Database
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "ETCD_FLOWS_CLUSTERS": str(self.directory / "clusters"),
            "HOME": str(self.directory),
            "PREFECT_HOME": str(self.directory / "client"),
            "PREFECT_API_URL": self.server.url,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
        }

    def describe(self, mirror: Path) -> list[str]:
        """Cluster files: all of one real member, each with a name, locks and a store of its own."""
        client, peer, metrics = free_ports(3)
        (self.directory / "clusters").mkdir()
        names = ["real", *(f"c{number:02}" for number in range(1, COUNT))]
        for name in names:
            host = {"name": "etcd-01", "address": "127.0.0.1", "prefix": str(self.directory / "hosts" / name)}
            ports = {"client_port": client, "peer_port": peer, "metrics_port": metrics}
            document = {
                "name": name,
                "hosts": [{**host, **ports, "connection": "local", "service": "supervisor"}],
                "ssh": {"sudo": "none"},
                "etcd": {"release": {"source": str(mirror), "cache": str(self.directory / "cache")}},
                "pki": {"state_dir": str(self.directory / "operator")},
                "snapshots": {
                    "schedule": "0 0 1 * *",
                    "stores": [{"name": "local", "directory": str(self.directory / "backups")}],
                },
            }
            (self.directory / "clusters" / f"{name}.yaml").write_text(yaml.safe_dump(document))
        return names

    def run(self, *words: str) -> str:
        done = subprocess.run(
            words, env=self.environ, cwd=ROOT, capture_output=True, text=True, timeout=300 + 10 * COUNT
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def start_worker(self, name: str) -> subprocess.Popen[bytes]:
        words = ["-m", "prefect", "worker", "start", "--pool", "etcd-flows", "--type", "process", "--limit", "2"]
        with (self.directory / f"{name}.log").open("wb") as log:
            made = subprocess.Popen(
                [sys.executable, *words, "--name", name],
                env=self.environ,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(made)
        return made

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.server.url}{path}", data, {"content-type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def runs(self, *, begun: bool = True) -> list[dict[str, Any]]:
        """Backups that have begun, or that the schedule has planned."""
        states = {"not_any_": ["SCHEDULED"]} if begun else {"any_": ["SCHEDULED"]}
        wanted = {"flow_runs": {"state": {"type": states}}, "flows": {"name": {"any_": ["snapshot-backup"]}}}
        found: list[dict[str, Any]] = self.ask("/flow_runs/filter", wanted)
        return found


def kill(worker: subprocess.Popen[bytes]) -> None:
    """As if its machine had lost its power."""
    for pid in family(worker.pid):
        os.kill(pid, signal.SIGKILL)
    worker.wait(30)


def has_a_running_run(site: Site, worker: subprocess.Popen[bytes]) -> bool:
    mine = set(family(worker.pid))
    running = [run for run in site.runs() if run["state_type"] == "RUNNING"]
    return any(int(str(run["infrastructure_pid"] or ":0").rpartition(":")[2]) in mine for run in running)


def stopped_in_a_run(site: Site, worker: subprocess.Popen[bytes]) -> bool:
    """Stop it where it stands; whether one of its runs is in the middle then, and so can't end before it is killed."""
    if not has_a_running_run(site, worker):
        return False
    stopped = family(worker.pid)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(0.5)  # for what was under way to the server
    if has_a_running_run(site, worker):
        return True
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    return False


@dataclass
class Figures:
    """What it takes, seen from outside while it goes on: peaks of memory in MB, seconds of CPU.

    Args:
        families: First processes, by what they are; a worker's runs are told apart from it.
    """

    families: dict[str, int]
    peaks: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        """Once; what ended between two looks is in its parent's CPU time."""
        for name, pid in self.families.items():
            with contextlib.suppress(OSError):  # one that has just ended
                first, *others = family(pid)
                self._peak(name, _resident(first))
                self._peak(f"{name}: largest child", max((_resident(each) for each in others), default=0))
                self._peak(f"{name}: all", sum(_resident(each) for each in (first, *others)))
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self.seconds[name] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def _peak(self, name: str, pages: int) -> None:
        self.peaks[name] = max(self.peaks.get(name, 0), pages * os.sysconf("SC_PAGE_SIZE") >> 20)


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


@pytest.fixture
def site(etcd_release_dir: Path) -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="efl-many-", dir="/tmp"))
    (directory / "server").mkdir()
    with postgresql() as database:
        server = PrefectServer(directory / "server", PREFECT_API_DATABASE_CONNECTION_URL=database.url)
        made = Site(directory, server, database)
        try:
            made.server.wait_ready()
            yield made
        finally:
            for worker in made.workers:
                if worker.poll() is None:
                    kill(worker)
            made.server.stop()
            for pid_file in (directory / "hosts").glob("*/**/supervisord.pid"):
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
            shutil.rmtree(directory, ignore_errors=True)


def test_a_killed_worker_loses_no_backup_and_doubles_none(site: Site, etcd_release_dir: Path) -> None:
    names = site.describe(etcd_release_dir)
    site.run(*CLI, "bootstrap-cluster", "real")
    deploying = time.monotonic()
    site.run(*CLI, "deploy")
    deployed = time.monotonic() - deploying
    same, moved = json.loads(site.run(sys.executable, "-c", PLANNED))
    assert {*same.values()} == {"keep"}
    assert moved == dict.fromkeys(same, "change")
    site.run(sys.executable, "-c", NOTICE_SOON)
    began = time.monotonic()
    wanted = {}
    for name in names:
        deployment = site.ask(f"/deployments/name/snapshot-backup/{name}")["id"]
        started = site.ask(f"/deployments/{deployment}/create_flow_run", {"parameters": {"kind": "scheduled"}})
        wanted[started["id"]] = name
    victim, _ = site.start_worker("first"), site.start_worker("second")
    figures = Figures({"server": site.server.pid, "postgresql": site.database.pid, "worker": site.workers[1].pid})
    half = time.monotonic() + 600 + 15 * COUNT
    enough = COUNT / 3 if COUNT > 8 else 0
    while sum(run["state_type"] == "COMPLETED" for run in site.runs()) < enough or not stopped_in_a_run(site, victim):
        assert time.monotonic() < half, (site.directory / "first.log").read_text()
        figures.look()
        time.sleep(0.05)
    kill(victim)
    killed = time.monotonic()

    until = time.monotonic() + 300 + 15 * COUNT
    while sum(run["state_type"] == "COMPLETED" for run in site.runs()) < COUNT:
        states = Counter(run["state_name"] for run in site.runs())
        assert not {"Failed", "Crashed"} & set(states), [run["state"]["message"] for run in site.runs()]
        assert time.monotonic() < until, (states, site.server.log.read_text()[-3000:])
        figures.look()
        time.sleep(0.5)
    ended = time.monotonic()
    size = site.database.ask("SELECT pg_size_pretty(pg_database_size('postgres'))")
    print(f"{figures.peaks} MB, {figures.seconds} s of CPU, database {size}")
    print(f"{len(same)} deployments registered in {deployed:.0f} s")
    print(f"{COUNT} backups: killed after {killed - began:.0f} s, all done {ended - began:.0f} s")
    histories = {run: [each["name"] for each in site.ask(f"/flow_run_states/?flow_run_id={run}")] for run in wanted}
    lost = [run for run, history in histories.items() if "Lost" in history]
    assert lost, histories
    assert {run["id"] for run in site.runs()} == set(wanted), "no run was added"
    planned = Counter(run["deployment_id"] for run in site.runs(begun=False) if run["auto_scheduled"])
    assert len(planned) == COUNT, "the schedules of all clusters have runs to come"
    for name in names:
        assert len([*(site.directory / "backups" / name).rglob("manifests/*.json")]) == 1, name
