"""What a member answers, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Status:
    """What one member says of itself; works without quorum.

    Args:
        member_id: Hexadecimal, as etcdctl prints it.
        leader_id: Likewise; empty when it knows of no leader.
        db_size: Bytes of the database file.
        db_size_in_use: Bytes of that which hold data.
        raft_index: Newest entry of its log.
        raft_applied_index: Newest entry that it has applied.
        errors: What it complains about (``NOSPACE``, ``no leader``, ...).
        revision: Newest revision of its key space.
        storage_version: Of its database (``3.6.0``); empty before etcd 3.6.
    """

    cluster_id: str
    member_id: str
    version: str
    leader_id: str
    db_size: int
    db_size_in_use: int
    raft_term: int
    raft_index: int
    raft_applied_index: int
    revision: int
    learner: bool
    errors: tuple[str, ...]
    storage_version: str = ""

    @property
    def is_leader(self) -> bool:
        """Whether it takes itself for the leader."""
        return self.leader_id == self.member_id


@dataclass(frozen=True)
class ClusterMember:
    """A member as the cluster knows it; ``name`` is empty while it has not started yet."""

    id: str
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool


@dataclass(frozen=True)
class KeyValue:
    """A key at one revision.

    Args:
        lease: Id of the lease that it goes with; 0 for none.
    """

    key: bytes
    value: bytes = field(repr=False)
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


@dataclass(frozen=True)
class Alarm:
    """An alarm that a member has raised: ``NOSPACE`` or ``CORRUPT``."""

    member_id: str
    kind: str


@dataclass(frozen=True)
class HashKV:
    """A member's hash over all keys and their history up to a revision.

    Two members hold the same data if revision, compact_revision and hash are equal. With another compact_revision the
    hashes can't be compared: that is no sign of corruption.
    """

    revision: int
    compact_revision: int
    hash: int


def member_of(message: Any) -> ClusterMember:
    """A member as the wire has it."""
    return ClusterMember(
        hexadecimal(message.ID), message.name, tuple(message.peerURLs), tuple(message.clientURLs), message.isLearner
    )


def key_of(message: Any) -> KeyValue:
    """A key as the wire has it."""
    return KeyValue(
        message.key, message.value, message.create_revision, message.mod_revision, message.version, message.lease
    )


def hexadecimal(number: int) -> str:
    """An id as etcdctl prints it; empty for none."""
    return f"{number:x}" if number else ""
