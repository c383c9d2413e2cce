"""The catalog: what snapshots a store has, and how good each is. Needs the store and, to tell ours from forged ones,
the trusted public key; no host, no database, no file of its own.

Nothing is hidden: a manifest that is damaged, changed, unsigned, or not where it belongs is listed as what it is. Four
listings (manifests, data, marks, bundles) and one small read for each manifest and mark make a catalog; where there are
many, an index saves most of the reads (:mod:`tasks.snapshots.catalog_index`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime

from tasks.errors import ManifestError
from tasks.snapshots.catalog_index import read_index
from tasks.snapshots.catalog_read import Document, read_documents
from tasks.snapshots.manifest import Kind, Manifest, from_json, is_id
from tasks.snapshots.marks import LEVELS, Level, Seen, Standing, judge, read_mark
from tasks.snapshots.retention import Candidate
from tasks.snapshots.signing import SigningKey, Trust
from tasks.snapshots.stores.base import Entry, Store

#: Where a snapshot's objects other than its manifest are: ``data/ID/...``, ``marks/ID/...``, ``bundles/ID.age``.
FOLDERS = ("data/", "marks/", "bundles/")


@dataclass(frozen=True)
class CatalogEntry:
    """A snapshot in one store.

    Args:
        store: Name of the store.
        manifest: What its maker says of it.
        trust: Whether the trusted key signed that.
        signer: Public key that signed, empty if none.
        marks: All found beside it, those that do not count too.
        standing: What manifest and marks come to.
        foreign_cluster: The cluster it says it is of, if that is another than the catalog's.
        problem: What is wrong with its data as far as a listing tells; empty if nothing.
        bundle: Whether a bundle for total loss lies beside it.
    """

    store: str
    manifest: Manifest
    trust: Trust
    signer: str
    marks: tuple[Seen, ...] = field(repr=False)
    standing: Standing
    foreign_cluster: str = ""
    problem: str = ""
    bundle: bool = False

    @property
    def id(self) -> str:
        """The snapshot's."""
        return self.manifest.id

    @property
    def taken(self) -> datetime:
        """When its capture began, UTC."""
        return self.manifest.began

    @property
    def kind(self) -> Kind:
        """Why it was made."""
        return self.manifest.kind

    @property
    def level(self) -> Level:
        """How far it is proven."""
        return self.standing.level

    @property
    def verified(self) -> bool:
        """Whether it was opened or restored, and found good (rule 16)."""
        return LEVELS.index(self.level) >= LEVELS.index("opened")

    @property
    def verified_at(self) -> float | None:
        """Unix time of the latest good verification."""
        return self.standing.verified_at

    @property
    def pinned(self) -> bool:
        """Whether somebody wants it to stay."""
        return bool(self.standing.pins)

    @property
    def untrusted(self) -> str:
        """Why it may have been made by anyone who can write to the store; empty if it is ours."""
        if self.trust == "unsigned":
            return "not signed"
        if self.trust == "foreign":
            return "signed by a key that is not trusted here"
        return f"of another cluster, {self.foreign_cluster}" if self.foreign_cluster else ""

    @property
    def broken(self) -> str:
        """What is wrong with its data; empty if nothing is known."""
        return self.problem or (f"a verification found: {self.standing.bad}" if self.standing.bad else "")

    @property
    def unsound(self) -> str:
        """Why it can't count as a backup; empty if it can."""
        return self.untrusted or self.broken


@dataclass(frozen=True)
class Damaged:
    """Something among the manifests that can't be read as one.

    Args:
        id: Of the snapshot, as the name says; empty if the name is none of ours.
        why: One sentence.
    """

    store: str
    key: str
    id: str
    why: str
    bytes: int
    modified: datetime


@dataclass(frozen=True)
class Catalog:
    """All that one store lists.

    Args:
        store: Name of the store.
        where: For people.
        trusted: The public key that was trusted, None if none is known.
        entries: The newest first.
        damaged: What lies among the manifests and is none that can be read, the newest first.
        objects: What is stored beside the manifests, by the snapshot's id.
    """

    store: str
    where: str
    trusted: str | None
    entries: tuple[CatalogEntry, ...]
    damaged: tuple[Damaged, ...] = ()
    objects: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict, repr=False)

    @property
    def newest(self) -> CatalogEntry | None:
        """The newest sound backup of the cluster itself, by which freshness is judged (rule 22)."""
        return next((entry for entry in self.entries if candidate(entry).regular), None)

    @property
    def orphans(self) -> dict[str, tuple[Entry, ...]]:
        """What belongs to no manifest: left by a capture or a removal that was cut off, or of a capture that runs."""
        known = {entry.id for entry in self.entries} | {damaged.id for damaged in self.damaged}
        return {snapshot: found for snapshot, found in self.objects.items() if snapshot not in known}

    def without(self, gone: Collection[str]) -> Catalog:
        """The same after snapshots, by id, have been removed."""
        return replace(
            self,
            entries=tuple(entry for entry in self.entries if entry.id not in gone),
            objects={snapshot: found for snapshot, found in self.objects.items() if snapshot not in gone},
        )


