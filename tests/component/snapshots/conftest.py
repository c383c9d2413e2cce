"""Real members and real stores for the tests of snapshots."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.snapshots.stores.directory import DirectoryStore
from tests.component.etcd.conftest import make_members
from tests.s3.fixtures import make_s3_store, running_s3, s3_proxy, s3_server, s3_store, spoiled_store

__all__ = ["make_members", "make_s3_store", "running_s3", "s3_proxy", "s3_server", "s3_store", "spoiled_store"]


@pytest.fixture
def directory_store(tmp_path: Path) -> DirectoryStore:
    """A store in an empty directory."""
    return DirectoryStore("local", tmp_path / "backups", "prod-a")
