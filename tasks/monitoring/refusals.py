"""What speaks against setting anything up on a monitoring host. Pure."""

from __future__ import annotations

from tasks.cluster.spec import Cluster
from tasks.cluster.spec_monitoring import Watch
from tasks.errors import EtcdFlowsError, Refused
from tasks.monitoring import packages
from tasks.monitoring.look import WatchFacts, unit_of
from tasks.monitoring.programs import NODE_EXPORTER, main_config, programs_of
from tasks.monitoring.wanted import client_paths, ours, watch_of
from tasks.pki.authority import Authority


def refusals(cluster: Cluster, facts: WatchFacts, authority: Authority | None) -> tuple[EtcdFlowsError, ...]:
    """What speaks against setting anything up there."""
    found: list[EtcdFlowsError] = []
    watch = watch_of(cluster)
    for one in programs_of(watch):
        unit = unit_of(facts, one)
        seen = facts.host.file(one.unit_file)
        if (unit.loaded and unit.fragment != one.unit_file) or (seen.content is not None and not ours(seen)):
            found.append(_foreign(watch, f"there is a {one.unit} that etcd-flows did not make ({unit.fragment})"))
    used = {name: unit.loaded and (unit.active or unit.enabled) for name, unit in facts.units.items()}
    found += packages.refusals(watch, facts.packages, used)
    for path in [main_config(watch, one) for one in programs_of(watch) if one is not NODE_EXPORTER]:
        seen = facts.host.file(path)
        if seen.content is not None and not ours(seen):
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
