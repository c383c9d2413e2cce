"""What Prometheus has to scrape of a cluster: its targets and a job for them, as files. Pure.

All files of a cluster lie in one directory, named after it, and refer to one another by relative paths, so that the
directory may be anywhere. Prometheus reads the targets again by itself whenever they change (``file_sd_configs``).
"""

from __future__ import annotations

import re

import yaml

from tasks.cluster.spec import Cluster, Host, bracket
from tasks.errors import InputError
from tasks.etcd.unit import HEAD
from tasks.monitoring.rule import JOB, OWN_JOB
from tasks.monitoring.rules import rule_file

#: Prometheus that knows ``scrape_config_files`` (changelog of Prometheus, 2.43).
OLDEST_PROMETHEUS = "2.43"


def files(cluster: Cluster) -> dict[str, str]:
    """The files that a Prometheus needs, by name.

    Raises:
        InputError: The cluster file has no monitoring section.
    """
    if cluster.monitoring is None:
        raise InputError(
            f"{cluster.name} is not monitored: its cluster file has no `monitoring` section",
            state="nothing was written",
            remedy="add `monitoring: {}`, run bootstrap-cluster so that the members show metrics, then this again",
        )
    name = f"etcd-{cluster.name}"
    return {
        f"{name}.rules.yml": rule_file(cluster, cluster.monitoring.runbooks),
        f"{name}.scrape.yml": _scrape(cluster, name),
        f"{name}.targets.yml": _targets(cluster),
    }


def tls_directory(cluster: Cluster) -> str | None:
    """Beside those files, where Prometheus's client certificate has to be; None without TLS."""
    over_tls = any(host.metrics_scheme == "https" for host in cluster.hosts)
    return f"etcd-{cluster.name}.tls" if over_tls else None


def _dump(cluster: Cluster, what: str, data: object) -> str:
    head = f"# {what} of etcd cluster {cluster.name}.\n# {HEAD}\n"
    return head + yaml.safe_dump(data, sort_keys=False, width=10_000, allow_unicode=True)


def _scrape(cluster: Cluster, name: str) -> str:
    job: dict[str, object] = {"job_name": name, "scheme": cluster.hosts[0].metrics_scheme}
    folder = tls_directory(cluster)
    if folder:
        pair = {"cert_file": f"{folder}/client.crt", "key_file": f"{folder}/client.key"}
        job["tls_config"] = {"ca_file": f"{folder}/ca.crt", **pair}
    job["file_sd_configs"] = [{"files": [f"{name}.targets.yml"]}]
    jobs = [job, *_own_jobs(cluster, name)]
    return _dump(cluster, "The job" if len(jobs) == 1 else "The jobs", {"scrape_configs": jobs})


def _own_jobs(cluster: Cluster, name: str) -> list[dict[str, object]]:
    """The job for what the flows tell: of the node_exporter that reads it, nothing but this cluster's."""
    settings = cluster.monitoring
    if settings is None or settings.textfile_directory is None or settings.watch is not None:
        return []
    labels = {"job": OWN_JOB, "cluster": cluster.name}
    ours = {"source_labels": ["cluster", "__name__"], "regex": f"{re.escape(cluster.name)};etcd_flows_.+"}
    return [
        {
            "job_name": f"{name}-flows",
            "honor_labels": True,
            "params": {"collect[]": ["textfile"]},
            "static_configs": [{"targets": [settings.textfile_target], "labels": labels}],
            "metric_relabel_configs": [{**ours, "action": "keep"}],
        }
    ]


def _targets(cluster: Cluster) -> str:
    return _dump(cluster, "The members", [_target(cluster, host) for host in cluster.hosts])


def _target(cluster: Cluster, host: Host) -> dict[str, object]:
    labels = {"job": JOB, "cluster": cluster.name, "member": host.name}
    site = dict(host.labels).get("site")
    if site:
        labels["site"] = site
    return {"targets": [f"{bracket(host.metrics_address or host.loopback)}:{host.metrics_port}"], "labels": labels}
