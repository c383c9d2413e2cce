"""From a bundle to a directory to work in, when the hosts and the operator's machine are gone.

What there has to be: the store and the right to read it, the key that opens it, the public key that signs. What there
is then: the CA, and a cluster file that points to both and wants nothing but its new hosts. The cluster keeps its name,
its CA and, from the snapshot's manifest, its own identity: clients that trusted it trust it still.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from tasks.errors import InputError, Refused, StoreMissing
from tasks.pki import store as files
from tasks.snapshots.age_keys import Keys
from tasks.snapshots.bundle import Bundle, bundle_key, open_bundle
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.find import find
from tasks.snapshots.library import Library

STATE = "state"
_UNTOUCHED = "nothing was written"


@dataclass(frozen=True)
class Place:
    """What is known of the backups when all else is gone, as the cluster file spells it.

    Args:
        store: An entry of ``snapshots.stores``.
        signer: Public key that manifests have to be signed for; empty if it is not known.
        identity: Reference of the secret key of age; empty if there is none.
        passphrase: Reference of the passphrase; likewise.
    """

    store: Mapping[str, Any]
    signer: str = ""
    identity: str = ""
    passphrase: str = ""

    def section(self) -> dict[str, Any]:
        """As the cluster file's ``snapshots``."""
        locks = {"identity": self.identity, "passphrase": self.passphrase}
        return {
            "stores": [dict(self.store)],
            "encryption": {name: value for name, value in locks.items() if value},
            "signing": {"public_key": self.signer} if self.signer else {},
        }


def find_bundle(
    library: Library, keys: Keys | None, wanted: str, accept: Literal["sound", "untrusted"], trusted: str | None
) -> tuple[CatalogEntry, Bundle]:
    """The bundle of a snapshot; of one before it where that has none.

    Args:
        wanted: As for :func:`tasks.snapshots.find.find`.
        accept: ``untrusted``: also what anyone who can write to the store may have made.

    Raises:
        InputError: There is no such snapshot, or no bundle.
        Refused: It is not signed by the trusted key.
        DecryptionError: The key is not the right one.
        ManifestError: What is in it was changed.
        StoreError: The store failed.
    """
    first = find(library.catalogs, wanted, accept=accept)
    entries = [entry for catalog in library.catalogs for entry in catalog.entries if not entry.unsound]
    older = sorted((e for e in entries if e.taken < first.taken), key=lambda e: e.taken, reverse=True)
    for entry in (first, *older):
        with suppress(StoreMissing):
            bundle = open_bundle(library.stores[entry.store].get(bundle_key(entry.id)), keys, trusted)
            _demand_ours(bundle, accept)
            return entry, bundle
    raise InputError(
        f"neither {first.id} nor an older snapshot has a bundle for total loss",
        state=_UNTOUCHED,
        remedy="bundles are made of encrypted backups alone; put cluster file and CA together from where else you kept "
        "them, then bootstrap-cluster --from-snapshot",
    )


def _demand_ours(bundle: Bundle, accept: str) -> None:
    if bundle.trust != "signed" and accept != "untrusted":
        raise Refused(
            f"the bundle of {bundle.facts['snapshot']} is signed by {bundle.signer or 'nobody'}, which is not the key "
            "that is trusted: anyone who can write to the store may have made it, and its CA with it",
            state=_UNTOUCHED,
            remedy="give the public key that was pinned (--signer); only if you know where it comes from: "
            "--accept-untrusted",
        )


def new_cluster_file(content: bytes, place: Place | None, hosts: Sequence[tuple[str, str]], head: str) -> bytes:
    """The cluster file for the new hosts: as it was, with what is known by now. Pure.

    Args:
        content: As it was.
        place: Where the backups are, and what opens them; None leaves that as it was.
        hosts: Name and address of the new hosts; without any the lost ones stay there, to be replaced.
        head: What people should read first.

    Raises:
        InputError: It was no YAML.
    """
    try:
        document = yaml.safe_load(content)
    except yaml.YAMLError:
        document = None
    if not isinstance(document, dict):
        raise InputError(
            "the cluster file in the bundle can't be read as YAML",
            state=_UNTOUCHED,
            remedy="take the bundle of another snapshot (--snapshot)",
        )
    document["pki"] = {**(document.get("pki") or {}), "state_dir": f"./{STATE}"}
    if hosts:
        document["hosts"] = [{"name": name, "address": address} for name, address in hosts]
    if place is not None:
        document["snapshots"] = _snapshots(document.get("snapshots") or {}, place)
    comment = "".join(f"# {line}".rstrip() + "\n" for line in head.splitlines())
    return (comment + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)).encode()


def _snapshots(section: Mapping[str, Any], place: Place) -> dict[str, Any]:
    known = place.section()
    stores = list(section.get("stores") or [])
    if not any(_same(store, place.store) for store in stores):
        stores.insert(0, dict(place.store))
    encryption = {**(section.get("encryption") or {}), **known["encryption"]}
    signing = {**(section.get("signing") or {}), **known["signing"]}
    return {**section, "stores": stores, "encryption": encryption, "signing": signing}


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two entries are one place; credentials and the like may differ."""

    def where(entry: Mapping[str, Any]) -> tuple[str, ...]:
        s3 = entry.get("s3") or {}
        prefix = str(s3.get("prefix") or "").strip("/")
        return (str(entry.get("directory") or ""), str(s3.get("bucket") or ""), prefix, str(s3.get("endpoint") or ""))

    return where(one) == where(other)


def lay_out(bundle: Bundle, directory: Path, cluster_file: bytes) -> tuple[str, ...]:
    """Put everything into a directory of its own; tells the names of what was written.

    Raises:
        InputError: There is something already.
        PkiError: It can't be written.
    """
    if directory.exists() and any(directory.iterdir()):
        raise InputError(f"{directory} is not empty", state=_UNTOUCHED, remedy="name a new directory")
    files.prepare_directory(directory)
    files.prepare_directory(directory / STATE)
    written = {"cluster.yaml": (cluster_file, 0o600)}
    for name, content in bundle.files.items():
        if name in ("ca.crt", "ca.key"):
            written[f"{STATE}/{name}"] = (content, 0o600 if name == "ca.key" else 0o644)
        elif name == "cluster.yaml":
            written["cluster.yaml.was"] = (content, 0o600)
        elif os.sep not in name:
            written[name] = (content, 0o600)
    for name, (content, mode) in written.items():
        files.write(directory / name, content, mode)
    return tuple(sorted(written))