def candidate(entry: CatalogEntry, locked_until: datetime | None = None) -> Candidate:
    """The entry as retention sees it."""
    manifest = entry.manifest
    return Candidate(
        entry.id,
        entry.taken,
        entry.kind,
        entry.verified,
        entry.unsound,
        entry.pinned,
        locked_until=locked_until,
        lineage=manifest.etcd_cluster_id,
        revision=manifest.revision_min,
    )


def read_catalog(store: Store, cluster: str, trusted: str | None, *, renew: SigningKey | None = None) -> Catalog:
    """Read the catalog of a store.

    Args:
        cluster: Name of the cluster whose snapshots are expected there.
        trusted: Public key that manifests and marks have to be signed with; None if none is known.
        renew: The trusted key, to write an index that makes the next reading quick if many documents are in none; for
            those who write to the store anyway.

    Raises:
        StoreError: The store can't be listed or read.
    """
    with ThreadPoolExecutor(1 + len(FOLDERS), thread_name_prefix="listing") as listings:
        index = listings.submit(read_index, store, trusted)
        # First: data is written before its manifest and removed after it, so a manifest that stays has its data.
        manifests = list(store.list("manifests/"))
        others = listings.map(lambda folder: list(store.list(folder)), FOLDERS)
        beside = _beside(zip(FOLDERS, others, strict=True))
    marks = [entry for found in beside.values() for entry in found if entry.key.startswith("marks/")]
    documents = read_documents(store, [*manifests, *marks], trusted, index.result(), renew=renew)
    entries: list[CatalogEntry] = []
    damaged: list[Damaged] = []
    for listed in manifests:
        document = documents.get(listed.key)
        if document is None:  # removed since it was listed
            continue
        snapshot = listed.key.removeprefix("manifests/").removesuffix(".json")
        found = beside.get(snapshot, ())
        try:
            entries.append(_entry(store.name, cluster, snapshot, document, found, documents))
        except ManifestError as error:
            name = snapshot if is_id(snapshot) else ""
            damaged.append(Damaged(store.name, listed.key, name, error.message, listed.bytes, listed.modified))
    entries.sort(key=lambda entry: (entry.taken, entry.id), reverse=True)
    damaged.sort(key=lambda entry: entry.modified, reverse=True)
    return Catalog(store.name, store.where, trusted, tuple(entries), tuple(damaged), beside)


def _beside(listings: Iterable[tuple[str, Iterable[Entry]]]) -> dict[str, tuple[Entry, ...]]:
    """What is stored beside manifests, by the snapshot's id; other things in those folders are not ours to touch."""
    found: dict[str, list[Entry]] = {}
    for folder, entries in listings:
        for entry in entries:
            snapshot = entry.key.removeprefix(folder).partition("/")[0].removesuffix(".age")
            if is_id(snapshot):
                found.setdefault(snapshot, []).append(entry)
    return {snapshot: tuple(entries) for snapshot, entries in found.items()}


def _entry(
    store: str,
    cluster: str,
    snapshot: str,
    document: Document,
    beside: tuple[Entry, ...],
    documents: Mapping[str, Document],
) -> CatalogEntry:
    if isinstance(document, ManifestError):
        raise document
    manifest = from_json(document.payload)
    if manifest.id != snapshot:
        raise ManifestError(f"it is the manifest of {manifest.id}, put here under another name")
    marks = tuple(read_mark(entry.key, documents[entry.key], manifest) for entry in beside if entry.key in documents)
    return CatalogEntry(
        store=store,
        manifest=manifest,
        trust=document.trust,
        signer=document.signer,
        marks=marks,
        standing=judge(manifest, marks),
        foreign_cluster="" if manifest.cluster == cluster else manifest.cluster,
        problem=_problem(manifest, beside),
        bundle=any(entry.key.startswith("bundles/") for entry in beside),
    )


def _problem(manifest: Manifest, beside: Iterable[Entry]) -> str:
    sizes = {entry.key: entry.bytes for entry in beside}
    found = sizes.get(manifest.object)
    if found is None:
        return "its data is missing"
    if found != manifest.object_bytes:
        return f"its data has {found} bytes instead of {manifest.object_bytes}"
    return ""
