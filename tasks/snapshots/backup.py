"""One backup: a member's snapshot into all stores at once, and a signed manifest in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, SnapshotError, StoreError
from tasks.pki.client import ClientFiles
from tasks.snapshots.age_keys import Locks
from tasks.snapshots.capture import Capture
from tasks.snapshots.capture_host import capture_host
from tasks.snapshots.capture_stream import capture_stream
from tasks.snapshots.keep import Into, Order, keep
from tasks.snapshots.manifest import Manifest, new_id
from tasks.snapshots.pipeline import Progress, Pumped
from tasks.snapshots.signing import SigningKey
from tasks.snapshots.source import Choice, Sources
from tasks.snapshots.spool import Spool
from tasks.snapshots.stores.base import Store


class Means(Into):
    """With what a member is backed up.

    Args:
        files: The operator's client certificate.
        tell: Told what people should know at once, such as that the next member is tried.
    """

    __slots__ = ("files", "tell")

    def __init__(
        self,
        stores: Mapping[str, Store],
        files: ClientFiles,
        locks: Locks | None,
        key: SigningKey,
        spool: Spool,
        progress: Callable[[Progress], None],
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(stores, locks, key, spool, progress)
        self.files = files
        self.tell = tell


@dataclass(frozen=True)
class Backup:
    """A snapshot that is in at least one store.

    Args:
        manifests: What each store holds, by store.
        failed: The stores that do not hold it, and why.
        source: The member it was read from, and why that one.
        way: How it was read, in words.
        pumped: Sizes and times.
        earlier: Whether it was stored before the run's worker went away, see :mod:`tasks.snapshots.earlier`.
    """

    manifests: Mapping[str, Manifest]
    failed: Mapping[str, StoreError]
    source: Choice
    way: str
    pumped: Pumped
    earlier: bool = False

    @property
    def manifest(self) -> Manifest:
        """Of any store: they differ in nothing but how the store proved that it holds the bytes."""
        return next(iter(self.manifests.values()))


def back_up(order: Order, means: Means, sources: Sources) -> Backup:
    """Capture, store, prove, sign.

    A member that dies on the way is given up, with all that came from it: the next one is read from the start, under a
    new id and with a new key.

    Raises:
        SnapshotError: No member could be read to the end.
        StoreError: No store took it; when several failed, the first one's error.
    """
    for place, choice in enumerate(sources.choices, 1):
        try:
            return _from_member(order, means, sources, choice)
        except StoreError:
            raise
        except EtcdFlowsError as error:
            if place == len(sources.choices):
                raise _none_left(sources, error) from error
            means.tell(f"{choice.name}: {error.message}; the next member is read from the start")
    raise SnapshotError("there is no member to read from", remedy="check-cluster tells which members are healthy")


def _from_member(order: Order, means: Means, sources: Sources, choice: Choice) -> Backup:
    began = datetime.now(UTC)
    snapshot = new_id(began)
    with _opened(order.cluster, means, sources, choice, snapshot) as capture:
        kept = keep(order, means, capture, snapshot, began)
    return Backup(kept.manifests, kept.failed, choice, sources.why, kept.pumped)


def _opened(
    cluster: Cluster, means: Means, sources: Sources, choice: Choice, snapshot: str
) -> AbstractContextManager[Capture]:
    host = cluster.host(choice.name)
    if sources.way == "stream":
        return capture_stream(host, means.files)
    (db_bytes,) = (status.db_bytes for status in sources.statuses if status.name == choice.name)
    return capture_host(cluster, host, snapshot, db_bytes)


def _none_left(sources: Sources, last: EtcdFlowsError) -> SnapshotError:
    return SnapshotError(
        f"none of {', '.join(choice.name for choice in sources.choices)} could be read to the end; "
        f"the last said: {last.message}",
        host=last.host,
        state="no snapshot was made; the members were only read",
        remedy=last.remedy or "check-cluster tells what is wrong with them",
    )
