"""What ``--json`` prints, as JSON Schema (draft 2020-12), for those who read it with programs.

Every key that a schema names is there, with ``null`` where nothing is known, unless it says otherwise; a newer version
may add keys. stdout holds the one document and nothing else; progress and warnings go to stderr.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tasks.snapshots.manifest_schema import manifest_schema

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Schema = {"type": "string"}
_BOOL: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_SECONDS: Schema = {"type": "number", "minimum": 0}


def _object(optional: Mapping[str, Schema] | None = None, /, **properties: Schema) -> Schema:
    """An object that has all of these keys."""
    return {"type": "object", "properties": {**properties, **(optional or {})}, "required": list(properties)}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _map(of: Schema) -> Schema:
    """An object whose keys are names: of stores, say."""
    return {"type": "object", "additionalProperties": of}


def _maybe(of: Schema) -> Schema:
    return {"anyOf": [of, {"type": "null"}]}


def _one_of(*words: str) -> Schema:
    return {"enum": list(words)}


def _said(of: Schema, description: str) -> Schema:
    return {**of, "description": description}


_OK = _said(_BOOL, "Whether the exit code is 0.")

_FINDING = _object(
    level=_one_of("ok", "waived", "warning", "error"),
    check=_said(_TEXT, "Short stable name."),
    host=_said(_maybe(_TEXT), "Where; null for the whole cluster, or for this machine."),
    text=_TEXT,
    remedy=_said(_TEXT, "What to do; empty where nothing is to be done."),
)
_VERDICT = _said(_one_of("ok", "waived", "warning", "error"), "The gravest level among the findings.")
_MEMBER = _object(
    name=_TEXT,
    id=_said(_TEXT, "etcd's, hexadecimal."),
    cluster_id=_TEXT,
    endpoint=_TEXT,
    version=_TEXT,
    leader=_BOOL,
    learner=_BOOL,
    db_bytes=_COUNT,
    db_in_use_bytes=_COUNT,
    revision=_COUNT,
    raft_index=_COUNT,
    raft_term=_COUNT,
    errors=_said(_list(_TEXT), "What the member complains of."),
)
_STEP = _object(host=_TEXT, name=_TEXT, summary=_TEXT, why=_TEXT, changes=_list(_TEXT))
_PLAN = _object(
    flow=_TEXT,
    cluster=_TEXT,
    digest=_said(_TEXT, "Two plans with the same digest do the same."),
    empty=_said(_BOOL, "Whether there is nothing to do."),
    notes=_list(_TEXT),
    phases=_list(_object(name=_TEXT, steps=_list(_STEP))),
)
_PLANNED = {"plan": _PLAN, "applied": _said(_BOOL, "Whether the plan was carried out.")}
_TIMELINE = _list(_object(phase=_TEXT, seconds=_SECONDS))
_LEVEL = _said(_one_of("stream", "stored", "opened", "restored"), "How far it is proven.")
_COPY = dict(
    store=_TEXT,
    where=_said(_TEXT, "The store, for people."),
    object=_said(_TEXT, "Key of its data in the store."),
    object_bytes=_COUNT,
    level=_LEVEL,
    verified=_said(_BOOL, "Opened or restored, and found good."),
    verified_at=_said(_maybe(_TEXT), "ISO 8601, UTC."),
    pinned=_BOOL,
    trust=_one_of("signed", "unsigned", "foreign"),
    signer=_TEXT,
    unsound=_said(_TEXT, "Why it can't count as a backup; empty if it can."),
    bundle=_BOOL,
)
_ERROR = _object(
    ok={"const": False},
    error=_said(_TEXT, "Kind of the error, a class of tasks/errors.py."),
    errors=_list(_object(message=_TEXT, host=_maybe(_TEXT), state=_maybe(_TEXT), remedy=_maybe(_TEXT))),
)
_RESTORE_RECORD = _object(
    id=_TEXT,
    snapshot=_TEXT,
    sha256=_TEXT,
    revision=_COUNT,
    bump=_said(_COUNT, "Added to the revision."),
    base_revision=_said(_COUNT, "Where clients begin."),
    keys=_maybe(_COUNT),
    members=_list(_TEXT),
    dead=_list(_TEXT),
    uuid=_said(_TEXT, "Our own identity of the cluster."),
    of_cluster=_TEXT,
    of_uuid=_TEXT,
    clone=_BOOL,
)
_RESTORE = _object(
    **_PLANNED,
    ok=_OK,
    taken_back=_BOOL,
    already_restored=_said(_BOOL, "That very snapshot was restored before; nothing was done."),
    restore=_maybe(_RESTORE_RECORD),
    members=_list(_MEMBER),
    proof=_list(
        _object(
            member=_TEXT,
            revision=_COUNT,
            hash=_maybe(_COUNT),
            compact_revision=_maybe({"type": "integer"}),
            keys=_maybe(_COUNT),
            cluster_id=_TEXT,
        )
    ),
    timeline=_TIMELINE,
    seconds_until_writable=_said(_maybe(_NUMBER), "From the stop of the members."),
    seconds_until_proven=_maybe(_NUMBER),
    safety_snapshot=_said(_TEXT, "Id; empty if none was made."),
    hooks_failed=_map(_TEXT),
    old_data=_list(_TEXT),
)


def _check() -> Schema:
    return _object(ok=_OK, cluster=_TEXT, verdict=_VERDICT, findings=_list(_FINDING))


def _doctor() -> Schema:
    named = _said(_maybe(_TEXT), "As it was named; null for all.")
    return _object(ok=_OK, cluster=named, verdict=_VERDICT, findings=_list(_FINDING))


def _bootstrap() -> Schema:
    plain = _object(**_PLANNED, ok=_OK, members=_list(_MEMBER), preflight=_list(_FINDING))
    return {"anyOf": [plain, _said(_RESTORE, "With --from-snapshot.")]}


_UNTOLD = _said(_TEXT, "Why Prometheus was not told of it; empty if it was, or is not to be.")


def _backup() -> Schema:
    source = _object(
        cluster=_TEXT,
        way=_one_of("stream", "host"),
        why=_TEXT,
        sources=_list(_object(member=_TEXT, why=_TEXT)),
        stores=_said(_map(_TEXT), "Where, by the store's name."),
    )
    manifest = manifest_schema()
    planned = _object(ok=_OK, plan=source, applied={"const": False})
    made = _object(
        ok=_OK,
        plan=source,
        applied={"const": True},
        snapshot=_TEXT,
        level=_LEVEL,
        partial=_said(_BOOL, "Whether a store did not get it; then the exit code is 1."),
        earlier=_said(_BOOL, "Whether a run that was taken up again had stored it before its worker went away."),
        stores=_said(_map(manifest["properties"]["manifest"]), "Manifests, by the store's name."),
        failed=_map(_object(message=_TEXT, remedy=_maybe(_TEXT))),
        wrong=_said(_list(_TEXT), "What failed after the snapshot was stored."),
        removed=_said(_map(_list(_TEXT)), "Ids that retention removed, by the store's name."),
        held_seconds=_said(_SECONDS, "How long the member had to keep its pages for it."),
        spooled_bytes=_COUNT,
        seconds=_SECONDS,
        untold=_UNTOLD,
    )
    return {"anyOf": [planned, made], "$defs": manifest["$defs"]}


def _snapshots_list() -> Schema:
    snapshot = _object(
        id=_TEXT,
        kind=_one_of("scheduled", "manual", "safety", "imported"),
        taken=_said(_TEXT, "ISO 8601, UTC."),
        age_seconds={"type": "integer"},
        etcd_version=_TEXT,
        revision_min=_COUNT,
        revision_max=_COUNT,
        db_bytes=_COUNT,
        stores=_list(_object(**_COPY)),
    )
    damaged = _object(store=_TEXT, key=_TEXT, id=_TEXT, why=_TEXT, bytes=_COUNT, modified=_TEXT)
    return _object(
        ok=_OK,
        cluster=_TEXT,
        snapshots=_said(_list(snapshot), "The newest first."),
        damaged=_list(damaged),
        newest=_said(_map(_maybe(_TEXT)), "The newest sound backup of each store that answered."),
        failed=_said(_map(_TEXT), "Stores that could not be read, and why."),
    )


def _snapshots_show() -> Schema:
    manifest = manifest_schema()
    mark = _object(key=_TEXT, trust=_TEXT, ignored=_said(_TEXT, "Why it does not count; empty if it does."))
    shown = _object(
        ok=_OK,
        snapshot=_TEXT,
        manifest=manifest["properties"]["manifest"],
        stores=_list(_object(**_COPY, marks=_list(mark))),
    )
    return {**shown, "$defs": manifest["$defs"]}


def _drill() -> Schema:
    return _object(
        ok=_OK,
        cluster=_TEXT,
        snapshot=_TEXT,
        store=_TEXT,
        machine=_said(_TEXT, "Where it was done; empty for the machine that the flow ran on."),
        good=_BOOL,
        bad=_said(_TEXT, "What is wrong with it; empty if nothing."),
        remedy=_TEXT,
        revision=_maybe(_COUNT),
        hash=_maybe(_COUNT),
        keys=_maybe(_COUNT),
        keys_read=_maybe(_COUNT),
        seconds=_SECONDS,
        phases=_TIMELINE,
        recorded=_said(_BOOL, "Whether a note of it lies beside the snapshot."),
        rto_seconds=_said(_maybe(_NUMBER), "What the cluster file expects."),
        untold=_UNTOLD,
    )


def _replace() -> Schema:
    record = _maybe(_object(id=_TEXT, old_id=_said(_TEXT, "Of the broken member, hexadecimal.")))
    return _object(**_PLANNED, ok=_OK, member=_TEXT, replacement=record, members=_list(_MEMBER), timeline=_TIMELINE)


def _validate() -> Schema:
    problem = _object(
        file=_TEXT,
        line=_maybe(_COUNT),
        column=_maybe(_COUNT),
        key=_TEXT,
        message=_TEXT,
        hint=_maybe(_TEXT),
        severity=_one_of("error", "warning"),
    )
    return _object(ok=_OK, problems=_list(problem))


def _monitoring() -> Schema:
    target = _object(member=_TEXT, url=_said(_TEXT, "Where it is scraped."), state=_one_of("up", "down", "unknown"))
    host = _said(_TEXT, "The monitoring host; empty where only the plan was asked for.")
    grafana = _object(url=_TEXT, user=_TEXT, password_file=_said(_TEXT, "Where on this machine its password is kept."))
    return _object(**_PLANNED, ok=_OK, host=host, targets=_list(target), grafana=_maybe(grafana))


#: By the words of the command, with ``-`` between them.
_OUTPUTS: Mapping[str, Callable[[], Schema]] = {
    "bootstrap-cluster": _bootstrap,
    "check-cluster": _check,
    "disaster-restore": lambda: _RESTORE,
    "doctor": _doctor,
    "enable-monitoring": _monitoring,
    "preflight-cluster": _check,
    "replace-member": _replace,
    "restore-drill": _drill,
    "snapshot-backup": _backup,
    "snapshots-list": _snapshots_list,
    "snapshots-show": _snapshots_show,
    "validate": _validate,
}


def names() -> tuple[str, ...]:
    """Commands whose output has a schema."""
    return tuple(_OUTPUTS)


def output_schema(name: str) -> Schema:
    """The schema of what a command prints with ``--json``: its result, or why there is none.

    Args:
        name: One of :func:`names`.
    """
    made = dict(_OUTPUTS[name]())
    shared = {"$defs": made.pop("$defs")} if "$defs" in made else {}
    title = f"etcd-flows {name} --json"
    return {
        "$schema": _DIALECT,
        "$id": f"urn:etcd-flows:output:{name}",
        "title": title,
        "anyOf": [made, _ERROR],
        **shared,
    }
