"""The schemas of what the flows print with ``--json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deployments.outputs_words import (
    BOOL,
    CONTENTS,
    COUNT,
    FAILED,
    FINDING,
    LEVEL,
    NUMBER,
    OK,
    SECONDS,
    TEXT,
    TIMELINE,
    VERDICT,
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

_MEMBER = record(
    name=TEXT,
    id=said(TEXT, "etcd's, hexadecimal."),
    cluster_id=TEXT,
    endpoint=TEXT,
    version=TEXT,
    leader=BOOL,
    learner=BOOL,
    db_bytes=COUNT,
    db_in_use_bytes=COUNT,
    revision=COUNT,
    raft_index=COUNT,
    raft_term=COUNT,
    errors=said(list_of(TEXT), "What the member complains of."),
)
_STEP = record(host=TEXT, name=TEXT, summary=TEXT, why=TEXT, changes=list_of(TEXT))
_PLAN = record(
    flow=TEXT,
    cluster=TEXT,
    digest=said(TEXT, "Two plans with the same digest do the same."),
    empty=said(BOOL, "Whether there is nothing to do."),
    notes=list_of(TEXT),
    phases=list_of(record(name=TEXT, steps=list_of(_STEP))),
)
_PLANNED = {"plan": _PLAN, "applied": said(BOOL, "Whether the plan was carried out.")}
_RESTORE_RECORD = record(
    id=TEXT,
    snapshot=TEXT,
    sha256=TEXT,
    revision=COUNT,
    bump=said(COUNT, "Added to the revision."),
    base_revision=said(COUNT, "Where clients begin."),
    keys=maybe(COUNT),
    members=list_of(TEXT),
    dead=list_of(TEXT),
    uuid=said(TEXT, "Our own identity of the cluster."),
    of_cluster=TEXT,
    of_uuid=TEXT,
    clone=BOOL,
)
_RESTORE = record(
    **_PLANNED,
    ok=OK,
    taken_back=BOOL,
    already_restored=said(BOOL, "That very snapshot was restored before; nothing was done."),
    restore=maybe(_RESTORE_RECORD),
    members=list_of(_MEMBER),
    proof=list_of(
        record(
            member=TEXT,
            revision=COUNT,
            hash=maybe(COUNT),
            compact_revision=maybe({"type": "integer"}),
            keys=maybe(COUNT),
            cluster_id=TEXT,
        )
    ),
    timeline=TIMELINE,
    seconds_until_writable=said(maybe(NUMBER), "From the stop of the members."),
    seconds_until_proven=maybe(NUMBER),
    safety_snapshot=said(TEXT, "Id; empty if none was made."),
    hooks_failed=map_of(TEXT),
    old_data=list_of(TEXT),
)


def _check() -> Schema:
    return record(ok=OK, cluster=TEXT, verdict=VERDICT, findings=list_of(FINDING))


def _bootstrap() -> Schema:
    plain = record(**_PLANNED, ok=OK, members=list_of(_MEMBER), preflight=list_of(FINDING))
    return {"anyOf": [plain, said(_RESTORE, "With --from-snapshot.")]}


_UNTOLD = said(TEXT, "Why Prometheus was not told of it; empty if it was, or is not to be.")


def _backup() -> Schema:
    source = record(
        cluster=TEXT,
        way=one_of("stream", "host"),
        why=TEXT,
        sources=list_of(record(member=TEXT, why=TEXT)),
        stores=said(map_of(TEXT), "Where, by the store's name."),
    )
    manifest = manifest_schema()
    planned = record(ok=OK, plan=source, applied={"const": False})
    made = record(
        ok=OK,
        plan=source,
        applied={"const": True},
        snapshot=TEXT,
        level=LEVEL,
        partial=said(BOOL, "Whether a store did not get it; then the exit code is 1."),
        earlier=said(BOOL, "Whether a run that was taken up again had stored it before its worker went away."),
        stores=said(map_of(manifest["properties"]["manifest"]), "Manifests, by the store's name."),
        failed=map_of(record(message=TEXT, remedy=maybe(TEXT))),
        wrong=said(list_of(TEXT), "What failed after the snapshot was stored."),
        removed=said(map_of(list_of(TEXT)), "Ids that retention removed, by the store's name."),
        held_seconds=said(SECONDS, "How long the member had to keep its pages for it."),
        spooled_bytes=COUNT,
        seconds=SECONDS,
        untold=_UNTOLD,
    )
    return {"anyOf": [planned, made], "$defs": manifest["$defs"]}


def _drill() -> Schema:
    return record(
        ok=OK,
        cluster=TEXT,
        snapshot=TEXT,
        store=TEXT,
        machine=said(TEXT, "Where it was done; empty for the machine that the flow ran on."),
        good=BOOL,
        bad=said(TEXT, "What is wrong with it; empty if nothing."),
        remedy=TEXT,
        revision=maybe(COUNT),
        hash=maybe(COUNT),
        keys=maybe(COUNT),
        keys_read=maybe(COUNT),
        seconds=SECONDS,
        phases=TIMELINE,
        recorded=said(BOOL, "Whether a note of it lies beside the snapshot."),
        rto_seconds=said(maybe(NUMBER), "What the cluster file expects."),
        untold=_UNTOLD,
    )


def _replace() -> Schema:
    replacement = maybe(record(id=TEXT, old_id=said(TEXT, "Of the broken member, hexadecimal.")))
    return record(**_PLANNED, ok=OK, member=TEXT, replacement=replacement, members=list_of(_MEMBER), timeline=TIMELINE)


def _monitoring() -> Schema:
    target = record(
        member=TEXT,
        url=said(TEXT, "Where it is scraped."),
        state=one_of("up", "down", "unknown"),
        health=said(maybe(TEXT), "healthy, or what it told the monitoring host; null where it could not be asked."),
    )
    host = said(TEXT, "The monitoring host; empty where only the plan was asked for.")
    grafana = record(url=TEXT, user=TEXT, password_file=said(TEXT, "Where on this machine its password is kept."))
    return record(**_PLANNED, ok=OK, host=host, targets=list_of(target), grafana=maybe(grafana))


def _prune() -> Schema:
    decision = record(
        id=TEXT,
        taken=said(TEXT, "ISO 8601, UTC."),
        verdict=said(one_of("keep", "remove", "later"), "`later`: the store's lock still holds it."),
        reasons=list_of(TEXT),
        locked_until=maybe(TEXT),
        bytes=COUNT,
    )
    store = record(
        store=TEXT,
        where=TEXT,
        snapshots=list_of(decision),
        orphans=said(list_of(TEXT), "Left by uploads that were cut off."),
        removed=said(list_of(TEXT), "Ids."),
        swept=said(list_of(TEXT), "Orphans that were removed."),
    )
    return record(**_PLANNED, ok=OK, stores=list_of(store), failed=FAILED)


def _prune_dirs() -> Schema:
    found = record(
        host=TEXT,
        path=TEXT,
        bytes=maybe(COUNT),
        last_written=maybe(NUMBER),
        restore=TEXT,
        snapshot=TEXT,
        half_removed=BOOL,
    )
    return record(**_PLANNED, ok=OK, found=said(list_of(found), "What lay beside the present data before."))


def _verify() -> Schema:
    copy = {"snapshot": TEXT, "store": TEXT}
    look = record(
        **copy,
        ok=BOOL,
        bad=said(TEXT, "What is wrong with it; empty if nothing."),
        error=said(TEXT, "Why it could not be opened; empty if it could."),
        remedy=TEXT,
        contents=maybe(CONTENTS),
        seconds=SECONDS,
    )
    return record(
        ok=OK,
        cluster=TEXT,
        applied=said(BOOL, "Whether the plan was carried out."),
        chosen=list_of(record(**copy)),
        verified=list_of(look),
        left=said(COUNT, "Copies that a later run opens."),
        locked=said(COUNT, "Copies that no key at hand opens."),
        failed=FAILED,
        seconds=SECONDS,
    )


def _restore_keys() -> Schema:
    weight = record(keys=COUNT, bytes=COUNT)
    outcomes = ("add", "overwrite", "delete", "unchanged", "conflict", "extra", "leased")
    deeds = {"add": COUNT, "overwrite": COUNT, "delete": COUNT}
    plan = dict(
        ok=OK,
        cluster=TEXT,
        plan=said(TEXT, "For --apply."),
        digest=TEXT,
        snapshot=TEXT,
        snapshot_revision=COUNT,
        compared_at_revision=COUNT,
        chosen=said(list_of(TEXT), "What chooses the keys."),
        counts=record(**dict.fromkeys(outcomes, weight)),
        warnings=list_of(TEXT),
    )
    noted = key(what=one_of(*outcomes), snapshot_bytes=maybe(COUNT), present_bytes=maybe(COUNT), recreated=BOOL)
    planned = record(
        **plan, applied={"const": False}, prefixes=list_of(record(prefix=TEXT, **deeds)), keys=list_of(noted)
    )
    written = record(
        **plan,
        applied={"const": True},
        safety_snapshot=said(TEXT, "Id; empty if none was made."),
        seconds=SECONDS,
        done=record(**deeds),
        already=said(COUNT, "Keys that were as wanted when their turn came."),
        left=said(COUNT, "Keys that somebody else has changed since, left as they are."),
        too_large=COUNT,
        keys_left=said(list_of(key(why=TEXT)), "The first of both."),
    )
    return {"anyOf": [planned, written]}


#: By the command.
FLOWS: Mapping[str, Callable[[], Schema]] = {
    "bootstrap-cluster": _bootstrap,
    "check-cluster": _check,
    "destroy-cluster": lambda: record(**_PLANNED, ok=OK),
    "disaster-restore": lambda: _RESTORE,
    "enable-monitoring": _monitoring,
    "preflight-cluster": _check,
    "prune-data-dirs": _prune_dirs,
    "prune-snapshots": _prune,
    "replace-member": _replace,
    "restore-drill": _drill,
    "restore-keys": _restore_keys,
    "snapshot-backup": _backup,
    "verify-snapshots": _verify,
}
