"""Reports of a run: Prefect's run log and artifacts, and the terminal's progress."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from tasks.findings import Finding
from tasks.hosts.shell import close_all
from tasks.plan import Plan
from tasks.reporting import findings, plans
from tasks.reporting.human import plural
from tasks.reporting.long_steps import long_steps
from tasks.reporting.markdown import bullets, joined, narrow
from tasks.reporting.progress import Event, emit, line, listening
from tasks.reporting.tables import Table
from tasks.reporting.trend import data_uri

#: Ends the name of the logger of what we say, to tell it from what Prefect says of itself.
STEPS = "steps"
_LEVELS = {"warning": logging.WARNING, "failed": logging.ERROR, "start": logging.DEBUG}


def _to_run_log(event: Event) -> None:
    try:
        logger = get_run_logger()
    except MissingContextError:
        return
    logger.getChild(STEPS).log(_LEVELS.get(event.kind, logging.INFO), line(event).strip())  # type: ignore[union-attr]


@contextmanager
def reporting() -> Iterator[None]:
    """Write progress into Prefect's run log; close all connections at the end."""
    with listening(_to_run_log), long_steps():
        try:
            yield
        finally:
            close_all()


def publish_plan(plan: Plan, place: str = "host") -> None:
    """Keep the plan as an artifact of the run, and say in one line what it is about.

    Args:
        place: What the plan's steps are on.
    """
    text, key = plans.as_markdown(plan, place), artifact_key(f"{plan.flow}-plan", plan.cluster)
    create_markdown_artifact(text, key=key, description=f"What {plan.flow} is to do")
    if not plan.empty:
        places = plural(len({step.host for step in plan.steps}), place)
        emit("info", f"plan {plan.digest[:12]}: {plural(len(plan.steps), 'step')} on {places}")


def publish_table(name: str, cluster: str, table: str, description: str, notes: Iterable[str] = ()) -> None:
    """Keep a table as an artifact of the run.

    In Markdown: Prefect's own tables hide what does not fit into the view, and all rows after the tenth.

    Args:
        table: From :func:`tasks.reporting.markdown.narrow`.
        notes: What stands below it.
    """
    create_markdown_artifact(joined(table, bullets(notes)), key=artifact_key(name, cluster), description=description)


def publish_findings(name: str, cluster: str, found: Iterable[Finding], description: str) -> None:
    """Keep findings as an artifact of the run, and below them what to do."""
    seen = tuple(found)
    remedies = (line.strip() for line in findings.remedies(cluster, seen))
    publish_table(name, cluster, narrow(findings.as_table(seen, every="all hosts")), description, remedies)


def publish_picture(name: str, cluster: str, svg: str, table: Table, description: str) -> None:
    """Keep a picture, and below it the figures, as an artifact of the run."""
    text = f"![{description}]({data_uri(svg)})\n\n{narrow(table)}\n"
    create_markdown_artifact(text, key=artifact_key(name, cluster), description=description)


def artifact_key(name: str, cluster: str) -> str:
    """Prefect allows lowercase letters, digits and dashes in artifact keys."""
    return re.sub(r"[^a-z0-9-]+", "-", f"{cluster}-{name}".lower()).strip("-")
