"""A snapshot from one store into another, byte for byte.

The manifest is copied as it is, with its signature: what the maker said stays what the maker said, no key is needed to
copy, and whoever trusted the original can trust the copy. What the manifest can't say, how *this* store proved that it
holds the bytes, is a mark beside it, if the signing key is at hand. So the copy of a snapshot that was opened counts as
opened: its bytes were compared on the way.

Pins do not travel: each store has its own retention. A copy that no rule of it keeps goes with the next prune there,
unless it is pinned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from tasks.errors import ManifestError, StoreConflict, StoreCorrupt
from tasks.snapshots.bundle import bundle_key
from tasks.snapshots.catalog import Catalog, CatalogEntry
from tasks.snapshots.fetch import Progress, Reading
from tasks.snapshots.manifest import from_json, manifest_key
from tasks.snapshots.marks import LEVELS, Level, verification, write_mark
from tasks.snapshots.signing import SigningKey, unseal
from tasks.snapshots.stores.base import Store


@dataclass(frozen=True)
class Copied:
    """A copy.

    Args:
        proof: How the target proved that it holds the bytes; empty if it had the snapshot already.
    """

    snapshot: str
    source: str
    target: str
    bytes: int
    proof: str

    @property
    def there_before(self) -> bool:
        """Whether nothing had to be copied."""
        return not self.proof


def missing(source: Catalog, target: Catalog) -> list[CatalogEntry]:
    """The sound snapshots that one store has and the other has not, the oldest first."""
    there = {entry.id for entry in target.entries if not entry.broken}
    return [entry for entry in reversed(source.entries) if not entry.unsound and entry.id not in there]


def copy(
    entry: CatalogEntry,
    source: Store,
    target: Store,
    there: Catalog,
    key: SigningKey | None,
    now: Callable[[], datetime],
    progress: Progress | None = None,
) -> Copied:
    """Copy one snapshot, or mend a copy that is known to be broken. The manifest is written last: cut off anywhere,
    there is no half copy.

    Args:
        there: What the target has.
        key: What signs the mark; None where it is not at hand.
        now: The clock, for the mark.

    Raises:
        StoreConflict: The target has another snapshot of that id.
        StoreCorrupt: The source gave other bytes than its manifest says, or the target holds other bytes than it got.
        StoreError: A store failed.
    """
    manifest = entry.manifest
    present = _present(entry, there)
    if present and not present.broken:
        return Copied(entry.id, source.name, target.name, 0, "")
    document = _document(entry, source)
    reading = Reading(manifest, source, progress)
    with target.upload(manifest.object, size_hint=manifest.object_bytes) as upload:
        for piece in reading:
            upload.write(piece)
        reading.compare()
        stored = upload.commit()
    if entry.bundle:
        _copy_bundle(entry, source, target)
    if not present:
        target.put(manifest_key(entry.id), document, only_new=True)
    if key is not None:
        level: Level = max("stored", entry.level, key=LEVELS.index)
        mark = verification(manifest, level, now())
        write_mark(target, replace(mark, reason=f"copied from {source.name} ({entry.level}), all bytes compared"), key)
    return Copied(entry.id, source.name, target.name, stored.bytes, stored.proof)


def _present(entry: CatalogEntry, there: Catalog) -> CatalogEntry | None:
    """The same snapshot in the target. A backup into both stores differs only in how, and when, they proved it."""
    found = next((other for other in there.entries if other.id == entry.id), None)
    unreadable = any(damaged.id == entry.id for damaged in there.damaged)
    if found is not None:
        same = replace(found.manifest, proof=entry.manifest.proof, finished=entry.manifest.finished) == entry.manifest
        if same and found.untrusted == entry.untrusted:
            return found
    if found is None and not unreadable:
        return None
    raise StoreConflict(
        f"store {there.store} has another manifest of {entry.id}",
        state="nothing was copied",
        remedy="one of the two is not what it says: see `etcd-flows snapshots show`, and find out who wrote them",
    )


def _document(entry: CatalogEntry, source: Store) -> bytes:
    """The manifest as it lies in the source, and still the one that the entry was made of."""
    document = source.get(manifest_key(entry.id))
    if from_json(unseal(document, None).payload) != entry.manifest:
        raise ManifestError(
            f"the manifest of {entry.id} in {source.name} was replaced since it was read",
            state="nothing was copied",
            remedy="find out what else writes there",
        )
    return document


def _copy_bundle(entry: CatalogEntry, source: Store, target: Store) -> None:
    content = source.get(bundle_key(entry.id))
    target.put(bundle_key(entry.id), content)
    if target.get(bundle_key(entry.id)) != content:
        raise StoreCorrupt(f"store {target.name}: the bundle of {entry.id} is not what was copied", remedy="copy again")
