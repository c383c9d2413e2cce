"""Where a cluster was ever watched, kept in its state directory: a pointer, by which it is taken off a host that its
file does not name any more. What is really there is looked at on the host.

Kept is the ``monitoring`` section as it stood in the cluster file: addresses, and references to secrets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import yaml

from tasks.cluster.load import ClusterFileError, parse_cluster
from tasks.cluster.spec import Cluster
from tasks.pki import store

_NAME = "monitoring-hosts.json"


def remember(cluster: Cluster) -> None:
    """Keep where the cluster is watched now.

    Raises:
        PkiError: The state directory can't be written to.
    """
    if cluster.source is None:
        return
    section = _child(yaml.compose(cluster.source.read_text(), Loader=yaml.SafeLoader), "monitoring")
    if section is None or cluster.monitoring is None or cluster.monitoring.host is None:
        return
    _change(cluster, {cluster.monitoring.host.address: yaml.serialize(section)}, ())


def forget(cluster: Cluster, address: str) -> None:
    """The cluster is not watched there any more.

    Raises:
        PkiError: The state directory can't be written to.
    """
    _change(cluster, {}, (address,))


def elsewhere(cluster: Cluster) -> tuple[Cluster, ...]:
    """The cluster as it was watched on hosts that its file does not name any more.

    What was kept and fits to the rest of the file no more is left out: then nobody knows how to get there.
    """
    here = cluster.monitoring.host.address if cluster.monitoring and cluster.monitoring.host else None
    found = []
    for address, section in sorted(_kept(cluster).items()):
        if address == here or cluster.source is None:
            continue
        try:
            text = _with(cluster.source.read_text(), section)
            found.append(parse_cluster(text, cluster.source, os.environ).cluster)
        except (ClusterFileError, yaml.YAMLError):
            continue
    return tuple(found)


def _kept(cluster: Cluster) -> dict[str, str]:
    try:
        read = json.loads(store.read(cluster.pki.state_dir / _NAME, private=True) or b"{}")
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in read.items()} if isinstance(read, dict) else {}


def _change(cluster: Cluster, new: Mapping[str, str], gone: tuple[str, ...]) -> None:
    directory = cluster.pki.state_dir
    if gone and not _kept(cluster):
        return
    store.prepare_directory(directory)
    with store.locked(directory):
        kept = _kept(cluster)
        wanted = {**{key: value for key, value in kept.items() if key not in gone}, **new}
        if wanted != kept:
            store.write(directory / _NAME, json.dumps(wanted, indent=1).encode(), 0o600)


def _child(top: yaml.Node | None, name: str) -> yaml.Node | None:
    pairs = top.value if isinstance(top, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


def _with(text: str, section: str) -> bytes:
    """The cluster file with that section; scalars stay as they are written, whatever they look like."""
    top = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(top, yaml.MappingNode):
        raise yaml.YAMLError("no mapping")
    pairs = [(key, value) for key, value in top.value if key.value != "monitoring"]
    key = yaml.ScalarNode("tag:yaml.org,2002:str", "monitoring")
    top.value = [*pairs, (key, yaml.compose(section, Loader=yaml.SafeLoader))]
    return yaml.serialize(top).encode()
