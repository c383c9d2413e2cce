"""``etcd-flows restore-keys``: the words of it. Nothing heavy is imported before it runs."""

from __future__ import annotations

import sys
from typing import Any

import click

from deployments.cli_help import Explained
from deployments.cli_options import cluster_argument


@click.command("restore-keys", cls=Explained)
@cluster_argument
@click.option(
    "--from",
    "--snapshot",
    "snapshot",
    default="",
    metavar="WHICH",
    help="`latest`, an id or the beginning of one, or 'before 2026-11-24T14:30'.",
)
@click.option("--key", "keys", multiple=True, help="This key; repeatable, as all that choose.")
@click.option("--prefix", "prefixes", multiple=True, help="All keys that begin so; '' for all.")
@click.option("--resource", "resources", multiple=True, help="Of Kubernetes: pods, deployments.apps, ...")
@click.option("--namespace", "-n", "namespaces", multiple=True, help="Those in it; all that is in it if alone.")
@click.option("--name", "names", multiple=True, help="Objects of this name.")
@click.option("--kubernetes-prefix", default="/registry", show_default=True, help="Of the API server (--etcd-prefix).")
@click.option(
    "--on-conflict",
    type=click.Choice(["skip", "overwrite", "fail"]),
    default="skip",
    show_default=True,
    help="For keys that have another value now: leave them, put the old value back, or refuse everything.",
)
@click.option("--delete-extra", is_flag=True, help="Delete chosen keys that the snapshot does not have.")
@click.option("--with-leased", is_flag=True, help="Also keys bound to a lease; they come back without it, to stay.")
@click.option("--plan", "plan_only", is_flag=True, help="Show what would be done; so it is anyway without --apply.")
@click.option("--apply", default="", metavar="DIGEST", help="Carry out the plan that a dry run has shown.")
@click.option("--confirm", default="", metavar="NAME", help="The cluster's name, typed; needed with --apply.")
@click.option("--store", default="", metavar="NAME", help="Only this store; all of the cluster file by default.")
@click.option("--scratch", default="", metavar="DIR", help="Where there is room for the database, twice.")
@click.option("--accept", multiple=True, metavar="WHAT", help="What is to be lived with, as refusals say; repeatable.")
@click.option("--show", default=20, show_default=True, type=click.IntRange(0), help="How many keys to show.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the report.")
@click.option("--requested-by", default="", metavar="NAME", help="Who asks for it; kept in the report.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@click.option("--verbose", "-v", is_flag=True, help="Show every step as it begins, and Prefect's own log.")
def restore_keys(cluster: str, as_json: bool, verbose: bool, plan_only: bool, **options: Any) -> None:
    """Put chosen keys of a snapshot back into the running cluster. A dry run, unless --apply names its plan."""
    if plan_only and options["apply"]:
        raise click.UsageError("--plan and --apply are opposites")
    lists = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    from deployments.runner import run_flow

    sys.exit(run_flow("restore_keys", cluster, as_json=as_json, verbose=verbose, parameters=lists))
