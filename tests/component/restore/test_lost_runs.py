"""The automations for lost runs on Prefect's own server: silence after a run's end takes nothing back."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.e2e.conftest import PrefectServer
from tests.loopback import ROOT

pytestmark = [pytest.mark.component, pytest.mark.timeout(600)]

# Four runs. Two are never heard of again, one of which changes hosts; of two others a sign of life arrives when they
# have ended, as it does on a busy machine. Told is each run's history, when nothing more comes.
SILENCE = """
import json, sys, time
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Completed, Failed, Pending, Running
from deployments.automations import register_automations
from deployments.declared import TAG
from deployments.lost_runs import lost_runs

def begun(client, flow):
    made = client.create_deployment(flow_id=client.create_flow_from_name(flow), name=f"silent-{uuid4()}", tags=[TAG])
    run = client.create_flow_run_from_deployment(made, state=Pending())
    client.set_flow_run_state(run.id, Running())
    return run

def beat(client, run, flow, at):
    tag = {"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}
    of = {"prefect.resource.id": f"prefect.flow.{run.flow_id}", "prefect.resource.role": "flow"}
    client.request("POST", "/events", json=[{
        "id": str(uuid4()), "occurred": at.isoformat(), "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name},
        "related": [{**of, "prefect.resource.name": flow}, tag], "payload": {},
    }])

def names(client, run):
    return [each.name for each in sorted(client.read_flow_run_states(run.id), key=lambda each: each.timestamp)]

with get_client(sync_client=True) as client:
    for left in client.read_automations():  # by a module before this one, and with times of its own
        client.delete_automation(left.id)
    soon = lost_runs("silence: ", timedelta(seconds=10), timedelta(minutes=5))
    register_automations(client, soon, "")
    try:
        gone, restoring = begun(client, "snapshot-backup"), begun(client, "disaster-restore")
        for run, flow in ((gone, "snapshot-backup"), (restoring, "disaster-restore")):
            beat(client, run, flow, datetime.now(UTC))  # as each run does; states' events may be kept back for long
        ended = {}
        for state in (Completed(), Failed()):
            run = ended[state.name] = begun(client, "snapshot-backup")
            lived = datetime.now(UTC)
            client.set_flow_run_state(run.id, state)
            time.sleep(1)
            beat(client, run, "snapshot-backup", lived)
        until = time.monotonic() + 240
        while "TakenUp" not in names(client, gone) and time.monotonic() < until:
            time.sleep(0.5)
        time.sleep(20)  # what comes of the others' silence
        told = {"gone": gone, "restoring": restoring, **ended}
        print(json.dumps({name: names(client, run) for name, run in told.items()}))
    finally:
        for each in soon:
            for found in client.read_automations_by_name(each.name):
                client.delete_automation(found.id)
"""


def test_silence_of_a_run_that_has_ended_means_nothing(server: PrefectServer) -> None:
    environ = {**os.environ, "PREFECT_API_URL": server.url, "PREFECT_HOME": str(server.home / "client")}
    done = subprocess.run(
        [sys.executable, "-c", SILENCE], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "gone": ["Pending", "Running", "Lost", "TakenUp"],
        "restoring": ["Pending", "Running", "Crashed"],
        "Completed": ["Pending", "Running", "Completed"],
        "Failed": ["Pending", "Running", "Failed"],
    }
