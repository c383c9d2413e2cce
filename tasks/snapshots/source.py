"""Which member a snapshot is read from, and how: over gRPC, or on the member itself when only SSH gets there.

A healthy follower that is not behind costs the cluster least. The leader is next, then a follower that is behind.
Without quorum there is no leader; then the survivor with the newest log (raft term, then index) has the most data.
Learners may lack data and are never read from; nor are members that etcd has found to be corrupt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError, SnapshotError
from tasks.etcd.client import Status, connect
from tasks.etcd.members import MemberStatus, member_status
from tasks.hosts.shell import open_shell
from tasks.pki.client import ClientFiles

Way = Literal["stream", "host"]

#: Entries of the log by which a follower may be behind and still be preferred: below a second under load.
NEAR = 1000

_CORRUPT = re.compile(r"memberID:(\d+) alarm:CORRUPT")


@dataclass(frozen=True)
class Choice:
    """A member to read from, and why it has its place in the order."""

    name: str
    why: str


@dataclass(frozen=True)
class Sources:
    """What was seen, and what follows.

    Args:
        way: How the members are read.
        why: For the report, why it is that way.
        choices: Members to read from, best first.
        statuses: Of all members that answered.
        troubles: What is wrong with those that did not, by name.
    """

    way: Way
    why: str
    choices: tuple[Choice, ...]
    statuses: tuple[MemberStatus, ...]
    troubles: Mapping[str, EtcdFlowsError]


def choose_source(statuses: Sequence[MemberStatus]) -> tuple[Choice, ...]:
    """The members to read from, best first. Pure.

    Args:
        statuses: Of the members that can be read at all.
    """
    newest = max((status.raft_index for status in statuses), default=0)
    corrupt = {f"{int(number):x}" for status in statuses for number in _CORRUPT.findall(" ".join(status.errors))}
    ranked = [
        (_rank(status, newest), status.name, status)
        for status in statuses
        if not status.learner and status.member_id not in corrupt
    ]
    return tuple(Choice(name, _why(status, newest)) for _, name, status in sorted(ranked, key=lambda item: item[:2]))


def _rank(status: MemberStatus, newest: int) -> tuple[int, ...]:
    lag = _lag(status, newest)
    if not _follows(status):
        return (3, -status.raft_term, -status.raft_index)
    if status.is_leader:
        return (1,)
    return (0 if lag <= NEAR else 2, lag)


def _why(status: MemberStatus, newest: int) -> str:
    lag = _lag(status, newest)
    if not _follows(status):
        return f"it knows of no leader; its log ends at term {status.raft_term}, index {status.raft_index}"
    if status.is_leader:
        return "it is the leader"
    return "a follower, " + (f"{lag} entries behind" if lag else "not behind")


def _follows(status: MemberStatus) -> bool:
    return status.leader_id not in ("", "0")


def _lag(status: MemberStatus, newest: int) -> int:
    return newest - (status.raft_applied or status.raft_index)


def find_sources(cluster: Cluster, files: ClientFiles, *, timeout: float = 5.0) -> Sources:
    """Ask all members at once: over gRPC, and if none of them can be read that way, over SSH.

    Args:
        files: The operator's client certificate.
        timeout: Seconds for each member to answer.

    Raises:
        SnapshotError: No member can be read in either way.
    """
    statuses, troubles = _ask(cluster, lambda host: _over_grpc(host, files, timeout))
    if choices := choose_source(statuses):
        return Sources("stream", "etcd's client port answers from here", choices, statuses, troubles)
    over_ssh, worse = _ask(cluster, lambda host: _over_ssh(host, timeout))
    if choices := choose_source(over_ssh):
        first = next(iter(troubles.values()), None)
        why = f"no member could be read from here through its client port ({first.message if first else 'learners'})"
        return Sources("host", why, choices, over_ssh, worse)
    raise _none(cluster, statuses or over_ssh, {name: (troubles.get(name), error) for name, error in worse.items()})


def _ask(
    cluster: Cluster, question: Callable[[Host], MemberStatus]
) -> tuple[tuple[MemberStatus, ...], dict[str, EtcdFlowsError]]:
    def one(host: Host) -> MemberStatus | EtcdFlowsError:
        try:
            return question(host)
        except EtcdFlowsError as error:
            return error

    with ThreadPoolExecutor(len(cluster.hosts), thread_name_prefix="ask") as pool:
        answers = dict(zip((host.name for host in cluster.hosts), pool.map(one, cluster.hosts), strict=True))
    return (
        tuple(answer for answer in answers.values() if isinstance(answer, MemberStatus)),
        {name: answer for name, answer in answers.items() if isinstance(answer, EtcdFlowsError)},
    )


def _over_grpc(host: Host, files: ClientFiles, timeout: float) -> MemberStatus:
    with connect(host.client_url, files.ca, files.cert, files.key, timeout, host=host.name) as client:
        return as_member(host, client.status())


def _over_ssh(host: Host, timeout: float) -> MemberStatus:
    with open_shell(host) as shell:
        return member_status(shell, timeout=timeout)


def as_member(host: Host, status: Status) -> MemberStatus:
    """The same as etcdctl tells of a member."""
    return MemberStatus(
        name=host.name,
        endpoint=host.client_url,
        member_id=status.member_id,
        leader_id=status.leader_id or "0",
        cluster_id=status.cluster_id,
        version=status.version,
        db_bytes=status.db_size,
        db_in_use_bytes=status.db_size_in_use,
        quota_bytes=None,
        raft_index=status.raft_index,
        raft_applied=status.raft_applied_index,
        raft_term=status.raft_term,
        learner=status.learner,
        revision=status.revision,
        errors=status.errors,
    )


def _none(
    cluster: Cluster,
    answered: Sequence[MemberStatus],
    troubles: Mapping[str, tuple[EtcdFlowsError | None, EtcdFlowsError]],
) -> SnapshotError:
    lines = [
        f"{name}: {' / over SSH: '.join(error.message for error in both if error)}" for name, both in troubles.items()
    ]
    lines += [f"{status.name}: a learner, or found to be corrupt by etcd" for status in answered]
    return SnapshotError(
        f"no member of {cluster.name} can be read: {'; '.join(lines)}",
        state="no snapshot was made; nothing was changed",
        remedy="check-cluster tells more; if no member starts any more, restore from the newest snapshot",
    )
