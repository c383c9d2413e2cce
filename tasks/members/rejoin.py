"""Restoring one member alone, which the others join one at a time: steps for :func:`tasks.restore.plan.plan_restore`.

For a database so large, or networks so slow, that bringing the snapshot to every host would keep clients waiting: they
can work as soon as the one serves, while the others take its data over as learners (etcd takes one learner at a time).
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasks.cluster.spec import Cluster, Host
from tasks.etcd.identity import Identity
from tasks.hosts.facts import HostFacts
from tasks.members.actions import StartRejoined, SwitchToRejoin
from tasks.members.plan import Joining, add_step, catch_up_step, promote_step, settle_step
from tasks.plan import Phase, Step
from tasks.restore.record import Record
from tasks.restore.stand import stands


def plan_joins(cluster: Cluster, facts: Mapping[str, HostFacts], record: Record) -> list[Phase]:
    """How the members that are not restored join the one that is; none if all are restored.

    Each step looks first what is true, so those of a member that is one already do nothing.

    Args:
        cluster: The restored cluster's members.
        facts: Of their hosts.
    """
    seen = stands(cluster, facts, record)
    phases: list[Phase] = []
    for number, host in enumerate(_others(cluster, record), 2):
        joining, stand = _joining(cluster, host, record), seen[host.name]
        of = f"{host.name} ({number} of {len(record.members)})"
        start = [_start(host, record)] if stand.place != "turned" or not stand.running else []
        if stand.place != "turned":
            phases.append(Phase(f"make room for {of}", (add_step(joining),)))
            phases.append(Phase(f"switch {host.name} to a new, empty data dir", (_switch(joining, facts, record),)))
        phases.append(Phase(f"let {of} take over the data", (*start, catch_up_step(joining))))
        phases.append(Phase(f"give {host.name} its vote", (promote_step(joining),)))
    return phases


def plan_settle(cluster: Cluster, record: Record) -> list[Step]:
    """The settings of all for later starts, which no more say how each came to the cluster."""
    return [settle_step(_joining(cluster, host, record)) for host in cluster.hosts] if record.first else []


def _others(cluster: Cluster, record: Record) -> list[Host]:
    return [host for host in cluster.hosts if not record.restores(host.name)]


def _joining(cluster: Cluster, host: Host, record: Record) -> Joining:
    """With those before it, and itself, as members."""
    members: list[str] = []
    order = [record.first, *(other.name for other in _others(cluster, record))]
    urls = dict(record.members)
    for name in order:
        members.append(f"{name}={urls[name]}")
        if name == host.name:
            break
    identity = Identity(record.uuid, record.token)
    return Joining(cluster, host, cluster.host(record.first), identity, ",".join(members), record.data_dir(host))


def _switch(joining: Joining, facts: Mapping[str, HostFacts], record: Record) -> Step:
    host = joining.host
    old, new = facts[host.name].data_dir.path or host.paths.data_dir, joining.data_dir
    changes = (f"- ETCD_DATA_DIR={old}", f"+ ETCD_DATA_DIR={new}") if old != new else ()
    action = SwitchToRejoin(record, joining.config(facts[host.name]), old)
    return Step(host.name, "switch", f"point etcd to {new}, in which there is nothing yet", action, changes=changes)


def _start(host: Host, record: Record) -> Step:
    new = record.data_dir(host)
    return Step(host.name, "start", f"lift its hold and start etcd on {new}", StartRejoined(new, record.id))
