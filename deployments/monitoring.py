"""``etcd-flows monitoring``: the words of it. Nothing heavy is imported before a command runs; Prefect not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from deployments.cli_help import Whole
from deployments.cli_options import cluster_argument


@click.group(cls=Whole)
def monitoring() -> None:
    """What watches a cluster: alert rules and targets for Prometheus, dashboards for Grafana."""


@monitoring.command()
@cluster_argument
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--prometheus-url", metavar="URL", help="Where Grafana reaches Prometheus: writes its data source too.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def files(cluster: str, directory: Path, prometheus_url: str | None, as_json: bool) -> None:
    """Write alert rules, targets, a scrape job and dashboards into DIRECTORY, for your own Prometheus and Grafana."""
    from deployments.monitoring_files import run_files

    sys.exit(run_files(cluster, directory, prometheus_url, as_json=as_json))
