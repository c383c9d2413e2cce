"""Restore drills from the store and the key alone, in every supported line of etcd."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest

from tasks.cluster.secrets import Secret
from tasks.cluster.spec import DrillPlace, Release
from tasks.errors import DecryptionError
from tasks.etcd.versions import NEWEST
from tasks.snapshots.age_keys import Keys, Locks
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.drill import Drilled, drill, record
from tasks.snapshots.stores.directory import DirectoryStore
from tests import etcd_specs as specs
from tests.component.etcd.conftest import Member
from tests.component.snapshots.test_backup import entries, run
from tests.unit.snapshots.shelf import KEY

pytestmark = pytest.mark.component
Make = Callable[..., list[Member]]


@pytest.mark.parametrize("version", NEWEST.values())
def test_from_the_store_and_the_key_alone(
    version: str, make_members: Make, etcd_release_dir: Path, tmp_path: Path
) -> None:
    store = DirectoryStore("local", tmp_path / "backups", "prod-a")
    identity = pyrage.x25519.Identity.generate()
    entry, last = backed_up(make_members, version, store, Locks(recipients=(str(identity.to_public()),)))
    release = Release("3.6.16", str(etcd_release_dir), None, tmp_path / "cache")
    place = tmp_path / "scratch"
    told: list[str] = []

    def held(keys: Keys, where: Path | DrillPlace = place) -> Drilled:
        told.clear()
        return drill(entry, store, keys, release, where=where, tell=lambda name, _seconds: told.append(name))

    keys = Keys(identity=Secret(str(identity)))
    done = held(keys)
    assert (done.bad, done.read) == ("", 41)
    assert done.contents is not None
    assert (done.contents.revision, done.contents.keys) == (last, 41)
    assert entry.manifest.hashkv is not None
    assert done.contents.hash == entry.manifest.hashkv.hash
    assert told == [name for name, _ in done.phases]
    assert done.seconds > 0
    assert [path.name for path in place.iterdir()] == [], "nothing in clear is left"
    machine = replace(specs.host("drill-host"), ssh=replace(specs.LOCAL, sudo="none"), connection="local")
    there = held(keys, DrillPlace(machine, str(tmp_path / "there")))
    assert told == [name for name, _ in there.phases]
    assert (there.bad, there.contents, there.read) == ("", done.contents, done.read), "as here"
    assert (there.machine, told[2]) == ("drill-host", "bring it to drill-host")
    assert list((tmp_path / "there").iterdir()) == []
    record(entry, store, done, KEY, datetime.now(UTC))
    (after,) = entries(store)
    assert (after.level, after.verified) == ("restored", True)

    with pytest.raises(DecryptionError):
        held(Keys(identity=Secret(str(pyrage.x25519.Identity.generate()))))
    (data,) = (path for path in (tmp_path / "backups").rglob("snapshot.db*") if path.is_file())
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    bad = held(keys)
    assert "changed" in bad.bad
    assert bad.remedy
    record(entry, store, bad, KEY, datetime.now(UTC))
    (spoiled,) = entries(store)
    assert (spoiled.verified, spoiled.unsound != "") == (False, True)


def backed_up(make_members: Make, version: str, store: DirectoryStore, locks: Locks) -> tuple[CatalogEntry, int]:
    """A snapshot of 41 keys, some of them changed and one removed; the member is gone. And its newest revision."""
    (member,) = make_members(version)
    member.start()
    with member.client() as client:
        for number in range(42):
            client.put(b"/key/%02d" % number, os.urandom(2000))
        client.put(b"/key/00", b"again")
        client.delete(b"/key/41")
        last = client.status().revision
    run([member], store, locks=locks)
    member.stop()
    (entry,) = entries(store)
    return entry, last
