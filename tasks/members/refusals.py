"""Why a member must not be replaced now. Pure; everything here is decided before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError, InputError, Refused
from tasks.etcd.restored import under_way
from tasks.hosts.facts import HostFacts
from tasks.members.record import Replacement
from tasks.members.standing import Standing
from tasks.reporting.human import size
from tasks.restore.refusals import SPARE, whose

_UNTOUCHED = "nothing was changed"


def _no(message: str, remedy: str, host: str | None = None) -> Refused:
    return Refused(message, host=host, state=_UNTOUCHED, remedy=remedy)


def find_host(cluster: Cluster, member: str) -> Host:
    """The host of the member that is named.

    Raises:
        InputError: The cluster file has none of that name.
    """
    for host in cluster.hosts:
        if host.name == member:
            return host
    names = ", ".join(host.name for host in cluster.hosts)
    raise InputError(
        f"the cluster file has no member {member!r}", state="nothing was touched", remedy=f"members are {names}"
    )


def no_quorum(cluster: Cluster, host: Host) -> Refused:
    """The others can't decide, so nobody can be removed or added."""
    return _no(
        f"the other members have no quorum without {host.name}, so the cluster can't change its members",
        f"disaster-restore brings it back as a whole: etcd-flows disaster-restore "
        f"{cluster.source or cluster.name} --plan",
    )


def unreachable(host: Host, error: EtcdFlowsError) -> Refused:
    """Its host can't be worked on."""
    return _no(
        f"its host can't be worked on: {error.message}",
        "bring the host back, or put a new machine in its place, with the same name and address in the cluster file; "
        "it may be bare",
        host.name,
    )


def cluster_refusals(
    cluster: Cluster, host: Host, facts: Mapping[str, HostFacts], seen: Standing
) -> tuple[EtcdFlowsError, ...]:
    """What speaks against it in the cluster.

    Args:
        facts: Of the hosts that can be reached.
    """
    others = [other for other in cluster.hosts if other.name != host.name and other.name in facts]
    found: list[EtcdFlowsError] = list(under_way(replace(cluster, hosts=tuple(others)), facts))
    if len(seen.others(host)) < seen.quorum:
        found.append(no_quorum(cluster, host))
    entry = seen.entry(host)
    learners = [member for member in seen.members if member.learner and member != entry]
    if learners:
        names = ", ".join(member.name or member.member_id for member in learners)
        found.append(
            _no(f"the cluster has a learner already ({names}), and takes one at a time", "let it be promoted first")
        )
    if set(seen.versions) != {cluster.release.version}:
        found.append(
            _no(
                f"the members run etcd {', '.join(seen.versions)}, the cluster file says {cluster.release.version}",
                "set etcd.version to what they run; an upgrade is a change of its own",
            )
        )
    return (*found, *_alarms(host, seen))


def _alarms(host: Host, seen: Standing) -> list[Refused]:
    """An alarm about a member that is not to be replaced: its data would become everybody's."""
    entry = seen.entry(host)
    mine = entry.member_id if entry else ""
    others = [member for member in seen.members if member.member_id != mine and seen.corrupt(member.member_id)]
    return [
        _no(
            f"the alarm CORRUPT is about {member.name or member.member_id}, not about {host.name}",
            f"replace {member.name or member.member_id} first",
        )
        for member in others
    ]


def host_refusals(
    cluster: Cluster, host: Host, facts: HostFacts, seen: Standing, record: Replacement
) -> tuple[EtcdFlowsError, ...]:
    """What speaks against it on its host: whose it is, and whether there is room."""
    found = list(whose(cluster, host, facts))
    need, free = int(seen.db_bytes * 1.2) + SPARE, facts.data_dir.free_bytes
    begun = facts.data_dir.path == record.data_dir(host) and facts.data_dir.kind == "etcd"
    if free is not None and free < need and not begun:
        found.append(
            _no(
                f"the filesystem of {host.paths.data_dir} has {size(free)} free, {size(need)} are needed (what the "
                "others hold beside the old data, and etcd's log)",
                "make room there; old data dirs of earlier restores are what may go first",
                host.name,
            )
        )
    return tuple(found)
