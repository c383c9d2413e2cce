"""What an expert looks at in a running cluster. Pure: what was observed goes in, findings come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError
from tasks.etcd import authentication
from tasks.etcd.members import ClusterView, MemberStatus
from tasks.findings import Finding
from tasks.hosts.facts import HostFacts
from tasks.hosts.services import where_it_logs

#: Above it etcd's own peer prober warns of clock drift (rafthttp's probing monitor, 1 s).
CLOCK_SECONDS = 1.0
#: Entries that the leader keeps for slow followers; one that is further behind needs a whole snapshot
#: (etcd's DefaultSnapshotCatchUpEntries).
RAFT_LAG = 5000
#: Fragmentation alert of etcd's monitoring mixin: less than half in use, and more than 100 MiB of it.
FRAGMENTED_BELOW, FRAGMENTED_FROM = 0.5, 100 << 20
#: Shares of the quota: look at it, act now (writes stop at 1.0 with a NOSPACE alarm).
QUOTA_WARNING, QUOTA_ERROR = 0.75, 0.9
MIN_FREE = 512 << 20


def _look(host: Host) -> str:
    return f"{where_it_logs(host)} say why"


def check_hosts(
    cluster: Cluster, facts: Mapping[str, HostFacts], errors: Mapping[str, EtcdFlowsError]
) -> list[Finding]:
    """Reachability, service, clock and disk of every host."""
    found: list[Finding] = []
    for host in cluster.hosts:
        if host.name in errors:
            error = errors[host.name]
            found.append(Finding("error", "reachable", error.message, host.name, error.remedy or ""))
            continue
        seen = facts[host.name]
        found += [_service(host, seen), _disk(host, seen)]
    found += _clocks(facts)
    return found


def _service(host: Host, facts: HostFacts) -> Finding:
    service = facts.service
    if not service.running:
        return Finding("error", "service", f"etcd is {service.active}", host.name, _look(host))
    if not service.enabled:
        remedy = "bootstrap-cluster enables it"
        return Finding("warning", "service", "etcd runs, but will not start at boot", host.name, remedy)
    boot = " and starts at boot" if host.service == "systemd" else ""
    return Finding("ok", "service", f"etcd runs (pid {service.main_pid}){boot}", host.name)


def _disk(host: Host, facts: HostFacts) -> Finding:
    free = facts.data_dir.free_bytes
    if free is None:
        return Finding("warning", "disk", f"free space of {host.paths.data_dir} is unknown", host.name)
    text = f"{free / (1 << 30):.1f} GiB free for {host.paths.data_dir}"
    if free < MIN_FREE:
        return Finding("error", "disk", text, host.name, "make room: etcd stops when it can't write its log")
    return Finding("ok", "disk", text, host.name)


def _clocks(facts: Mapping[str, HostFacts]) -> Iterator[Finding]:
    known = {name: seen for name, seen in facts.items() if seen.clock_offset is not None}
    if not known:
        return
    offsets = {name: seen.clock_offset or 0.0 for name, seen in known.items()}
    low, high = min(offsets, key=lambda n: offsets[n]), max(offsets, key=lambda n: offsets[n])
    spread = offsets[high] - offsets[low]
    sure = known[low].clock_error + known[high].clock_error
    if spread - sure > CLOCK_SECONDS:
        text = f"the clocks of {low} and {high} are {spread:.1f} s apart"
        yield Finding("warning", "clock", text, high, "let all hosts follow the same time servers (chrony, timesyncd)")
    else:
        yield Finding("ok", "clock", f"clocks agree within {max(spread, 0):.2f} s (measured to {sure:.2f} s)")


def check_members(
    cluster: Cluster, views: Mapping[str, ClusterView], errors: Mapping[str, EtcdFlowsError]
) -> list[Finding]:
    """Everything that the members themselves say."""
    found = [
        Finding("error", "member", error.message, name, error.remedy or "") for name, error in sorted(errors.items())
    ]
    statuses = [views[host.name].status for host in cluster.hosts if host.name in views]
    if statuses:
        checks: tuple[Callable[[Cluster, Sequence[MemberStatus]], Finding], ...] = (_leader, _versions, _raft)
        found += [check(cluster, statuses) for check in checks]
        found += [finding for status in statuses for finding in _database(cluster, status)]
        found += _membership(cluster, views[statuses[0].name])
        found.append(_alarms(views))
        found += _refusals(views)
    return found


def _leader(cluster: Cluster, statuses: Sequence[MemberStatus]) -> Finding:
    clusters = {status.cluster_id for status in statuses}
    if len(clusters) > 1:
        said = ", ".join(f"{status.name} in {status.cluster_id}" for status in statuses)
        remedy = "do not write to it; find out which member was restored or rebuilt on its own"
        return Finding("error", "leader", f"the members form different clusters: {said}", None, remedy)
    leaders = {status.leader_id for status in statuses}
    if leaders == {"0"} or len(leaders) > 1:
        said = ", ".join(f"{status.name} sees {status.leader_id}" for status in statuses)
        return Finding("error", "leader", f"no leader that all agree on: {said}", None, _look(cluster.hosts[0]))
    name = next((status.name for status in statuses if status.is_leader), leaders.pop())
    return Finding("ok", "leader", f"{name} leads, term {max(status.raft_term for status in statuses)}")


def _versions(cluster: Cluster, statuses: Sequence[MemberStatus]) -> Finding:
    versions = sorted({status.version for status in statuses})
    if versions == [cluster.release.version]:
        return Finding("ok", "version", f"all members run {versions[0]}, as the cluster file says")
    text = f"running {', '.join(versions)}; the cluster file says {cluster.release.version}"
    return Finding("warning", "version", text, None, "an upgrade is a rolling change of its own; finish or plan it")


def _raft(cluster: Cluster, statuses: Sequence[MemberStatus]) -> Finding:
    newest = max(status.raft_index for status in statuses)
    slowest = min(statuses, key=lambda status: status.raft_applied)
    behind = newest - slowest.raft_applied
    if behind > RAFT_LAG:
        text = f"{behind} entries behind the newest index {newest}"
        return Finding("warning", "raft", text, slowest.name, "look at its disk and network; it may need a snapshot")
    return Finding("ok", "raft", f"applied within {behind} entries of the newest index {newest}")


def _database(cluster: Cluster, status: MemberStatus) -> Iterator[Finding]:
    quota = status.quota_bytes or cluster.etcd.quota_bytes
    share = status.db_bytes / quota
    mib = 1 << 20
    text = f"{status.db_bytes / mib:.1f} MiB, {share:.0%} of the quota, {status.db_in_use_bytes / mib:.1f} MiB in use"
    fragmented = (
        status.db_in_use_bytes > FRAGMENTED_FROM and status.db_in_use_bytes < FRAGMENTED_BELOW * status.db_bytes
    )
    if share > QUOTA_ERROR:
        yield Finding(
            "error", "database", text, status.name, "compact, defragment, or raise `etcd.quota` before it fills"
        )
    elif share > QUOTA_WARNING:
        yield Finding("warning", "database", text, status.name, "find what grows; compact and defragment")
    elif fragmented:
        yield Finding("warning", "database", text, status.name, "defragment it in a quiet hour, the leader last")
    else:
        yield Finding("ok", "database", text, status.name)
    for error in status.errors:
        yield Finding("error", "member", error, status.name, _look(cluster.host(status.name)))


def _membership(cluster: Cluster, view: ClusterView) -> Iterator[Finding]:
    by_peer = {url: member for member in view.members for url in member.peer_urls}
    for host in cluster.hosts:
        member = by_peer.pop(host.peer_url, None)
        if member is None:
            text = f"no member has the peer URL {host.peer_url}"
            yield Finding("error", "membership", text, host.name, "the member list and the cluster file differ")
        elif member.learner:
            yield Finding("warning", "membership", "still a learner: it has no vote", host.name, "promote it")
        elif not member.client_urls:
            yield Finding("error", "membership", "listed, but has never started", host.name, _look(host))
    for url, member in by_peer.items():
        text = f"the member {member.name or member.member_id} ({url}) is not in the cluster file"
        yield Finding("warning", "membership", text, None, "add it to the file, or remove it from the cluster")
    if {url for member in view.members for url in member.peer_urls} == {host.peer_url for host in cluster.hosts}:
        yield Finding("ok", "membership", f"{len(view.members)} members, as the cluster file says")


def _refusals(views: Mapping[str, ClusterView]) -> Iterator[Finding]:
    for name, view in views.items():
        if view.refused:
            remedy = authentication.REMEDY if authentication.refuses(view.refused) else f"see {name}'s log"
            yield Finding("error", "access", f"it lets nothing be read: {view.refused}", name, remedy)


def _alarms(views: Mapping[str, ClusterView]) -> Finding:
    alarms = sorted({alarm for view in views.values() for alarm in view.alarms})
    if alarms:
        remedy = "NOSPACE: compact, defragment, then `etcdctl alarm disarm`; CORRUPT: replace-member rebuilds it"
        return Finding("error", "alarms", "; ".join(alarms), None, remedy)
    return Finding("ok", "alarms", "none")
