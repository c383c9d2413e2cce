"""What several commands share: their usual options, and running a flow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def common_options(command: Command) -> Command:
    """``--verbose``, ``--json`` and CLUSTER."""
    for option in (
        click.option("--verbose", "-v", is_flag=True, help="Show every step as it begins, and Prefect's own log."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."),
        click.argument("cluster"),
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
