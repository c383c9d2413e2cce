"""The members' own view of the cluster, for the table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from prefect.futures import PrefectFuture

from flows.fan_out import gather, on_all
from flows.report import publish_table
from tasks.cluster.spec import Cluster
from tasks.errors import GateFailed
from tasks.etcd.members import MemberStatus
from tasks.etcd.tasks import ask_member
from tasks.hosts.facts import HostFacts
from tasks.pki.expiry import expiries
from tasks.reporting.human import size
from tasks.reporting.markdown import code, narrow
from tasks.reporting.tables import Table, table

#: Columns for which there is room in Prefect's artifact view.
IN_SHORT = ("member", "role", "version", "db size", "certificates until")


def answering(cluster: Cluster, facts: Mapping[str, HostFacts]) -> dict[str, MemberStatus]:
    """Status of the members that run and answer; those that don't are left out."""
    running = [host for host in cluster.hosts if facts[host.name].service.running]
    statuses, _ = gather({host.name: ask_member.submit(host) for host in running})
    return statuses


def watch_members(cluster: Cluster) -> tuple[MemberStatus, ...]:
    """Status of all members, which must agree on one cluster and one leader.

    Raises:
        EtcdFlowsError: A member does not answer.
        GateFailed: They are not one healthy cluster.
    """

    def submit(name: str) -> PrefectFuture[MemberStatus]:
        return ask_member.submit(cluster.host(name))

    by_name = on_all([host.name for host in cluster.hosts], submit, "asking the members")
    members = tuple(by_name[host.name] for host in cluster.hosts)
    clusters = {member.cluster_id for member in members}
    leaders = {member.leader_id for member in members}
    if len(clusters) > 1 or len(leaders) > 1 or leaders == {"0"}:
        said = "; ".join(f"{m.name}: cluster {m.cluster_id}, leader {m.leader_id}" for m in members)
        raise GateFailed(
            f"the members are not one cluster with one leader ({said})",
            remedy="run check-cluster in a few seconds; if this stays, look at the members' logs",
        )
    return members


def members_table(cluster: Cluster, members: tuple[MemberStatus, ...], facts: Mapping[str, HostFacts]) -> Table:
    """The result table: one row a member."""
    rows = []
    for member in members:
        host = cluster.host(member.name)
        now = datetime.now(UTC)
        ends = min((e.not_after for e in expiries(host, facts[host.name], now=now) if e.not_after), default=None)
        left = f"{ends:%Y-%m-%d} ({(ends - now).days} d)" if ends else "unknown"
        role = "leader" if member.is_leader else "learner" if member.learner else "follower"
        rows.append(
            (
                member.name,
                member.member_id,
                member.endpoint,
                member.version,
                role,
                size(member.db_bytes),
                member.raft_index,
                left,
            )
        )
    return table(("member", "id", "endpoint", "version", "role", "db size", "raft index", "certificates until"), rows)


def publish_members(cluster: Cluster, members: tuple[MemberStatus, ...], facts: Mapping[str, HostFacts]) -> Table:
    """Keep the table as an artifact of the run."""
    data = members_table(cluster, members, facts)
    where = (f"{m.name}: {m.endpoint}, id {code(m.member_id)}, raft index {m.raft_index}" for m in members)
    publish_table("members", cluster.name, narrow(data, *IN_SHORT), f"Members of {cluster.name}", where)
    return data
