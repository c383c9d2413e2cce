"""What is known of a snapshot: the manifest, written last and never changed. Without it a snapshot does not exist.

Objects of a cluster in a store (rule: one manifest for each store):

* ``manifests/ID.json``: the signed manifest (:mod:`tasks.snapshots.signing`).
* ``data/ID/snapshot.db[.zst][.age]``: the bytes.
* ``marks/ID/...json``: small signed notes added later: verifications, pins.
* ``bundles/ID.age``: what is needed when every host is gone.

An id is the UTC time at which the capture began and a random part, so ids sort by time.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from tasks.errors import ManifestError

FORMAT = "etcd-flows-snapshot/1"
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")

Kind = Literal["scheduled", "manual", "safety", "imported"]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, lt=253402300800)]  # as a date: up to the year 9999
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class HashKV:
    """etcd's hash over the keys at one revision; equal hashes of equal (revision, compact_revision) mean equal data.

    Args:
        revision: That the hash was taken at.
        compact_revision: That the member was compacted to; -1 if it never was.
        hash: 32 bits.
    """

    revision: Count
    compact_revision: int
    hash: Count


@dataclass(frozen=True)
class ManifestMember:
    """A member at the time of the snapshot.

    Args:
        name: Of the member; empty while it has never started.
        id: etcd's, in hex.
        peer_urls: Advertised to peers.
        client_urls: Advertised to clients.
        learner: Whether it had no vote.
    """

    name: str
    id: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool


@dataclass(frozen=True)
class Manifest:
    """A snapshot.

    Args:
        id: See :func:`new_id`.
        kind: Why it was made; ``safety`` before a restore, ``imported`` from elsewhere.
        cluster: Name in the cluster file.
        cluster_uuid: Our own identity of the cluster, kept across restores; empty if not known (imported).
        etcd_cluster_id: etcd's, in hex; changes with every restore.
        members: All members; empty if not known.
        source: Name of the member it was read from, or of the file it was imported from.
        via: ``stream`` (gRPC to the worker), ``host`` (etcdctl on the member), ``file`` (imported), ``raw`` (a copy of
            ``member/snap/db``, which has no trailer).
        etcd_version: Of the member.
        revision_min: The snapshot holds at least this revision.
        revision_max: And at most this one; equal if known exactly.
        raft_term: At the time.
        raft_index: At the time.
        hashkv: The member's own hash just before, None if not known.
        compression: Of the stored bytes.
        encryption: Of the stored bytes.
        recipients: Public keys that can open it; empty for a passphrase or none.
        db_bytes: Size of the snapshot itself, trailer included.
        db_sha256: Of the snapshot itself, trailer included.
        object: Key of the data in the store.
        object_bytes: Size of what is stored.
        object_sha256: Of what is stored.
        proof: How it is known that the store holds it, see :class:`tasks.snapshots.stores.base.Stored`.
        started: Unix time at which the capture began.
        finished: Unix time at which the last byte was stored.
        held_seconds: How long the member kept its read transaction open for it.
        tool_version: Of etcd-flows.
        run_id: Of the run that made it.
        requested_by: As claimed.
        reason: As claimed.
        notes: What people should know ("foreign: no hash of its own").
    """

    id: str
    kind: Kind
    cluster: str
    cluster_uuid: str
    etcd_cluster_id: str
    members: tuple[ManifestMember, ...]
    source: str
    via: Literal["stream", "host", "file", "raw"]
    etcd_version: str
    revision_min: Count
    revision_max: Count
    raft_term: Count
    raft_index: Count
    hashkv: HashKV | None
    compression: Literal["none", "zstd", "gzip"]
    encryption: Literal["none", "age"]
    recipients: tuple[str, ...]
    db_bytes: Count
    db_sha256: Sha256
    object: str
    object_bytes: Count
    object_sha256: Sha256
    proof: str
    started: Seconds
    finished: Seconds
    held_seconds: Seconds
    tool_version: str
    run_id: str
    requested_by: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def began(self) -> datetime:
        """When the capture began, UTC."""
        return datetime.fromtimestamp(self.started, UTC)


def new_id(now: datetime) -> str:
    """``20261124T143000Z-6f3a9c1e``."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def is_id(text: str) -> bool:
    """Whether it is a snapshot's id."""
    return _ID.fullmatch(text) is not None


def manifest_key(snapshot_id: str) -> str:
    """Where the manifest of that snapshot is."""
    return f"manifests/{snapshot_id}.json"


def data_key(snapshot_id: str, compression: str, encryption: str) -> str:
    """Where the bytes of that snapshot are."""
    suffix = {"zstd": ".zst", "gzip": ".gz"}.get(compression, "") + (".age" if encryption == "age" else "")
    return f"data/{snapshot_id}/snapshot.db{suffix}"


def to_json(manifest: Manifest) -> dict[str, Any]:
    """Plain data, as signed and stored."""
    return {"format": FORMAT, **json.loads(json.dumps(asdict(manifest)))}


def from_json(data: Any) -> Manifest:
    """Read what :func:`to_json` made; keys that a newer version added are passed over.

    Raises:
        ManifestError: It is not a manifest, or of a format that this version does not know.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise ManifestError(
            f"this is not a manifest of the format {FORMAT} (found: {str(found)[:60]!r})",
            remedy="use the version of etcd-flows that wrote it, or a newer one",
        )
    try:
        manifest = _reader().validate_json(json.dumps(data), strict=True)
    except (ValidationError, ValueError) as error:
        raise ManifestError(f"the manifest is damaged: {_first_of(error)}", remedy="use another snapshot") from None
    problem = _problem(manifest)
    if problem:
        raise ManifestError(f"the manifest is damaged: {problem}", remedy="use another snapshot")
    return manifest


def _problem(manifest: Manifest) -> str | None:
    if not is_id(manifest.id):
        return f"{manifest.id[:60]!r} is not a snapshot's id"
    if manifest.object != data_key(manifest.id, manifest.compression, manifest.encryption):
        return f"it names the data of something else, {manifest.object[:100]!r}"
    if manifest.revision_min > manifest.revision_max:
        return f"revisions from {manifest.revision_min} to {manifest.revision_max}"
    return None


@cache
def _reader() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)


def _first_of(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)[:100]
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
