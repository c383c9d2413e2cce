"""What the members say of the cluster while one of them is broken, and whether the others can decide. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.cluster.spec import Cluster, Host
from tasks.etcd.members import ClusterView, Membership

#: As `etcdctl alarm list` prints one; the id is decimal there.
_ALARM = re.compile(r"memberID:(\d+)\s+alarm:(\w+)")


@dataclass(frozen=True)
class Standing:
    """The cluster as its members know it.

    Args:
        members: The member list; it was read from a member that has a quorum behind it.
        healthy: Names of the voting members of the cluster file that answer and agree on that, in the file's order.
        alarms: Kind and hexadecimal id of whom they are about; ``0`` where etcd could not tell.
    """

    members: tuple[Membership, ...]
    healthy: tuple[str, ...]
    alarms: tuple[tuple[str, str], ...]
    versions: tuple[str, ...]
    db_bytes: int

    @property
    def voters(self) -> tuple[Membership, ...]:
        """Members that have a vote."""
        return tuple(member for member in self.members if not member.learner)

    @property
    def quorum(self) -> int:
        """Voters that must agree."""
        return len(self.voters) // 2 + 1

    def entry(self, host: Host) -> Membership | None:
        """The host's entry in the member list."""
        return next((member for member in self.members if host.peer_url in member.peer_urls), None)

    def others(self, host: Host) -> tuple[str, ...]:
        """Healthy members beside one."""
        return tuple(name for name in self.healthy if name != host.name)

    def corrupt(self, member_id: str) -> bool:
        """Whether an alarm says that this member's data is corrupt."""
        return ("CORRUPT", member_id) in self.alarms


def standing(cluster: Cluster, views: Mapping[str, ClusterView]) -> Standing | None:
    """Put together what the members say; None if no group of them has a quorum.

    Members that run apart (left out by a restore, say) have a view of their own; only the one of those counts whose
    answering voters are a majority of its own member list.

    Args:
        views: Of the members that answered; a view is only given by a member that has a quorum behind it.
    """
    for view in views.values():
        found = _of(cluster, view, views)
        if len(found.healthy) >= found.quorum:
            return found
    return None


def _of(cluster: Cluster, view: ClusterView, views: Mapping[str, ClusterView]) -> Standing:
    ids = {member.member_id for member in view.members if not member.learner}
    agree = {
        name: other.status
        for name, other in views.items()
        if other.status.cluster_id == view.status.cluster_id
        and other.status.member_id in ids
        and other.status.leader_id != "0"
    }
    return Standing(
        members=view.members,
        healthy=tuple(host.name for host in cluster.hosts if host.name in agree),
        alarms=parse_alarms(view.alarms),
        versions=tuple(sorted({status.version for status in agree.values()})),
        db_bytes=max((status.db_bytes for status in agree.values()), default=0),
    )


def parse_alarms(lines: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Kind and hexadecimal member id of each alarm."""
    found = (_ALARM.search(line) for line in lines)
    return tuple(sorted((match[2], f"{int(match[1]):x}") for match in found if match))
