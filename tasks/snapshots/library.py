"""All stores of a cluster, opened and read at once. One that fails does not hide what the others have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, InputError, Several, StoreError
from tasks.snapshots.catalog import Catalog, read_catalog
from tasks.snapshots.signing import SigningKey, ensure_signing_key, trusted_key
from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.open import open_stores


@dataclass(frozen=True)
class Library:
    """What there is.

    Args:
        stores: That were asked for, by name, in the cluster file's order.
        catalogs: Of those that answered, in that order.
        failed: Those that did not.
    """

    cluster: Cluster
    stores: Mapping[str, Store]
    catalogs: tuple[Catalog, ...]
    failed: Mapping[str, StoreError]

    def demand_some(self) -> None:
        """Go on only if at least one store answered.

        Raises:
            StoreError, Several: None did.
        """
        errors = list(self.failed.values())
        if self.catalogs or not errors:
            return
        raise errors[0] if len(errors) == 1 else Several("no store can be read", errors)


@contextmanager
def open_library(cluster: Cluster, only: str = "", *, renew: bool = False) -> Iterator[Library]:
    """Open and read the stores of a cluster; closed at the end.

    Args:
        only: Name of the one store that is wanted; all if empty.
        renew: Whether an index may be written, if the key is at hand; see :func:`tasks.snapshots.catalog.read_catalog`.

    Raises:
        InputError: The cluster file has no such store, or none at all; or a secret can't be had.
    """
    trusted = trusted_key(cluster)
    stores = chosen(open_stores(cluster), only)
    try:
        yield read_library(cluster, stores, trusted, renew=index_key(cluster) if renew else None)
    finally:
        for store in stores.values():
            store.close()


def read_library(
    cluster: Cluster, stores: Mapping[str, Store], trusted: str | None, *, renew: SigningKey | None = None
) -> Library:
    """Read the catalogs of all stores, side by side."""
    with ThreadPoolExecutor(max(1, len(stores)), thread_name_prefix="store") as readers:
        reads = {
            name: readers.submit(read_catalog, store, cluster.name, trusted, renew=renew)
            for name, store in stores.items()
        }
    catalogs, failed = [], {}
    for name, read in reads.items():
        try:
            catalogs.append(read.result())
        except StoreError as error:
            failed[name] = error
    return Library(cluster, stores, tuple(catalogs), failed)


def chosen(stores: Mapping[str, Store], only: str) -> dict[str, Store]:
    """One store, or all.

    Raises:
        InputError: There is no such store, or none at all.
    """
    if not stores:
        raise InputError(
            "the cluster file names no store for snapshots", state="nothing was touched", remedy="add snapshots.stores"
        )
    if only and only not in stores:
        raise InputError(
            f"the cluster file has no store {only[:60]!r}; it has {', '.join(stores)}",
            state="nothing was touched",
            remedy="name one of these with --store",
        )
    return {name: store for name, store in stores.items() if only in ("", name)}


def key_at_hand(cluster: Cluster) -> SigningKey:
    """The key that signs marks; never a new one, since nobody would trust what that signs.

    Raises:
        InputError: It is not on this machine.
    """
    if trusted_key(cluster) is None:
        raise InputError(
            f"the key that signs this cluster's snapshots is not in {cluster.pki.state_dir}",
            state="nothing was written",
            remedy="work where backups are made, or name the key in snapshots.signing.private_key",
        )
    return ensure_signing_key(cluster)


def index_key(cluster: Cluster) -> SigningKey | None:
    """The key that signs an index, None if it is not on this machine: an index is no necessity."""
    try:
        return key_at_hand(cluster)
    except EtcdFlowsError:
        return None
