"""Commands of the Prefect side: server, schedules, triggers; and the hosts' locks, by which all runs see each other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from deployments.cli_help import Explained, Whole
from deployments.cli_options import cluster_argument, plan_option

_pool_option = click.option("--pool", default="etcd-flows", show_default=True, help="Work pool that runs the flows.")


_notify_option = click.option(
    "--notify",
    default="",
    envvar="ETCD_FLOWS_NOTIFY",
    metavar="TYPE/NAME",
    help="Prefect notification block that is told of missed and failed backups, bad drills and ill clusters.",
)


def _complete_flow(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    from deployments.declared import OFFERED

    return [each.flow for each in OFFERED if each.flow.startswith(typed)]


@click.command(cls=Explained)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the Prefect server listens on.")
@click.option("--port", default=4200, show_default=True, help="Port that it listens on.")
@click.option("--limit", default=10, show_default=True, help="Flows that run at the same time.")
@click.option("--state", type=click.Path(path_type=Path), help="Directory for its database, credentials and logs.")
@_pool_option
@_notify_option
def serve(**options: Any) -> None:
    """Serve UI, API and schedules of all clusters on this machine, until stopped.

    Starts a Prefect server (unless PREFECT_API_URL names one), registers the deployments of all cluster files in
    $ETCD_FLOWS_CLUSTERS or ./deployments/clusters, and runs them.
    """
    from deployments.serve import Wanted, run_serve

    sys.exit(run_serve(Wanted(**options)))


@click.command(cls=Explained)
@_pool_option
@_notify_option
@plan_option
@click.option("--prefect-yaml", is_flag=True, help="Print a prefect.yaml for `prefect deploy`; ask no server.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def deploy(pool: str, notify: str, plan_only: bool, prefect_yaml: bool, as_json: bool) -> None:
    """Register the deployments of all cluster files with the Prefect server; those of removed files go."""
    from deployments.deploying import run_deploy, run_prefect_yaml

    sys.exit(run_prefect_yaml(pool) if prefect_yaml else run_deploy(pool, notify, plan_only=plan_only, as_json=as_json))


@click.command(cls=Explained)
@click.argument("flow", shell_complete=_complete_flow)
@cluster_argument
@click.option("--parameter", "-p", "words", multiple=True, metavar="NAME=VALUE", help="Of the flow; repeatable.")
@click.option("--confirm", default=None, metavar="NAME", help="The cluster's name, for flows that ask for it.")
@click.option("--idempotency-key", "key", default=None, metavar="TEXT", help="The same key is the same run.")
@click.option("--detach", is_flag=True, help="Do not wait for its end; print its id.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def trigger(
    flow: str, cluster: str, words: tuple[str, ...], confirm: str | None, key: str | None, detach: bool, as_json: bool
) -> None:
    """Start FLOW for CLUSTER through Prefect's API, show what it says, end with its exit code."""
    from deployments.errors import show_error
    from deployments.trigger import Order, parse_parameters, run_trigger
    from tasks.errors import InputError

    try:
        parameters = parse_parameters(words) | ({} if confirm is None else {"confirm": confirm})
    except InputError as error:
        sys.exit(show_error(error, as_json=as_json))
    sys.exit(run_trigger(Order(flow, cluster, parameters, key, not detach), as_json=as_json))


@click.group(cls=Whole)
def locks() -> None:
    """Who works on a cluster's hosts; and take a lock away from a run that is gone."""


@locks.command("list")
@cluster_argument
@click.option("--json", "as_json", is_flag=True, help="Print the locks as JSON on stdout.")
def locks_list(cluster: str, as_json: bool) -> None:
    """Show who holds the lock on which hosts, since when, and whether the holder lives."""
    from deployments.locks import run_list

    sys.exit(run_list(cluster, as_json=as_json))


@locks.command("release")
@cluster_argument
@click.option("--run", default="", metavar="ID", help="The run whose lock it is, as `locks list` shows it.")
@click.option("--force", is_flag=True, help="Also if the run seems to live; it then stops before its next command.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def locks_release(cluster: str, run: str, force: bool, as_json: bool) -> None:
    """Remove the lock of a dead run. A later run does that by itself, where it can tell that the holder is dead."""
    from deployments.locks import run_release

    sys.exit(run_release(cluster, run, force=force, as_json=as_json))
