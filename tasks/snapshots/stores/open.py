"""Stores as the cluster file describes them."""

from __future__ import annotations

from pathlib import Path

from tasks.cluster.secrets import resolve
from tasks.cluster.spec import Cluster, S3Settings, StoreSettings
from tasks.errors import InputError
from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.directory import DirectoryStore
from tasks.snapshots.stores.s3 import S3Store
from tasks.snapshots.stores.s3_client import Credentials


def open_stores(cluster: Cluster) -> dict[str, Store]:
    """All stores of a cluster, by name. Nothing is asked of them yet.

    Raises:
        InputError: A secret can't be had.
    """
    state = cluster.pki.state_dir
    return {settings.name: open_store(settings, cluster.name, state) for settings in cluster.snapshots.stores}


def open_store(settings: StoreSettings, cluster: str, state: Path | None = None) -> Store:
    """A store; the cluster's name is the first part of where its objects are. Nothing is asked of it yet.

    Args:
        settings: From the cluster file.
        cluster: The cluster's name.
        state: Directory of what this machine remembers of the cluster.

    Raises:
        InputError: A secret can't be had, or the store is neither directory nor bucket.
    """
    if settings.directory is not None:
        used = state / "stores" / settings.name if state else None
        return DirectoryStore(settings.name, settings.directory, cluster, used)
    if settings.s3 is not None:
        return S3Store(settings.name, settings.s3, cluster, _credentials(settings.s3))
    raise InputError(f"store {settings.name} is neither a directory nor a bucket", remedy="give it directory or s3")


def _credentials(s3: S3Settings) -> Credentials | None:
    if s3.access_key is None or s3.secret_key is None:
        return None
    token = resolve(s3.session_token) if s3.session_token else None
    return Credentials(resolve(s3.access_key), resolve(s3.secret_key), token)
