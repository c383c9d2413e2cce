"""report-cut-off-run: write on a restore's run that was cut off how its cluster stands, and how to go on.

Started by automations (:mod:`deployments.lost_runs`): after a hook has told how things stand, which it can't write on
the state, since Prefect sets that after the hooks; and when a run was lost with its worker, where no hook was left.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, State

from flows.alive import LOOK
from flows.ending import LONGEST, ends_in_state
from flows.report import reporting
from flows.restore_cancelled import HOW, say_how_it_stands

#: Begins the message of a state on which it was written.
TOLD = "how the cluster stands: "
#: Prefect's name of the flow of whose runs it is told.
RESTORE = "disaster-restore"
#: Seconds for the end of a run that is being cancelled; Prefect kills its process after 30.
PATIENCE = 90.0
#: Seconds that a run which was only taken for lost gets to put its state right.
GRACE = 3 * LOOK


@dataclass(frozen=True)
class Reported:
    """What was written.

    Args:
        text: For people.
    """

    text: str
    exit_code: int = 0

    def as_text(self) -> str:
        """The same."""
        return self.text


@flow(
    name="report-cut-off-run",
    flow_run_name="say how the cluster stands after run {run}",
    persist_result=False,
)
@ends_in_state
def report_cut_off_run(run: str) -> Reported:
    """Write on a restore's run that was cancelled or has crashed how its cluster stands; an automation starts this.

    Args:
        run: Id of the run of disaster-restore.
    """
    with reporting(), get_client(sync_client=True) as client:
        found = _ended(client, UUID(run))
        told = _told_already(client, found)
        if not told and found.state is not None and found.state.is_crashed():
            time.sleep(GRACE)
            found = client.read_flow_run(found.id)
        state = found.state
        if state is None or not (state.is_crashed() or state.is_cancelled()):
            return Reported("it goes on, or has ended otherwise: there is nothing to say")
        if client.read_flow(found.flow_id).name != RESTORE:
            return Reported("it was no restore: run it again, it carries on from what it finds on the hosts")
        text = told or say_how_it_stands(found, state.name or "", "report")
        message = "\n".join(part for part in (f"{TOLD}{text}", state.message) if part)[:LONGEST]
        again: State[None] = State(type=state.type, name=state.name, message=message)
        client.set_flow_run_state(found.id, again, force=True)
        return Reported(text)


def _ended(client: SyncPrefectClient, run: UUID) -> FlowRun:
    """The run, once it is not just being cancelled any more; a hook tells of it a little earlier."""
    until = time.monotonic() + PATIENCE
    while True:
        found = client.read_flow_run(run)
        if found.state is None or not found.state.is_cancelling() or time.monotonic() > until:
            return found
        time.sleep(1)


def _told_already(client: SyncPrefectClient, run: FlowRun) -> str:
    """What the hook has told, if there was one to run it."""
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    for artifact in client.read_artifacts(artifact_filter=wanted):
        if (artifact.description or "").startswith(HOW):
            points = [line for line in str(artifact.data).splitlines() if line.lstrip().startswith("* ")]
            return "\n".join(line.replace("* ", "", 1) for line in points)
    return ""
