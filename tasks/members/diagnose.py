"""Which members are broken while the others can go on: those are rebuilt alone, and nothing is restored. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.cluster.spec import Cluster, Host
from tasks.etcd.members import ClusterView
from tasks.etcd.restored import replace_command, replacement_path
from tasks.findings import Finding
from tasks.hosts.facts import HostFacts
from tasks.members.standing import Standing, standing


@dataclass(frozen=True)
class Broken:
    """One member.

    Args:
        sure: Whether it can't come back by itself; False where its data may still be good.
    """

    host: str
    why: str
    sure: bool


def broken_members(
    cluster: Cluster, facts: Mapping[str, HostFacts], views: Mapping[str, ClusterView]
) -> tuple[Broken, ...]:
    """Members that need to be replaced, or may; none if the cluster has no quorum, which is another matter.

    Args:
        facts: Of the hosts that could be looked at; the others are left out: unknown is not broken.
        views: Of the members that answered.
    """
    seen = standing(cluster, views)
    if seen is None:
        return ()
    found = [_one(host, facts[host.name], seen) for host in cluster.hosts if host.name in facts]
    return tuple(one for one in found if one)


def _one(host: Host, facts: HostFacts, seen: Standing) -> Broken | None:
    entry, service = seen.entry(host), facts.service
    if facts.file(replacement_path(host)).present:
        return Broken(host.name, "its replacement was begun and has not ended", sure=True)
    if entry is None:
        still = ", and etcd still runs here" if service.running else ""
        return Broken(host.name, f"the cluster has no such member: it was removed, or left out{still}", sure=True)
    if seen.corrupt(entry.member_id):
        return Broken(host.name, "the alarm CORRUPT says that its data is damaged", sure=True)
    if host.name in seen.healthy or entry.learner:
        return None
    if facts.data_dir.kind != "etcd" and not service.running:
        return Broken(host.name, f"its data is gone ({facts.data_dir.path or host.paths.data_dir})", sure=True)
    if service.active in ("failed", "activating"):
        return Broken(host.name, "etcd does not stay up, or does not get ready, while the others go on", sure=False)
    return None


def check_broken(cluster: Cluster, facts: Mapping[str, HostFacts], views: Mapping[str, ClusterView]) -> list[Finding]:
    """The same as findings, with the way out."""
    return [
        Finding(
            "error" if one.sure else "warning",
            "broken",
            f"{one.why}; the others have a quorum",
            one.host,
            ("rebuild it alone: " if one.sure else "if its log says that its data is damaged, rebuild it alone: ")
            + replace_command(cluster, one.host),
        )
        for one in broken_members(cluster, facts, views)
    ]
