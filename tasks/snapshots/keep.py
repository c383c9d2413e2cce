"""Storing what is being captured, wherever it comes from: into all stores at once, a signed manifest last in each.

The order in which things become true is what makes a backup safe to cut off anywhere: bytes first, checked by the
store; the manifest last. What a run that was killed leaves behind is no snapshot, and the sweep removes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from typing import Literal

from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, StoreError
from tasks.snapshots.age_keys import Locks
from tasks.snapshots.bundle import bundle_key, make_bundle
from tasks.snapshots.capture import Capture, Facts
from tasks.snapshots.codec import Codec, choose_compression
from tasks.snapshots.manifest import Kind, Manifest, data_key, manifest_key, to_json
from tasks.snapshots.pipeline import Progress, Pumped, pump
from tasks.snapshots.signing import SigningKey, seal
from tasks.snapshots.spool import Spool
from tasks.snapshots.stores.base import Store, Stored


@dataclass(frozen=True)
class Order:
    """What is to be made, and for whom.

    Args:
        cluster_uuid: Our own identity of the cluster, empty if no host could tell.
        requested_by: As claimed.
        reason: As claimed.
    """

    cluster: Cluster
    cluster_uuid: str
    kind: Kind
    run_id: str
    requested_by: str = ""
    reason: str = ""


class Into:
    """Where to, and how protected. Not a dataclass on purpose: Prefect looks into those, and this holds secrets.

    Args:
        stores: By name; not empty.
        locks: What encrypts, None for clear.
        key: What signs.
        spool: Whether and where bytes wait on the worker's disk for slow stores.
        progress: Told as bytes go by.
    """

    __slots__ = ("key", "locks", "progress", "spool", "stores")

    def __init__(
        self,
        stores: Mapping[str, Store],
        locks: Locks | None,
        key: SigningKey,
        spool: Spool,
        progress: Callable[[Progress], None],
    ) -> None:
        self.stores = stores
        self.locks = locks
        self.key = key
        self.spool = spool
        self.progress = progress

    def __repr__(self) -> str:
        return f"<means to back up into {', '.join(self.stores)}>"


@dataclass(frozen=True)
class Kept:
    """What stores hold of one snapshot.

    Args:
        manifests: By store.
        failed: The stores that do not hold it, and why.
        pumped: Sizes and times.
    """

    manifests: dict[str, Manifest]
    failed: dict[str, StoreError]
    pumped: Pumped


def keep(
    order: Order,
    into: Into,
    capture: Capture,
    snapshot: str,
    began: datetime,
    trailer: Literal["required", "optional"] = "required",
) -> Kept:
    """Store what is being captured, and sign what came of it.

    Args:
        snapshot: The new snapshot's id.
        trailer: ``optional`` for what is not a snapshot of etcd's but a copy of its database.

    Raises:
        SnapshotError: It ended too early, or is not whole.
        StoreError: No store took it.
    """
    compression, pieces = choose_compression(iter(capture), order.cluster.snapshots.compression)
    codec = Codec(compression, into.locks)
    key = data_key(snapshot, codec.compression, codec.encryption)
    pumped, failed = _pump(into, key, codec, pieces, capture.expected_bytes, trailer)
    facts = capture.facts()
    if into.locks is not None and order.kind != "imported":
        facts = replace(facts, notes=(*facts.notes, *_put_bundle(order, into, snapshot, facts, pumped.stored)))
    manifests = {
        name: _manifest(order, snapshot, began, codec, facts, pumped, stored) for name, stored in pumped.stored.items()
    }
    for name, manifest in list(manifests.items()):
        try:
            document = seal(to_json(manifest), into.key)
            into.stores[name].put(manifest_key(snapshot), document, only_new=True)
        except StoreError as error:
            failed[name] = error
            del manifests[name]
    if not manifests:
        raise next(iter(failed.values()))
    return Kept(manifests, failed, pumped)


def _put_bundle(order: Order, into: Into, snapshot: str, facts: Facts, stores: Iterable[str]) -> list[str]:
    """Put what is needed for total loss beside the snapshot; tells where that failed, which undoes nothing."""
    try:
        bundle = make_bundle(
            order.cluster,
            into.locks,
            into.key,
            cluster_uuid=order.cluster_uuid,
            snapshot_id=snapshot,
            etcd_version=facts.etcd_version,
            tool_version=installed_version("etcd-flows"),
            now=datetime.now(UTC),
        )
    except EtcdFlowsError as error:
        return [f"there is no bundle for total loss: {error.message}"]
    failed = []
    for name in stores:
        try:
            into.stores[name].put(bundle_key(snapshot), bundle)
        except StoreError as error:
            failed.append(f"{name} has no bundle for total loss: {error.message}")
    return failed


def _pump(
    into: Into,
    key: str,
    codec: Codec,
    pieces: Iterator[bytes],
    expected: int,
    trailer: Literal["required", "optional"],
) -> tuple[Pumped, dict[str, StoreError]]:
    """Into all stores that let an upload begin; the others are told apart, not waited for."""
    failed: dict[str, StoreError] = {}
    with ExitStack() as stack:
        uploads = {}
        for name, store in into.stores.items():
            try:
                uploads[name] = stack.enter_context(store.upload(key, size_hint=expected, hashed=True))
            except StoreError as error:
                failed[name] = error
        if not uploads:
            raise next(iter(failed.values()))
        pumped = pump(
            pieces, codec, uploads, spool=into.spool, progress=into.progress, expected=expected, trailer=trailer
        )
    return pumped, failed | dict(pumped.failed)


def _manifest(
    order: Order, snapshot: str, began: datetime, codec: Codec, facts: Facts, pumped: Pumped, stored: Stored
) -> Manifest:
    return Manifest(
        id=snapshot,
        kind=order.kind,
        cluster=order.cluster.name,
        cluster_uuid=order.cluster_uuid,
        etcd_cluster_id=facts.etcd_cluster_id,
        members=facts.members,
        source=facts.source,
        via=facts.via,
        etcd_version=facts.etcd_version,
        revision_min=facts.revision_min,
        revision_max=facts.revision_max,
        raft_term=facts.raft_term,
        raft_index=facts.raft_index,
        hashkv=facts.hashkv,
        compression=codec.compression,
        encryption=codec.encryption,
        recipients=codec.recipients,
        db_bytes=pumped.db_bytes,
        db_sha256=pumped.db_sha256,
        object=stored.key,
        object_bytes=stored.bytes,
        object_sha256=stored.sha256,
        proof=stored.proof,
        started=began.timestamp(),
        finished=time.time(),
        held_seconds=round(pumped.held_seconds, 3),
        tool_version=installed_version("etcd-flows"),
        run_id=order.run_id,
        requested_by=order.requested_by,
        reason=order.reason,
        notes=(*facts.notes, *([pumped.note] if pumped.note else [])),
    )
