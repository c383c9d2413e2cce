"""Restores from the UI that are cancelled, lost with their worker, or taken for lost: the cluster stays safe, how it
stands is said, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.component.restore.deployed import Deployed, locked, values
from tests.component.test_serve import SAVE_BLOCK, Webhook
from tests.e2e.conftest import PrefectServer
from tests.lab.system import wait_until
from tests.loopback import NAMES, ROOT, Loopback

pytestmark = [pytest.mark.component, pytest.mark.slow, pytest.mark.timeout(900)]

GO_ON = "to go on: etcd-flows disaster-restore demo --confirm demo"

# Silence is noticed sooner than the two minutes (and five) of the product; Prefect's least is a beat in 30 seconds.
NOTICE_SOON = """
from datetime import timedelta
from prefect.client.orchestration import get_client
from deployments.automations import PREFIX, declared, register_automations
from deployments.lost_runs import lost_runs
from deployments.registry import reporter
with get_client(sync_client=True) as client:
    told = reporter(client)
    soon = lost_runs(PREFIX, timedelta(seconds=45), timedelta(seconds=75), reporter=told)
    names = {each.name for each in soon}
    others = [each for each in declared({}, told) if each.name not in names]
    register_automations(client, (*others, *soon), "custom-webhook/on-call")
"""


def python(deployed: Deployed, script: str, *words: str) -> None:
    argv = [sys.executable, "-c", script, *words]
    subprocess.run(argv, env=deployed.environment(), cwd=ROOT, timeout=120, check=True)


def cancel(deployed: Deployed, run: str) -> None:
    """As the UI's button does."""
    deployed.ask(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})


def restore(deployed: Deployed) -> str:
    return deployed.begin(confirm="demo", again=True, accept=["no-safety-snapshot"])


def test_cancelled_before_its_approval(deployed: Deployed) -> None:
    """And one that the server takes for lost while it waits stands there again, and can be answered."""
    members = deployed.members
    before = members.pids()
    run = deployed.begin(requested_by="night shift")
    deployed.paused(run, 1)
    lost = {"type": "CRASHED", "name": "Crashed", "message": "its worker went away"}
    deployed.ask(f"/flow_runs/{run}/set_state", {"state": lost})
    assert "to be approved" not in deployed.description(run, deployed.paused(run, 2))
    wait_until("it says that it lives", lambda: bool(deployed.events("run.lives", run)), 60)
    assert deployed.answer(run, cluster="prod-a", reason="a test") == "ACCEPT", "the form is the one it had"
    assert "'prod-a' was typed" in deployed.description(run, deployed.paused(run, 3))
    cancel(deployed, run)
    deployed.wait(run, "CANCELLED", 150)
    assert "no restore is under way" in deployed.said(run)
    assert "nothing was stopped" in deployed.told(run)
    assert members.pids() == before
    assert not any(members.records(name, "restore").exists() for name in NAMES)


def test_cancelled_when_all_are_stopped(deployed: Deployed) -> None:
    members = deployed.members
    deployed.stop_at(f"done/{NAMES[1]}/hold")
    run = restore(deployed)
    wait_until("the run is there", deployed.there.exists, 120)
    wait_until("all are stopped", lambda: not members.pids(), 60)
    cancel(deployed, run)
    wait_until("the lock is free", lambda: not locked(members), 60)
    deployed.point.unlink()
    deployed.wait(run, "CANCELLED", 150)
    said = deployed.said(run)
    assert said.count("stopped and held, set to its former data") == len(NAMES), said
    assert GO_ON in said
    assert deployed.told(run).count("stopped and held, set to its former data") == len(NAMES)
    assert not members.pids(), "nothing was started since"
    again = restore(deployed)
    deployed.wait(again, "COMPLETED")
    assert values(members) == {"before"}


def test_cancelled_in_the_middle(deployed: Deployed) -> None:
    """The first restored member is frozen, so the run can't get on; what it was cancelled in stays as it is."""
    members = deployed.members
    before = members.pids()[NAMES[0]]
    run = restore(deployed)
    frozen = freeze_first(members, before)
    try:
        cancel(deployed, run)
        deployed.wait(run, "CANCELLED", 150)
        there = members.pids()
        assert there[NAMES[0]] == frozen
        assert NAMES[2] not in there, "it is started last, and was not yet"
        assert members.records(NAMES[2], "hold").exists()
        assert members.records(NAMES[2], "restore/record.json").exists()
    finally:
        os.kill(frozen, signal.SIGCONT)
    told = deployed.told(run)
    assert f"{NAMES[0]}: runs on the restored data" in told
    assert f"{NAMES[2]}: stopped and held, set to the restored data" in told
    assert GO_ON in told
    assert "--go-back" in told
    assert GO_ON in deployed.said(run)
    assert members.pids() == there, "nothing was started or stopped since"
    members.run("disaster-restore", "--confirm", "demo")
    assert values(members) == {"before"}


