"""``etcd-flows monitoring files``."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from deployments.errors import show_error
from tasks.cluster.load import load_cluster
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, InputError
from tasks.monitoring.grafana import GUESSED_INTERVAL, OLDEST_GRAFANA, PROVISIONING, grafana_files
from tasks.monitoring.scrape import OLDEST_PROMETHEUS, files, tls_directory


def run_files(cluster: str, directory: Path, prometheus_url: str | None, *, as_json: bool) -> int:
    """Write the files; returns the exit code."""
    try:
        spec = load_cluster(cluster).cluster
        wanted = files(spec) | grafana_files(str(directory.resolve()), prometheus_url, _interval(spec))
        changed = write(directory, wanted)
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    if as_json:
        record = {"ok": True, "directory": str(directory), "files": sorted(wanted), "changed": changed}
        click.echo(json.dumps(record, indent=2))
        return 0
    for name in sorted(wanted):
        click.echo(f"{directory / name}: {'written' if name in changed else 'as it was'}")
    click.echo(_advice(spec, directory))
    return 0


def _interval(spec: Cluster) -> str:
    """How often members are asked: as our Prometheus does, or as Grafana takes it to be."""
    watch = spec.monitoring.watch if spec.monitoring else None
    return watch.prometheus.interval if watch else GUESSED_INTERVAL


def write(directory: Path, contents: Mapping[str, str]) -> list[str]:
    """Write what differs; each file appears whole or not at all, as Prometheus may be reading. Returns the names.

    Args:
        contents: By path below the directory.

    Raises:
        InputError: The directory can't be written to.
    """
    changed = []
    try:
        for name, text in contents.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file() and path.read_text() == text:
                continue
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            with os.fdopen(handle, "w") as file:
                file.write(text)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
            changed.append(name)
    except OSError as error:
        raise InputError(
            f"{directory} can't be written to: {error.strerror or error}", remedy="choose a directory of your own"
        ) from error
    return changed


def _advice(spec: Cluster, directory: Path) -> str:
    where = directory.resolve()
    lines = [
        "",
        f"In the prometheus.yml of a Prometheus from {OLDEST_PROMETHEUS} on, if it is not there yet:",
        f"  rule_files: [{where}/*.rules.yml]",
        f"  scrape_config_files: [{where}/*.scrape.yml]",
    ]
    folder = tls_directory(spec)
    if folder:
        pki = spec.hosts[0].paths.pki_dir
        lines += [
            f"The members want a client certificate. Into {where / folder}, readable for Prometheus alone, put",
            f"  ca.crt, and metrics-etcd-client.crt and .key as client.crt and client.key, from {pki} of a member.",
        ]
    lines += [
        f"For a Grafana from {OLDEST_GRAFANA} on: copy or link what is below {where / PROVISIONING}",
        "  into its own provisioning directory, or import the dashboards by hand.",
    ]
    return "\n".join(lines)
