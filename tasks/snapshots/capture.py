"""A snapshot being read from a member, whichever way: its bytes, and what is known about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tasks.cluster.spec import Cluster
from tasks.errors import AccessDenied, EtcdFlowsError, SnapshotError
from tasks.etcd.client import ClusterMember
from tasks.etcd.members import MemberStatus
from tasks.reporting.human import size
from tasks.snapshots.manifest import HashKV, ManifestMember


@dataclass(frozen=True)
class Facts:
    """What the manifest says of where a snapshot came from; the fields are explained there.

    Args:
        revision_min: The member had this revision before the snapshot began.
        revision_max: And this one when it had begun.
        hashkv: The member's own, from before the snapshot.
    """

    source: str
    via: Literal["stream", "host", "file", "raw"]
    etcd_cluster_id: str
    members: tuple[ManifestMember, ...]
    etcd_version: str
    raft_term: int
    raft_index: int
    revision_min: int
    revision_max: int
    hashkv: HashKV | None
    notes: tuple[str, ...] = ()


class Capture(Protocol):
    """A snapshot being read. Only one reader, only once."""

    @property
    def expected_bytes(self) -> int:
        """About how many bytes will come; the truth may be another."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """The bytes.

        Raises:
            SnapshotError: The member died or was cut off; start over with the next, never go on from here.
        """
        ...

    def facts(self) -> Facts:
        """What is known, once all bytes have been read.

        Raises:
            SnapshotError: The member could not be asked.
        """
        ...


def facts_of(
    via: Literal["stream", "host"],
    before: MemberStatus,
    after: MemberStatus,
    hashkv: HashKV | None,
    members: Sequence[ManifestMember],
    notes: Sequence[str],
) -> Facts:
    """The facts, from what the member said before the snapshot and after it had begun. Pure."""
    return Facts(
        source=before.name,
        via=via,
        etcd_cluster_id=after.cluster_id,
        members=tuple(members),
        etcd_version=after.version,
        raft_term=after.raft_term,
        raft_index=after.raft_index,
        revision_min=max(before.revision, hashkv.revision if hashkv else 0),
        revision_max=after.revision,
        hashkv=hashkv,
        notes=tuple(notes),
    )


def manifest_members(members: Sequence[ClusterMember]) -> tuple[ManifestMember, ...]:
    """The members as a manifest lists them."""
    return tuple(ManifestMember(m.name, m.id, m.peer_urls, m.client_urls, m.learner) for m in members)


def configured_members(cluster: Cluster, known: MemberStatus) -> tuple[ManifestMember, ...]:
    """The members as the cluster file has them, for when there is no quorum to ask; most ids are not known."""
    return tuple(
        ManifestMember(
            host.name, known.member_id if host.name == known.name else "", (host.peer_url,), (host.client_url,), False
        )
        for host in cluster.hosts
    )


def broken_off(name: str, received: int, expected: int, why: EtcdFlowsError | str) -> SnapshotError:
    """The error for a member that died, was cut off or fell silent while it was read."""
    said = why if isinstance(why, str) else why.message
    remedy = why.remedy if isinstance(why, AccessDenied) else ""  # the next member would refuse, too
    return SnapshotError(
        f"the member broke off after {size(received)} of about {size(expected)}: {said}",
        host=name,
        state="what had come is of no use and is not kept; the member itself was only read",
        remedy=remedy or "the next member is read from the start; if none is left, check-cluster tells what is wrong",
    )
