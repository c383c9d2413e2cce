"""Writes in transactions that etcd takes: so many operations, so many bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.cluster.spec import EtcdSettings
from tasks.etcd.rpc_keys import Write

#: Bytes of a transaction beside keys and values, for each key: revisions, tags, lengths.
_EACH = 96


@dataclass(frozen=True)
class Limits:
    """What a transaction may have.

    Args:
        operations: etcd's max-txn-ops.
        bytes: Well below etcd's max-request-bytes, 1.5 MiB: what is written at once is a pause for others.
    """

    operations: int = 128
    bytes: int = 1 << 20


def limits_of(settings: EtcdSettings) -> Limits:
    """Those that the cluster's settings leave; a setting that raises them changes nothing."""
    extra = dict(settings.extra)
    usual = Limits()
    operations = int(extra.get("ETCD_MAX_TXN_OPS", usual.operations))
    size = int(extra.get("ETCD_MAX_REQUEST_BYTES", 3 * usual.bytes // 2))
    return Limits(max(1, min(usual.operations, operations)), min(usual.bytes, 2 * size // 3))


def weight(write: Write) -> int:
    """Bytes that a write takes in a transaction: its key is compared, written, and asked for if that fails."""
    return 3 * len(write.key) + len(write.value or b"") + _EACH


def batches(writes: Iterable[Write], limits: Limits) -> Iterator[tuple[Write, ...]]:
    """The same writes in the same order; one that is too large for itself stands alone."""
    batch: list[Write] = []
    size = 0
    for write in writes:
        more = weight(write)
        if batch and (len(batch) >= limits.operations or size + more > limits.bytes):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(write)
        size += more
    if batch:
        yield tuple(batch)
