"""What is told when a restore's run was cancelled or has crashed: how things stand. Nothing is changed by it.

As a hook it is called by whoever sees the run end. A run that was lost with its worker has nobody; for that one, and to
write it on the run's state, :mod:`flows.report_cut_off_run` is started by an automation.
"""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger

from flows.events import TOLD_BY, tell
from flows.prepare import load
from flows.report import artifact_key
from flows.restore_stands import how_it_stands
from tasks.reporting.markdown import bullets, joined

#: Tells while the run's state is not set yet: somebody else has to write it there.
HOOK = "hook"
#: Begins the description of the artifact; that of a restore which has ended has the same key.
HOW = "How the restore"


def tell_how_it_stands(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A hook: Prefect calls it by keyword, with exactly these names."""
    say_how_it_stands(flow_run, state.name or "", HOOK)


def say_how_it_stands(run: FlowRun, state: str, by: str) -> str:
    """Ask the hosts; write it into the run's log and an artifact, and have it told to whoever wants to know.

    Args:
        run: Of disaster-restore.
        state: How it ended.
        by: Who tells.

    Returns:
        What was told, a few lines.
    """
    called = str(run.parameters["cluster"])
    cluster = load(called)
    lines = how_it_stands(cluster, called)
    logger = flow_run_logger(run)
    for line in lines:
        logger.warning(line)
    text = "\n".join(lines)
    with get_client(sync_client=True) as client:
        client.create_artifact(
            ArtifactCreate(
                key=artifact_key("restore", cluster.name),
                type="markdown",
                description=f"{HOW} of {cluster.name} stands",
                data=joined(f"# Restore of {cluster.name}: {state.lower()}", bullets(lines)),
                flow_run_id=run.id,
            )
        )
    payload = {"run": str(run.id), "state": state, "how": text}
    tell("restore.interrupted", cluster.name, payload, {TOLD_BY: by})
    return text
