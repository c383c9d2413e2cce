"""``etcd-flows monitoring``: the words of it. Nothing heavy is imported before a command runs; Prefect not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from deployments.cli_help import Whole
from deployments.cli_options import cluster_argument


@click.group(cls=Whole)
def monitoring() -> None:
    """What watches a cluster: alert rules and scrape targets for Prometheus."""


@monitoring.command()
@cluster_argument
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def files(cluster: str, directory: Path, as_json: bool) -> None:
    """Write alert rules, targets and a scrape job of a cluster into DIRECTORY, for a Prometheus of your own."""
    from deployments.monitoring_files import run_files

    sys.exit(run_files(cluster, directory, as_json=as_json))
