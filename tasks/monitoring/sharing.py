"""Clusters that are watched on one host and want it otherwise than one another. Pure.

The part that each cluster has of Alertmanager's configuration also says what its file wants of the host. Of versions
the newest that is installed counts, so that a run for one cluster never takes back what a run for another has put
there; an older one comes back once no file wants the newer one. All else is as the last run says, and the plan says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from tasks.cluster.spec import Cluster
from tasks.cluster.spec_monitoring import Watch
from tasks.errors import Refused
from tasks.monitoring.programs import (
    ALERTMANAGER,
    NODE_EXPORTER,
    PROMETHEUS,
    Program,
    packaged,
    programs_of,
    settings_of,
)

_KEYS = ("cluster", "routes", "receivers", "settings")


def read_part(path: str, text: str) -> dict[str, Any]:
    """A cluster's part.

    Raises:
        Refused: It is not what we have written.
    """
    try:
        read = json.loads(text)
        if isinstance(read, dict) and all(key in read for key in _KEYS):
            return read
    except ValueError:
        pass
    raise Refused(
        f"{path} is not what etcd-flows has written there",
        state="nothing was changed",
        remedy="remove that file, and run enable-monitoring again for the cluster that it is named after",
    )


def wishes(watch: Watch) -> dict[str, str]:
    """What a cluster's file wants of the host: part of its part."""
    versions = {
        one.product.name: f"{_version(watch, one)} on {settings_of(watch, one).port}" for one in programs_of(watch)
    }
    return {
        "listen_address": watch.listen_address,
        "retention": f"{watch.prometheus.retention_time} {watch.prometheus.retention_size or ''}".strip(),
        "interval": watch.prometheus.interval,
        **versions,
    }


def _version(watch: Watch, one: Program) -> str:
    return "package" if packaged(watch, one) else settings_of(watch, one).release.version


def agreed(cluster: Cluster, watch: Watch, parts: Mapping[str, str], installed: Collection[str]) -> Cluster:
    """The cluster, with the versions that its run leaves on the host.

    Args:
        watch: What its file wants.
        parts: Of all clusters on the host, by path.
        installed: Directories of releases on the host.
    """
    others = [read_part(path, text) for path, text in sorted(parts.items())]
    found = watch
    for one in programs_of(watch):
        version = _newest(watch, one, [read for read in others if read["cluster"] != cluster.name], installed)
        found = _with(found, one, version)
    if found == watch or cluster.monitoring is None:
        return cluster
    return replace(cluster, monitoring=replace(cluster.monitoring, watch=found))


def _with(watch: Watch, one: Program, version: str) -> Watch:
    release = replace(settings_of(watch, one).release, version=version)
    if one is PROMETHEUS:
        return replace(watch, prometheus=replace(watch.prometheus, release=release))
    if one is ALERTMANAGER:
        return replace(watch, alertmanager=replace(watch.alertmanager, release=release))
    if one is NODE_EXPORTER:
        return replace(watch, node_exporter=replace(watch.node_exporter, release=release))
    return replace(watch, grafana=replace(watch.grafana, release=release) if watch.grafana else None)


def _newest(watch: Watch, one: Program, others: list[dict[str, Any]], installed: Collection[str]) -> str:
    found = settings_of(watch, one).release.version
    if packaged(watch, one):
        return found
    for read in others:
        version = str(read["settings"].get(one.product.name, "")).partition(" ")[0]
        if version and _order(version) > _order(found) and one.home(version) in installed:
            found = version
    return found


def _order(version: str) -> tuple[list[int], bool, str]:
    """By numbers; a candidate comes before the release."""
    numbers, dash, candidate = version.partition("-")
    return [int(number) for number in re.findall(r"\d+", numbers)], not dash, candidate


def notes(cluster: Cluster, watch: Watch, kept: Watch, parts: Mapping[str, str]) -> tuple[str, ...]:
    """What other clusters on the host want otherwise than this one; a line each.

    Args:
        watch: What its file wants.
        kept: With the versions that stay.
    """
    lines = [
        f"{one.title} {settings_of(kept, one).release.version} stays, which the file of another cluster wants that is "
        f"watched here; this one's says {settings_of(watch, one).release.version}"
        for one in programs_of(watch)
        if settings_of(kept, one).release.version != settings_of(watch, one).release.version
    ]
    wanted = wishes(watch)
    for path, text in sorted(parts.items()):
        read = read_part(path, text)
        said = {key: value for key, value in sorted(read["settings"].items()) if wanted.get(key, value) != value}
        if read["cluster"] != cluster.name and (differing := [f"{key} {value}" for key, value in said.items()]):
            lines.append(
                f"the file of {read['cluster']}, which is watched here too, says {', '.join(differing)}; of versions "
                "the newest stays, all else that is the host's is as the last run says"
            )
    return tuple(lines)
