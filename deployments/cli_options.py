"""What several commands share: their usual options, and running a flow."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])


def _complete_cluster(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Files, and the names of cluster files in the directories; nothing is read or imported for that."""
    listed = os.environ.get("ETCD_FLOWS_CLUSTERS", "").split(os.pathsep)
    places = [Path("deployments/clusters"), *(Path(item) for item in listed if item)]
    names = {file.stem for place in places for file in place.glob("*.y*ml")}
    items = [CompletionItem(typed, type="file")]  # first: bash's script begins anew with it
    return items + [CompletionItem(name) for name in sorted(names) if name.startswith(typed)]


cluster_argument = click.argument("cluster", shell_complete=_complete_cluster)


def common_options(command: Command) -> Command:
    """``--verbose``, ``--json`` and CLUSTER."""
    for option in (
        click.option("--verbose", "-v", is_flag=True, help="Show every step as it begins, and Prefect's own log."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."),
        cluster_argument,
    ):
        command = option(command)
    return command


plan_option = click.option("--plan", "plan_only", is_flag=True, help="Show what would be done; change nothing.")


waive_option = click.option(
    "--waive", multiple=True, metavar="CHECK", help="Go on in spite of errors of this preflight check; repeatable."
)


def run(flow: str, cluster: str, *, as_json: bool, verbose: bool, **parameters: Any) -> None:
    """Run a flow, print its result, and exit as it ended."""
    from deployments.runner import run_flow

    sys.exit(run_flow(flow, cluster, as_json=as_json, verbose=verbose, parameters=parameters))
