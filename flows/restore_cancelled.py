"""What Prefect does when a restore's run was cancelled or has crashed: it tells how things stand, and changes nothing.

Prefect calls hooks by keyword, with exactly these names; of a cancelled run in the process that serves the deployment.
"""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger

from flows.prepare import load
from flows.report import artifact_key
from flows.restore_stands import how_it_stands


def tell_how_it_stands(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Ask the hosts; write it into the run's log and an artifact."""
    called = str(flow_run.parameters["cluster"])
    cluster = load(called)
    lines = how_it_stands(cluster, called)
    logger = flow_run_logger(flow_run, flow)
    for line in lines:
        logger.warning(line)
    text = "\n".join([f"# Restore of {cluster.name}: {state.name}", "", "```", *lines, "```", ""])
    with get_client(sync_client=True) as client:
        client.create_artifact(
            ArtifactCreate(
                key=artifact_key("restore", cluster.name),
                type="markdown",
                description=f"How the restore of {cluster.name} stands",
                data=text,
                flow_run_id=flow_run.id,
            )
        )
