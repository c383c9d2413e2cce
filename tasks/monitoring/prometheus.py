"""Prometheus's configuration on a monitoring host, and a cluster's files in it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from tasks.cluster.spec import Cluster
from tasks.cluster.spec_monitoring import Watch
from tasks.etcd.unit import HEAD
from tasks.monitoring.programs import ALERTMANAGER, NODE_EXPORTER, PROMETHEUS, reached
from tasks.monitoring.scrape import files
from tasks.monitoring.web import client

#: Jobs by which Prometheus watches what is beside it.
OWN_JOBS = {PROMETHEUS: "prometheus", ALERTMANAGER: "alertmanager", NODE_EXPORTER: "etcd-flows"}


def main_file(watch: Watch, name: str) -> str:
    """``prometheus.yml``: nothing about any cluster, those come with their own files.

    Args:
        name: In the certificate that Prometheus and Alertmanager show.
    """
    jobs: list[dict[str, Any]] = []
    for one, job in OWN_JOBS.items():
        entry: dict[str, Any] = {"job_name": job, "static_configs": [{"targets": [reached(watch, one)]}]}
        if one is NODE_EXPORTER:
            entry["honor_labels"] = True  # what the flows write down says itself which cluster it is about
        else:
            entry |= client(watch, "", name)
            entry["scrape_interval"] = "5s"  # a reload, and a test alert, are proved by what these say of themselves
        jobs.append(entry)
    told = {**client(watch, "", name), "static_configs": [{"targets": [reached(watch, ALERTMANAGER)]}]}
    interval = watch.prometheus.interval
    data = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "alerting": {"alertmanagers": [told]},
        "rule_files": ["clusters/*.rules.yml"],
        "scrape_config_files": ["clusters/*.scrape.yml"],
        "scrape_configs": jobs,
    }
    return f"# {HEAD}\n" + yaml.safe_dump(data, sort_keys=False, width=10_000)


def cluster_files(cluster: Cluster, own_rules: Mapping[str, str]) -> dict[str, str]:
    """The files of one cluster, by name; all begin with ``etcd-NAME.``.

    Args:
        own_rules: Rule files of the operator's own: content by name.
    """
    own = {f"etcd-{cluster.name}.own-{number}.rules.yml": text for number, text in enumerate(own_rules.values(), 1)}
    return {**files(cluster), **own}
