"""A typed client for one endpoint. The only module that imports etcd3, whose stubs it uses directly.

etcd3's own methods are passed over: they look up the leader with a second call, and turn all errors into a few without
their details. Each call here is one request with one deadline.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import grpc

from tasks.cluster.spec import bracket
from tasks.errors import InputError, PkiError
from tasks.etcd.etcd3_import import load_etcd3
from tasks.etcd.rpc_changes import Changes
from tasks.etcd.rpc_errors import explained
from tasks.etcd.rpc_keys import Keys
from tasks.etcd.rpc_stream import SnapshotStream
from tasks.etcd.rpc_types import Alarm, ClusterMember, HashKV, KeyValue, Status, hexadecimal, key_of, member_of

__all__ = [
    "Alarm",
    "Client",
    "ClusterMember",
    "HashKV",
    "KeyValue",
    "SnapshotStream",
    "Status",
    "connect",
    "connect_socket",
    "range_end",
]

etcd3 = load_etcd3()
_rpc = etcd3.etcdrpc

_OPTIONS = (
    # A stream is read by the thread that asks for it: faster than through a thread of gRPC's own.
    (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
    ("grpc.max_receive_message_length", -1),
    # What a member may send before it is taken. Left alone, gRPC measures the line and then takes in advance what fits
    # it: up to 60 MB of a snapshot, on a fast line and with a slow store. Across 50 ms these are still 80 MB a second.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 4 << 20),
)


def connect(
    endpoint: str,
    ca: Path,
    cert: Path,
    key: Path,
    timeout: float = 5.0,
    *,
    host: str | None = None,
) -> Client:
    """A client of one endpoint. No request is sent yet.

    Args:
        endpoint: ``https://10.0.0.11:2379``.
        ca: File with the CA certificate.
        cert: File with the client certificate.
        key: File with its key.
        timeout: Seconds that each request may take.
        host: The host's name, for messages.

    Raises:
        InputError: The endpoint is no https URL with a port.
        PkiError: A file can't be read.
    """
    parts = urlsplit(endpoint)
    if parts.scheme != "https" or parts.hostname is None or parts.port is None:
        raise InputError(f"{endpoint!r} is not an endpoint", remedy="write it as https://ADDRESS:PORT")
    for path in (ca, cert, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise PkiError(
                f"{path} can't be read: {error.strerror}",
                host=host,
                remedy="run it as the operator whose state directory holds the client certificate",
            ) from error
    raw = etcd3.client(
        host=bracket(parts.hostname),
        port=parts.port,
        ca_cert=str(ca),
        cert_cert=str(cert),
        cert_key=str(key),
        timeout=timeout,
        grpc_options=_OPTIONS,
    )
    return Client(raw, endpoint, timeout, host)


def connect_socket(socket: Path, timeout: float = 5.0) -> Client:
    """A client of a member on this machine that listens on a unix socket, without TLS. No request is sent yet.

    Args:
        socket: Its path; whoever may open it may do everything.
        timeout: Seconds that each request may take.
    """
    options = (*_OPTIONS, ("grpc.default_authority", "localhost"))
    raw = etcd3.client(host="unix", port=str(socket), timeout=timeout, grpc_options=options)
    return Client(raw, f"unix:{socket}", timeout, None)


class Client(Changes, Keys):
    """Requests to one member. Use it as a context manager, or close it."""

    def __init__(self, raw: Any, endpoint: str, timeout: float, host: str | None) -> None:
        self._raw = raw
        self.endpoint = endpoint
        self.timeout = timeout
        self.host = host

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()

    def status(self) -> Status:
        """The member's own status."""
        with self._errors("status"):
            got = self._raw.maintenancestub.Status(_rpc.StatusRequest(), self.timeout)
        return Status(
            cluster_id=hexadecimal(got.header.cluster_id),
            member_id=hexadecimal(got.header.member_id),
            version=got.version,
            leader_id=hexadecimal(got.leader),
            db_size=got.dbSize,
            db_size_in_use=got.dbSizeInUse,
            raft_term=got.raftTerm,
            raft_index=got.raftIndex,
            raft_applied_index=got.raftAppliedIndex,
            revision=got.header.revision,
            learner=got.isLearner,
            errors=tuple(got.errors),
            storage_version=got.storageVersion,
        )

    def members(self) -> tuple[ClusterMember, ...]:
        """All members, by name."""
        with self._errors("member list"):
            got = self._raw.clusterstub.MemberList(_rpc.MemberListRequest(), self.timeout)
        return tuple(sorted(map(member_of, got.members), key=lambda member: (member.name, member.id)))

    def hash_kv(self, revision: int = 0, timeout: float = 120.0) -> HashKV:
        """The member's hash over its data; works without quorum, and reads all of the data (seconds for a gigabyte).

        Args:
            revision: Up to which; 0 for the newest.
            timeout: Seconds that it may take.
        """
        with self._errors("hash", timeout):
            got = self._raw.maintenancestub.HashKV(_rpc.HashKVRequest(revision=revision), timeout)
        # hash_revision is told from 3.6 on; before, for the newest, the header has it: etcd reads both under one lock.
        return HashKV(got.hash_revision or revision or got.header.revision, got.compact_revision, got.hash)

    def count(self, revision: int = 0, timeout: float = 30.0) -> int:
        """How many keys are alive; a linearizable read.

        Args:
            revision: At which; 0 for the newest.
            timeout: Seconds that it may take.
        """
        request = _rpc.RangeRequest(key=b"\0", range_end=b"\0", count_only=True, revision=revision)
        with self._errors("count", timeout):
            return int(self._raw.kvstub.Range(request, timeout).count)

    def snapshot(self, idle_timeout: float = 60.0) -> SnapshotStream:
        """The member's database as it is now, without a deadline; iterate over it. Works without quorum.

        etcd3's own method has one deadline for all of it and copies; the stream carries no revision.

        Args:
            idle_timeout: Seconds for which the member may be silent.
        """
        begin = partial(self._raw.maintenancestub.Snapshot, _rpc.SnapshotRequest())
        return SnapshotStream(begin, self.endpoint, self.host, idle_timeout)

    def put(self, key: bytes, value: bytes) -> int:
        """Write a key; returns the revision."""
        with self._errors("put"):
            got = self._raw.kvstub.Put(_rpc.PutRequest(key=key, value=value), self.timeout)
        return int(got.header.revision)

    def get(self, key: bytes, *, serializable: bool = False) -> KeyValue | None:
        """Read a key, or None if there is none.

        Args:
            key: The key.
            serializable: Read what this member has, without asking the others (works without quorum, may be old).
        """
        found = self._range(_rpc.RangeRequest(key=key, serializable=serializable))
        return found[0] if found else None

    def prefix(self, prefix: bytes, *, limit: int = 0) -> tuple[KeyValue, ...]:
        """All keys that start with these bytes, in order; at most ``limit`` if that is not 0."""
        return self._range(_rpc.RangeRequest(key=prefix or b"\0", range_end=range_end(prefix), limit=limit))

    def delete(self, key: bytes) -> bool:
        """Delete a key; tells whether there was one."""
        return self._delete(_rpc.DeleteRangeRequest(key=key)) > 0

    def delete_prefix(self, prefix: bytes) -> int:
        """Delete all keys that start with these bytes; tells how many.

        Raises:
            InputError: No prefix: that would delete everything.
        """
        if not prefix:
            raise InputError("an empty prefix would delete every key")
        return self._delete(_rpc.DeleteRangeRequest(key=prefix, range_end=range_end(prefix)))

    def _range(self, request: Any) -> tuple[KeyValue, ...]:
        with self._errors("get"):
            got = self._raw.kvstub.Range(request, self.timeout)
        return tuple(key_of(kv) for kv in got.kvs)

    def _delete(self, request: Any) -> int:
        with self._errors("delete"):
            return int(self._raw.kvstub.DeleteRange(request, self.timeout).deleted)

    def _errors(self, what: str, timeout: float | None = None) -> AbstractContextManager[None]:
        return explained(what, self.endpoint, self.host, timeout or self.timeout)


def range_end(prefix: bytes) -> bytes:
    """The first key after all those that start with ``prefix`` (etcd's clientv3.GetPrefixRangeEnd)."""
    bare = prefix.rstrip(b"\xff")
    return bare[:-1] + bytes([bare[-1] + 1]) if bare else b"\0"
