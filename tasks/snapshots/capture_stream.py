"""A snapshot read over gRPC, straight from the member to this process.

The stream carries no revision (rule: none can be trusted but the member's own answers). What the member says before it
bounds the snapshot from below; what it says once the first bytes have come bounds it from above, for the snapshot is
taken before them. So the bounds are as near as a round trip, however long the stream takes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tasks.cluster.spec import Host
from tasks.errors import EtcdFlowsError
from tasks.etcd.client import Client, connect
from tasks.etcd.members import MemberStatus
from tasks.pki.client import ClientFiles
from tasks.snapshots.capture import Facts, broken_off, facts_of, manifest_members
from tasks.snapshots.manifest import HashKV, ManifestMember
from tasks.snapshots.source import as_member

_TRAILER = 32  # bytes: the checksum


class StreamCapture:
    """See :class:`tasks.snapshots.capture.Capture`."""

    def __init__(self, client: Client, host: Host, idle_timeout: float) -> None:
        self._client = client
        self._host = host
        self._idle = idle_timeout
        self._notes: list[str] = []
        self._members: tuple[ManifestMember, ...] = manifest_members(client.members())
        self._before = self._status()
        self._hashkv = self._hash()
        self._after: MemberStatus | None = None

    @property
    def expected_bytes(self) -> int:
        """The size of the database file, and the checksum."""
        return self._before.db_bytes + _TRAILER

    def __iter__(self) -> Iterator[bytes]:
        """The bytes, once; the member is asked for its revision when the first have come."""
        with self._client.snapshot(self._idle) as stream:
            try:
                for piece in stream:
                    if self._after is None:
                        with contextlib.suppress(EtcdFlowsError):  # asked again at the end
                            self._after = self._status()
                    yield piece
            except EtcdFlowsError as error:
                raise broken_off(self._host.name, stream.received, self.expected_bytes, error) from error
            if stream.remaining != 0:
                raise broken_off(self._host.name, stream.received, self.expected_bytes, "it ended too soon")

    def facts(self) -> Facts:
        """What is known."""
        after = self._after or self._status()
        return facts_of("stream", self._before, after, self._hashkv, self._members, self._notes)

    def _status(self) -> MemberStatus:
        return as_member(self._host, self._client.status())

    def _hash(self) -> HashKV | None:
        try:
            found = self._client.hash_kv()
        except EtcdFlowsError as error:
            self._notes.append(f"the member's own hash could not be had: {error.message}")
            return None
        return HashKV(found.revision, found.compact_revision, found.hash)


@contextlib.contextmanager
def capture_stream(host: Host, files: ClientFiles, *, idle_timeout: float = 60.0) -> Iterator[StreamCapture]:
    """Begin to read a snapshot from a member.

    Args:
        files: The operator's client certificate.
        idle_timeout: Seconds for which the member may be silent.

    Raises:
        EtcdFlowsError: It does not answer.
    """
    with connect(host.client_url, files.ca, files.cert, files.key, 10.0, host=host.name) as client:
        yield StreamCapture(client, host, idle_timeout)
