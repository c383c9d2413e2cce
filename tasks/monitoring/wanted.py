"""What has to be on a monitoring host for one cluster: files, by program. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.cluster.spec import Cluster
from tasks.cluster.spec_monitoring import TEXTFILE_DIRECTORY, Watch
from tasks.errors import InputError
from tasks.hosts.facts import FileFact
from tasks.monitoring import alertmanager, grafana_host, prometheus
from tasks.monitoring.actions import ConfigFile
from tasks.monitoring.alertmanager import SecretFile
from tasks.monitoring.programs import (
    ALERTMANAGER,
    GRAFANA,
    NOTES,
    PROGRAMS,
    PROMETHEUS,
    Program,
    main_config,
    note,
    programs_of,
    release_of,
)
from tasks.monitoring.scrape import tls_directory
from tasks.monitoring.textfile import file_name
from tasks.monitoring.units import render_unit
from tasks.monitoring.web import OPEN_NAMES, SECRET_NAMES, WebInputs, client_file, server_file

#: Those that have TLS and a login by the exporter toolkit, and a tool that speaks to them.
SERVERS = (PROMETHEUS, ALERTMANAGER)


#: Main files under all names that we give them.
MAINS = tuple(f"{one.etc}/{name}.yml" for one in SERVERS for name in (one.service, "etcd-flows"))


def ours(seen: FileFact) -> bool:
    """Whether we have written that file, by its first line."""
    return seen.content is not None and b"Written by etcd-flows" in seen.content


@dataclass(frozen=True)
class Inputs:
    """What the plan depends on beside cluster file and facts.

    Args:
        own_rules: The operator's rule files: content by path.
        secrets: SHA-256 of all secrets, by path on the monitoring host.
        web: TLS and login.
        grafana_password: SHA-256 of the password of Grafana's that is kept in the state directory; empty for none.
    """

    own_rules: Mapping[str, str]
    secrets: Mapping[str, str]
    web: WebInputs = field(default_factory=WebInputs)
    grafana_password: str = ""


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
    for path in sorted(secret.path for secret in alertmanager.secret_files(cluster, watch)):
        text.update(f"\0{path}\0{inputs.secrets[path]}".encode())
    return f"{text.hexdigest()}\n"


def fact_paths(cluster: Cluster) -> tuple[frozenset[str], frozenset[str]]:
    """Paths to look at: (existence and checksum, content too)."""
    watch = watch_of(cluster)
    contents = {*MAINS, record_path(cluster)}
    contents.add(alertmanager.part_path(cluster.name))
    contents |= {f"{PROMETHEUS.clusters}/{name}" for name in prometheus.cluster_files(cluster, _numbered(watch))}
    stat = {f"{TEXTFILE_DIRECTORY}/{file_name(cluster.name)}"}
    stat |= {secret.path for secret in alertmanager.secret_files(cluster, watch)}
    for one in SERVERS:
        stat |= {f"{one.etc}/{name}" for name in SECRET_NAMES}
        contents |= {f"{one.etc}/{name}" for name in OPEN_NAMES}
    contents |= {one.unit_file for one in PROGRAMS}
    for one in programs_of(watch):
        version = release_of(watch, one).version
        contents.add(one.receipt(version))
        stat |= {note(one), one.data, *(one.binary(version, name) for name in one.product.programs)}
    if watch.grafana:
        contents.add(grafana_host.INI)
        stat |= {grafana_host.PASSWORD, grafana_host.SECRET_KEY, *grafana_host.WEB_FILES}
        stat |= set(grafana_host.files(watch, "")) - contents
    client = client_paths(cluster)
    if client:
        stat.add(client[0])
        contents |= set(client[1:]) | {client[1].replace("client.crt", "ca.crt")}
    return frozenset(stat), frozenset(contents)


def _numbered(watch: Watch) -> dict[str, str]:
    """As many rule files as the operator has, when only their names matter."""
    return {str(path): "" for path in watch.rules}


def web_secrets(watch: Watch) -> tuple[SecretFile, ...]:
    """The secrets of TLS and login, and where they are kept."""
    servers = SERVERS if watch.grafana is None else (*SERVERS, GRAFANA)
    found = [SecretFile(f"{one.etc}/web.key", watch.web.key) for one in servers if watch.web.key]
    asking = (PROMETHEUS,) if watch.grafana is None else (PROMETHEUS, GRAFANA)
    if watch.web.password:
        found += [SecretFile(f"{one.etc}/web.password", watch.web.password) for one in asking]
    return tuple(found)


def _web(watch: Watch, one: Program, inputs: WebInputs) -> list[ConfigFile]:
    """Files about TLS and login; what speaks to both of them has its files with Prometheus."""
    if not watch.web.wanted:
        return []
    found = [ConfigFile(f"{one.etc}/web.yml", server_file(watch, inputs).encode(), 0o640, one.service)]
    if inputs.certificate:
        found.append(ConfigFile(f"{one.etc}/web.crt", inputs.certificate))
    found += _closed(watch, one)
    if one is PROMETHEUS:
        text = client_file(watch, f"{one.etc}/", inputs.name)
        found.append(ConfigFile(f"{one.etc}/client.yml", text.encode(), 0o640, one.service))
    return found


def _closed(watch: Watch, one: Program) -> list[ConfigFile]:
    """The program's own copies of the secrets of TLS and login."""
    mine = [secret for secret in web_secrets(watch) if secret.path.startswith(f"{one.etc}/")]
    return [ConfigFile(secret.path, None, 0o640, one.service, secret.ref) for secret in mine]


def files_of(
    cluster: Cluster, one: Program, inputs: Inputs, parts: Mapping[str, str], ca: bytes | None
) -> tuple[ConfigFile, ...]:
    """All files of a program that this run looks after.

    Args:
        parts: Of Alertmanager's configuration, by path on the host; this cluster's is among them.
        ca: Certificate that the members' metrics over https are checked against.
    """
    watch = watch_of(cluster)
    unit = ConfigFile(one.unit_file, render_unit(watch, one).encode())
    if one is PROMETHEUS:
        own = prometheus.cluster_files(cluster, inputs.own_rules)
        named = {f"{one.clusters}/{name}": text for name, text in own.items()}
        named[main_config(watch, one)] = prometheus.main_file(watch, inputs.web.name)
        found = [ConfigFile(path, text.encode()) for path, text in named.items()]
        client = client_paths(cluster)
        if client and ca:
            found.append(ConfigFile(client[1].replace("client.crt", "ca.crt"), ca))
        return (*found, *_web(watch, one, inputs.web), unit)
    if one is ALERTMANAGER:
        path = alertmanager.part_path(cluster.name)
        whole = alertmanager.main_file(parts)
        group = one.service
        return (
            *(ConfigFile(s.path, None, 0o640, group, s.ref) for s in alertmanager.secret_files(cluster, watch)),
            ConfigFile(path, parts[path].encode(), 0o640, group),
            ConfigFile(main_config(watch, one), whole.encode(), 0o640, group),
            *_web(watch, one, inputs.web),
            unit,
        )
    if one is GRAFANA:
        found = [ConfigFile(path, text.encode()) for path, text in grafana_host.files(watch, inputs.web.name).items()]
        if inputs.web.certificate:
            found.append(ConfigFile(grafana_host.WEB_FILES[0], inputs.web.certificate))
        return (*found, *_closed(watch, one), unit)
    return (unit,)
