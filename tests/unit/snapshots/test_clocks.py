"""Which snapshot is the latest while a clock was wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tasks.errors import Refused
from tasks.snapshots.find import find, passed_over
from tasks.snapshots.stores.directory import DirectoryStore
from tests.unit.snapshots.shelf import NOW, catalog_of, shelve

HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore("local", tmp_path / "store", "prod-a")


def test_latest_goes_by_revision_while_one_is_from_the_future(store: DirectoryStore) -> None:
    """A clock was five hours ahead; since it is right again, what is newer looks older."""
    ahead = shelve(store, NOW + 5 * HOUR, revision_min=1000, revision_max=1000)
    newest = shelve(store, NOW, revision_min=1001, revision_max=1001)
    catalogs = [catalog_of(store)]
    chosen = find(catalogs, "latest", now=NOW)
    assert chosen.manifest == newest
    assert [entry.id for entry, _ in passed_over(catalogs, chosen)] == [ahead.id]
    assert find(catalogs, "latest", now=NOW + 5 * HOUR).manifest == ahead, "in the past, times are believed"


def test_latest_is_refused_where_revisions_do_not_tell_either(store: DirectoryStore) -> None:
    ahead = shelve(store, NOW + 5 * HOUR, revision_min=1000, revision_max=1000)
    restored = shelve(store, NOW, etcd_cluster_id="0123456789abcdef", revision_min=2000, revision_max=2000)
    with pytest.raises(Refused, match=f"{ahead.id} says it is from the future") as caught:
        find([catalog_of(store)], "latest", now=NOW)
    assert "by its id" in str(caught.value.remedy)
    assert find([catalog_of(store)], restored.id, now=NOW).manifest == restored
