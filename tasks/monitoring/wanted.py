"""What has to be on a monitoring host for one cluster: files, by program. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.cluster.spec import Cluster
from tasks.cluster.spec_monitoring import Watch
from tasks.errors import InputError
from tasks.monitoring import alertmanager, prometheus
from tasks.monitoring.actions import ConfigFile
from tasks.monitoring.programs import ALERTMANAGER, NOTES, PROGRAMS, PROMETHEUS, Program, note, release_of
from tasks.monitoring.scrape import tls_directory
from tasks.monitoring.units import render_unit


@dataclass(frozen=True)
class Inputs:
    """What the plan depends on beside cluster file and facts.

    Args:
        own_rules: The operator's rule files: content by path.
        secrets: SHA-256 of the receivers' secrets, by path on the monitoring host.
    """

    own_rules: Mapping[str, str]
    secrets: Mapping[str, str]


def watch_of(cluster: Cluster) -> Watch:
    """What runs on the monitoring host.

    Raises:
        InputError: The cluster file names none.
    """
    if cluster.monitoring is None or cluster.monitoring.watch is None:
        raise InputError(
            f"{cluster.name} has no monitoring host: its cluster file has no `monitoring.host`",
            state="nothing was touched",
            remedy="add `monitoring: {host: {machine: ADDRESS}}`; for a Prometheus of your own there is "
            "`etcd-flows monitoring files`",
        )
    return cluster.monitoring.watch


def client_paths(cluster: Cluster) -> tuple[str, str, str] | None:
    """Prometheus's client key, certificate and what was noted about them; None without TLS."""
    folder = tls_directory(cluster)
    if folder is None:
        return None
    where = f"{PROMETHEUS.clusters}/{folder}"
    return f"{where}/client.key", f"{where}/client.crt", f"{where}/client.json"


def record_path(cluster: Cluster) -> str:
    """The file that says which receivers took a test alert."""
    return f"{NOTES}/etcd-{cluster.name}.told"


def record_text(cluster: Cluster, watch: Watch, inputs: Inputs) -> str:
    """Its content once the present receivers did: another one for other receivers or other secrets."""
    text = hashlib.sha256(json.dumps(alertmanager.receivers(cluster, watch), sort_keys=True).encode())
    for path in sorted(inputs.secrets):
        text.update(f"\0{path}\0{inputs.secrets[path]}".encode())
    return f"{text.hexdigest()}\n"


def fact_paths(cluster: Cluster) -> tuple[frozenset[str], frozenset[str]]:
    """Paths to look at: (existence and checksum, content too)."""
    watch = watch_of(cluster)
    contents = {f"{PROMETHEUS.etc}/prometheus.yml", f"{ALERTMANAGER.etc}/alertmanager.yml", record_path(cluster)}
    contents.add(alertmanager.part_path(cluster.name))
    contents |= {f"{PROMETHEUS.clusters}/{name}" for name in prometheus.cluster_files(cluster, _numbered(watch))}
    stat = {secret.path for secret in alertmanager.secret_files(cluster, watch)}
    for one in PROGRAMS:
        version = release_of(watch, one).version
        contents |= {one.unit_file, one.receipt(version)}
        stat |= {note(one), one.data, *(f"{one.home(version)}/{name}" for name in one.product.programs)}
    client = client_paths(cluster)
    if client:
        stat.add(client[0])
        contents |= set(client[1:]) | {client[1].replace("client.crt", "ca.crt")}
    return frozenset(stat), frozenset(contents)


def _numbered(watch: Watch) -> dict[str, str]:
    """As many rule files as the operator has, when only their names matter."""
    return {str(path): "" for path in watch.rules}


def files_of(
    cluster: Cluster, one: Program, inputs: Inputs, parts: Mapping[str, str], ca: bytes | None
) -> tuple[ConfigFile, ...]:
    """All files of a program that this run looks after.

    Args:
        parts: Of Alertmanager's configuration, as found on the host.
        ca: Certificate that the members' metrics over https are checked against.
    """
    watch = watch_of(cluster)
    unit = ConfigFile(one.unit_file, render_unit(watch, one).encode())
    if one is PROMETHEUS:
        own = prometheus.cluster_files(cluster, inputs.own_rules)
        named = {f"{one.clusters}/{name}": text for name, text in own.items()}
        named[f"{one.etc}/prometheus.yml"] = prometheus.main_file(watch)
        found = [ConfigFile(path, text.encode()) for path, text in named.items()]
        client = client_paths(cluster)
        if client and ca:
            found.append(ConfigFile(client[1].replace("client.crt", "ca.crt"), ca))
        return (*found, unit)
    if one is ALERTMANAGER:
        mine = alertmanager.part(cluster, watch)
        path = alertmanager.part_path(cluster.name)
        whole = alertmanager.main_file({**parts, path: mine})
        group = one.service
        return (
            *(ConfigFile(s.path, None, 0o640, group, s.ref) for s in alertmanager.secret_files(cluster, watch)),
            ConfigFile(path, mine.encode(), 0o640, group),
            ConfigFile(f"{one.etc}/alertmanager.yml", whole.encode(), 0o640, group),
            unit,
        )
    return (unit,)