def freeze_first(members: Loopback, before: int) -> int:
    """Stop the first member that was started on restored data; returns its process."""
    frozen: list[int] = []

    def freeze() -> bool:
        pid = members.pids().get(NAMES[0], before)
        if pid != before:
            os.kill(pid, signal.SIGSTOP)
            frozen.append(pid)
        return pid != before

    wait_until("the first restored member is there", freeze, 120)
    return frozen[0]


def test_the_server_goes_away_and_comes_back(deployed: Deployed, server: PrefectServer) -> None:
    """A backup keeps its place in its deployment's limit, a restore waits for its approval, then is in the middle."""
    members = deployed.members
    run = deployed.begin(requested_by="night shift", again=True, accept=["no-safety-snapshot"])
    deployed.paused(run, 1)
    deployed.stop_at("done/None/None")
    backup = deployed.begin("snapshot-backup")
    wait_until("the backup is there", deployed.there.exists, 120)
    restart(server)
    began = time.time()
    leases = server.home / "concurrency_leases"
    wait_until("its place is renewed", lambda: any(one.stat().st_mtime > began for one in leases.glob("*-*.json")), 120)
    deployed.point.unlink()
    deployed.wait(backup, "COMPLETED")
    deployed.stop_at(f"done/{NAMES[1]}/hold")
    assert deployed.answer(run, cluster="demo", reason="a test") == "ACCEPT"
    wait_until("the restore is there", deployed.there.exists, 120)
    wait_until("all are stopped", lambda: not members.pids(), 60)
    server.kill()
    deployed.point.unlink()
    wait_until("it has gone on without the server", lambda: NAMES[0] in members.pids(), 120)
    server.start()
    server.wait_ready()
    deployed.wait(run, "COMPLETED")
    assert values(members) == {"before"}


def restart(server: PrefectServer) -> None:
    """As after a power cut."""
    server.kill()
    server.start()
    server.wait_ready()


def test_lost_with_its_worker(deployed: Deployed) -> None:
    """In the middle, before it began, and while it was being cancelled. Who is on call hears of it, and how the cluster
    stands; another worker goes on when it is told to."""
    members = deployed.members
    webhook = Webhook()
    python(deployed, SAVE_BLOCK, webhook.url)
    python(deployed, NOTICE_SOON)
    cancelled = deployed.begin(requested_by="night shift", again=True, accept=["no-safety-snapshot"])
    deployed.paused(cancelled, 1)
    deployed.stop_at(f"done/{NAMES[2]}/hold")
    crashed = restore(deployed)
    wait_until("the run is there", deployed.there.exists, 120)
    wait_until("all are stopped", lambda: not members.pids(), 60)
    deployed.stop_at("start")
    not_begun = restore(deployed)
    wait_until("it is about to begin", deployed.there.exists, 120)
    deployed.kill_worker()
    deployed.point.unlink()
    assert deployed.state(not_begun)[0] == "PENDING"
    cancel(deployed, cancelled)
    assert "while it was being cancelled" in deployed.wait(cancelled, "CANCELLED", 240)
    deployed.start_worker()  # only now: it would see to that one
    for run, state in ((crashed, "CRASHED"), (not_begun, "CRASHED"), (cancelled, "CANCELLED")):
        said = deployed.said(run, 240)
        assert deployed.state(run)[0] == state
        assert said.count("stopped and held, set to its former data") == len(NAMES), said
        assert GO_ON in said
        assert "its worker went away" in said
        assert GO_ON in deployed.told(run)
        deployed.heard("etcd-flows.restore.interrupted", run)
    bodies = webhook.wait_for({"A run of etcd-flows was lost", "An etcd restore was cut off"})
    assert GO_ON in bodies["An etcd restore was cut off"]
    assert not members.pids(), "nobody goes on unasked"
    again = restore(deployed)
    deployed.wait(again, "COMPLETED")
    assert values(members) == {"before"}
