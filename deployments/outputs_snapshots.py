"""The schemas of what ``etcd-flows snapshots ... --json`` prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deployments.outputs_words import (
    BOOL,
    CONTENTS,
    COUNT,
    FAILED,
    LEVEL,
    OK,
    SECONDS,
    TEXT,
    Schema,
    key,
    list_of,
    map_of,
    maybe,
    one_of,
    record,
    said,
)
from tasks.snapshots.manifest_schema import manifest_schema

COPY = dict(
    store=TEXT,
    where=said(TEXT, "The store, for people."),
    object=said(TEXT, "Key of its data in the store."),
    object_bytes=COUNT,
    level=LEVEL,
    verified=said(BOOL, "Opened or restored, and found good."),
    verified_at=said(maybe(TEXT), "ISO 8601, UTC."),
    pinned=BOOL,
    trust=one_of("signed", "unsigned", "foreign"),
    signer=TEXT,
    unsound=said(TEXT, "Why it can't count as a backup; empty if it can."),
    bundle=BOOL,
)


def _listed() -> Schema:
    snapshot = record(
        id=TEXT,
        kind=one_of("scheduled", "manual", "safety", "imported"),
        taken=said(TEXT, "ISO 8601, UTC."),
        age_seconds={"type": "integer"},
        etcd_version=TEXT,
        revision_min=COUNT,
        revision_max=COUNT,
        db_bytes=COUNT,
        stores=list_of(record(**COPY)),
    )
    damaged = record(store=TEXT, key=TEXT, id=TEXT, why=TEXT, bytes=COUNT, modified=TEXT)
    return record(
        ok=OK,
        cluster=TEXT,
        snapshots=said(list_of(snapshot), "The newest first."),
        damaged=list_of(damaged),
        newest=said(map_of(maybe(TEXT)), "The newest sound backup of each store that answered."),
        failed=said(map_of(TEXT), "Stores that could not be read, and why."),
    )


def _shown() -> Schema:
    manifest = manifest_schema()
    mark = record(key=TEXT, trust=TEXT, ignored=said(TEXT, "Why it does not count; empty if it does."))
    shown = record(
        ok=OK,
        snapshot=TEXT,
        manifest=manifest["properties"]["manifest"],
        stores=list_of(record(**COPY, marks=list_of(mark))),
    )
    return {**shown, "$defs": manifest["$defs"]}


def _fetched() -> Schema:
    return record(ok=OK, snapshot=TEXT, store=TEXT, path=TEXT, bytes=COUNT, sha256=TEXT)


def _browsed() -> Schema:
    weight = {"keys": COUNT, "bytes": COUNT}
    named = record(resource=TEXT, namespace=TEXT, name=TEXT)
    whole = record(
        ok=OK,
        snapshot=TEXT,
        revision=COUNT,
        **weight,
        leased=said(COUNT, "Keys that are bound to a lease."),
        tree=list_of(record(prefix=TEXT, **weight)),
        resources=said(map_of(record(**weight)), "Kubernetes', by name."),
        namespaces=map_of(record(**weight)),
        listed=said(list_of(key(bytes=COUNT, mod_revision=COUNT, object=maybe(named))), "With --keys."),
        largest=list_of(key(bytes=COUNT, mod_revision=COUNT)),
    )
    one = key(
        ok=OK,
        snapshot=TEXT,
        create_revision=COUNT,
        mod_revision=COUNT,
        version=COUNT,
        lease=said(TEXT, "Hexadecimal; empty if there is none."),
        bytes=COUNT,
        sha256=TEXT,
        encrypted=said(TEXT, "Kubernetes' provider that encrypted it; empty if none did."),
        written_to=said(TEXT, "File with the value; empty if none was asked for."),
    )
    return {"anyOf": [whole, said(one, "With --value.")]}


def _diff() -> Schema:
    side = record(snapshot=TEXT, revision=COUNT)
    counts = {"added": COUNT, "changed": COUNT, "removed": COUNT}
    change = key(
        what=one_of("added", "changed", "removed"),
        old_bytes=maybe(COUNT),
        new_bytes=maybe(COUNT),
        recreated=said(BOOL, "Deleted and made again meanwhile."),
    )
    both = {"from": side, "to": side}
    return record(
        ok=OK,
        **both,
        **counts,
        unchanged=COUNT,
        prefixes=list_of(record(prefix=TEXT, **counts)),
        keys=said(list_of(change), "The first of them."),
        keys_left_out=COUNT,
    )


def _verified() -> Schema:
    one = record(
        snapshot=TEXT,
        store=TEXT,
        ok=BOOL,
        level=LEVEL,
        bad=said(TEXT, "What is wrong with it; empty if nothing."),
        remedy=TEXT,
        contents=maybe(CONTENTS),
        seconds=SECONDS,
        untrusted=said(TEXT, "Why its manifest is not to be trusted; empty if it is."),
    )
    noted = said(BOOL, "Whether notes of it lie beside the snapshots.")
    return record(ok=OK, recorded=noted, verified=list_of(one), failed=FAILED)


def _copied() -> Schema:
    proof = said(TEXT, "How the target proved that it holds the bytes; empty if it had them before.")
    one = record(snapshot=TEXT, bytes=COUNT, proof=proof, new=BOOL)
    both = {"from": TEXT, "to": TEXT}
    return record(ok=OK, **both, copied=list_of(one))


def _imported() -> Schema:
    stores = said(list_of(TEXT), "That took it.")
    return record(
        ok=OK, snapshot=TEXT, stores=stores, revision=COUNT, db_bytes=COUNT, notes=list_of(TEXT), failed=FAILED
    )


def _bundle() -> Schema:
    facts = ("cluster", "cluster_uuid", "snapshot", "etcd_version", "etcd_source", "etcd_sha256", "made")
    return record(
        ok=OK,
        **dict.fromkeys((*facts, "tool_version", "signer"), TEXT),
        secrets=said(list_of(TEXT), "References in the cluster file: they have to be had from elsewhere."),
        trust=one_of("signed", "unsigned", "foreign"),
        files=list_of(TEXT),
        directory=TEXT,
    )


def _marked(what: str) -> Schema:
    return record(ok=OK, snapshot=TEXT, **{what: said(list_of(TEXT), "Stores.")})


#: By the words of the command, with ``-`` between them.
SNAPSHOTS: Mapping[str, Callable[[], Schema]] = {
    "snapshots-browse": _browsed,
    "snapshots-bundle": _bundle,
    "snapshots-copy": _copied,
    "snapshots-diff": _diff,
    "snapshots-fetch": _fetched,
    "snapshots-import": _imported,
    "snapshots-key": lambda: record(ok=OK, cluster=TEXT, public_key=TEXT),
    "snapshots-list": _listed,
    "snapshots-pin": lambda: _marked("pinned"),
    "snapshots-show": _shown,
    "snapshots-unpin": lambda: _marked("unpinned"),
    "snapshots-verify": _verified,
}
