"""Settings of backups that do not fit together."""

from __future__ import annotations

import os

from tasks.cluster.checked import Checked
from tasks.cluster.model_snapshots import StoreSection
from tasks.cluster.problems import KeyPath


def check_snapshots(checked: Checked) -> None:
    """Note what is wrong with stores, encryption and retention."""
    seen: dict[str, int] = {}
    for index, store in enumerate(checked.model.snapshots.stores):
        path: KeyPath = ("snapshots", "stores", index)
        if store.name in seen:
            checked.note((*path, "name"), f"another store is called {store.name} too", "names tell stores apart")
        seen[store.name] = index
        _store(checked, path, store)
    _places(checked)
    _encryption(checked)
    _retention(checked)


def _places(checked: Checked) -> None:
    """Two stores in one place are one copy that counts as two, and each backup would fail in the second."""
    seen: dict[tuple[str, ...], str] = {}
    for index, store in enumerate(checked.cluster.snapshots.stores):
        place: tuple[str, ...]
        if store.s3 is not None:
            place = ((store.s3.endpoint or "").rstrip("/"), store.s3.bucket, store.s3.prefix)
        elif store.directory is not None:
            place = (os.path.normpath(store.directory),)
        else:
            continue
        if place in seen:
            checked.note(
                ("snapshots", "stores", index),
                f"the same place as the store {seen[place]}: one copy would be taken for two",
                "give it another place, or leave it out",
            )
        seen.setdefault(place, store.name)


def _store(checked: Checked, path: KeyPath, store: StoreSection) -> None:
    if (store.directory is None) == (store.s3 is None):
        both = "both are given" if store.s3 else "neither is given"
        checked.note(path, f"a store is either a directory or s3; {both}", "directory: /srv/backups")
    if store.s3 is None:
        return
    s3 = store.s3
    if (s3.access_key is None) != (s3.secret_key is None):
        checked.note((*path, "s3"), "access_key and secret_key belong together", "give both, or neither")
    if s3.access_key and s3.profile:
        checked.note((*path, "s3", "profile"), "credentials are given twice: keys and a profile", "leave one out")
    if s3.endpoint and s3.endpoint.startswith("http://") and not checked.cluster.snapshots.encrypted:
        text = "over plain http the whole content of the cluster can be read on the way"
        checked.note((*path, "s3", "endpoint"), text, "use https, or snapshots.encryption", "warning")


def _encryption(checked: Checked) -> None:
    snapshots = checked.cluster.snapshots
    path: KeyPath = ("snapshots", "encryption")
    if snapshots.recipients and snapshots.passphrase:
        # The age format has no mixture of passphrase and public keys (age specification, scrypt recipient stanza).
        checked.note(path, "either recipients or a passphrase, not both", "recipients are the better choice")
    if snapshots.passphrase and snapshots.identity:
        checked.note((*path, "identity"), "a passphrase needs no identity", "leave identity out")


def _retention(checked: Checked) -> None:
    keep = checked.cluster.snapshots.retention
    for store in checked.cluster.snapshots.stores:
        if store.s3 and store.s3.lock != "none" and keep.max_age_days and store.s3.lock_days > keep.max_age_days:
            checked.note(
                ("snapshots", "retention", "max_age"),
                f"objects in {store.name} stay locked for {store.s3.lock_days:g} days, longer than that",
                "a lock_for of at most max_age",
                "warning",
            )
