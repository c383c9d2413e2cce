"""Which stored snapshots are to be opened next: pure, from catalogs and the keys at hand (rule 16).

What is stored is proven by its checksum alone; whether a database is in it shows only when it is opened. The newest
come first, since they are what a restore would take.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.errors import InputError
from tasks.reporting.human import plural
from tasks.snapshots.age_keys import Keys
from tasks.snapshots.catalog import Catalog, CatalogEntry
from tasks.snapshots.manifest import Manifest


@dataclass(frozen=True)
class Due:
    """Sound copies that nobody has opened yet, the newest first.

    Args:
        chosen: To be opened now.
        waiting: For a later run.
        locked: That no key at hand opens.
    """

    chosen: tuple[CatalogEntry, ...]
    waiting: tuple[CatalogEntry, ...]
    locked: tuple[CatalogEntry, ...]

    def demand_a_key(self) -> None:
        """Go on only if something can be opened, or nothing has to be.

        Raises:
            InputError: All that is due is locked.
        """
        if self.locked and not self.chosen:
            raise InputError(
                f"no key at hand opens {plural(len(self.locked), 'snapshot')} never opened so far, the newest "
                f"{self.locked[0].id}",
                state="nothing was read, nothing was written down",
                remedy="name the secret key in snapshots.encryption.identity, or open them where it is",
            )


def due(catalogs: Iterable[Catalog], keys: Keys | None, at_most: int) -> Due:
    """What is to be opened.

    Copies in several stores count each: each may have rotted by itself. What is unsound is left out: it is known as
    bad, or could have been made by anyone.

    Args:
        catalogs: Of all stores, in the cluster file's order.
        at_most: So many copies now.
    """
    entries = [entry for catalog in catalogs for entry in catalog.entries if not (entry.verified or entry.unsound)]
    entries.sort(key=lambda entry: (entry.taken, entry.id), reverse=True)
    fitting = [entry for entry in entries if fits(entry.manifest, keys)]
    locked = tuple(entry for entry in entries if not fits(entry.manifest, keys))
    return Due(tuple(fitting[:at_most]), tuple(fitting[at_most:]), locked)


def fits(manifest: Manifest, keys: Keys | None) -> bool:
    """Whether one of these keys may open a snapshot, as far as its manifest tells; a passphrase may be another."""
    if manifest.encryption == "none":
        return True
    if keys is None:
        return False
    if manifest.recipients:
        return not set(manifest.recipients).isdisjoint(keys.public)
    return keys.passphrase is not None
