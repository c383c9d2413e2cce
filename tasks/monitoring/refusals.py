"""What speaks against setting anything up on a monitoring host. Pure."""

from __future__ import annotations

from tasks.cluster.spec import Cluster
from tasks.cluster.spec_monitoring import Watch
from tasks.errors import EtcdFlowsError, Refused
from tasks.monitoring.grafana_host import INI
from tasks.monitoring.look import WatchFacts, unit_of
from tasks.monitoring.programs import ALERTMANAGER, PROMETHEUS, programs_of
from tasks.monitoring.wanted import client_paths, watch_of
from tasks.pki.authority import Authority

_OURS = b"Written by etcd-flows"


def refusals(cluster: Cluster, facts: WatchFacts, authority: Authority | None) -> tuple[EtcdFlowsError, ...]:
    """What speaks against setting anything up there."""
    found: list[EtcdFlowsError] = []
    watch = watch_of(cluster)
    for one in programs_of(watch):
        unit = unit_of(facts, one)
        content = facts.host.file(one.unit_file).content
        if (unit.loaded and unit.fragment != one.unit_file) or (content is not None and _OURS not in content):
            found.append(_foreign(watch, f"there is a {one.unit} that etcd-flows did not make ({unit.fragment})"))
    mains = [f"{PROMETHEUS.etc}/prometheus.yml", f"{ALERTMANAGER.etc}/alertmanager.yml"]
    for path in [*mains, *([INI] if watch.grafana else [])]:
        content = facts.host.file(path).content
        if content is not None and _OURS not in content:
            found.append(_foreign(watch, f"there is a {path} that etcd-flows did not write"))
    if client_paths(cluster) and authority is None:
        found.append(
            Refused(
                f"there is no CA in {cluster.pki.state_dir}, and metrics over https are asked for with its certificate",
                state="nothing was changed",
                remedy="run bootstrap-cluster first, or bring that directory here",
            )
        )
    return tuple(found)


def _foreign(watch: Watch, what: str) -> Refused:
    return Refused(
        what,
        host=watch.host.name,
        state="nothing was changed",
        remedy="choose another machine, or remove that one; for a Prometheus of your own there is "
        "`etcd-flows monitoring files`",
    )
