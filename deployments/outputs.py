"""What ``--json`` prints, as JSON Schema (draft 2020-12), for those who read it with programs.

Every key that a schema names is there, with ``null`` where nothing is known, unless it says otherwise; a newer version
may add keys. stdout holds the one document and nothing else; progress and warnings go to stderr.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deployments.outputs_flows import FLOWS
from deployments.outputs_snapshots import SNAPSHOTS
from deployments.outputs_words import (
    BOOL,
    COUNT,
    FAILURE,
    FINDING,
    NUMBER,
    OK,
    TEXT,
    TIMELINE,
    VERDICT,
    Schema,
    list_of,
    map_of,
    maybe,
    one_of,
    record,
    said,
)

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ERROR = record(
    ok={"const": False},
    error=said(TEXT, "Kind of the error, a class of tasks/errors.py."),
    errors=list_of(FAILURE),
)


def _doctor() -> Schema:
    named = said(maybe(TEXT), "As it was named; null for all.")
    return record(ok=OK, cluster=named, verdict=VERDICT, findings=list_of(FINDING))


def _validate() -> Schema:
    problem = record(
        file=TEXT,
        line=maybe(COUNT),
        column=maybe(COUNT),
        key=TEXT,
        message=TEXT,
        hint=maybe(TEXT),
        severity=one_of("error", "warning"),
    )
    return record(ok=OK, problems=list_of(problem))


def _restores() -> Schema:
    one = record(
        id=TEXT,
        began=said(NUMBER, "Unix time, as `ended`."),
        snapshot=TEXT,
        sha256=TEXT,
        revision=COUNT,
        bump=said(COUNT, "Added to the revision."),
        members=list_of(TEXT),
        dead=list_of(TEXT),
        requested_by=TEXT,
        reason=TEXT,
        state=TEXT,
        ended=maybe(NUMBER),
        ended_by=TEXT,
        taken_back_for=TEXT,
        taken_back_reason=TEXT,
        seconds_until_writable=maybe(NUMBER),
        phases=TIMELINE,
    )
    return record(
        ok=OK,
        cluster=TEXT,
        restores=said(list_of(one), "The newest first."),
        errors=said(list_of(FAILURE), "Of the stores that could not be read."),
    )


def _locks() -> Schema:
    lock = record(
        host=TEXT,
        session=TEXT,
        state=one_of("alive", "dead", "unknown"),
        busy=said(BOOL, "Whether a command of its holder runs on the host now."),
        run=said(maybe(TEXT), "For `locks release --run`; it and what follows are null if the lock can't be read."),
        flow=maybe(TEXT),
        user=maybe(TEXT),
        machine=maybe(TEXT),
        pid=maybe(COUNT),
        since=maybe(TEXT),
        url=maybe(TEXT),
        heard_seconds_ago=maybe(NUMBER),
        lease_seconds_left=maybe(NUMBER),
    )
    errors = said(list_of(FAILURE), "Of the hosts that could not be asked.")
    return record(ok=OK, cluster=TEXT, locks=list_of(lock), errors=errors)


def _deploy() -> Schema:
    change = one_of("create", "change", "keep", "remove")
    return record(
        ok=OK,
        applied=said(BOOL, "Whether the plan was carried out."),
        pool=TEXT,
        deployments=list_of(record(name=TEXT, change=change)),
        automations=map_of(change),
    )


def _trigger() -> Schema:
    state = said(TEXT, "Prefect's name of it; `Refused` and `BadInput` are exit codes 3 and 2.")
    return record(ok=OK, run=said(TEXT, "Id."), name=TEXT, state=state, message=TEXT)


def _files() -> Schema:
    return record(ok=OK, directory=TEXT, files=list_of(TEXT), changed=said(list_of(TEXT), "That were not so before."))


#: By the words of the command, with ``-`` between them.
_OUTPUTS: Mapping[str, Callable[[], Schema]] = {
    "deploy": _deploy,
    "doctor": _doctor,
    "locks-list": _locks,
    "locks-release": lambda: record(ok=OK, cluster=TEXT, run=TEXT, released=said(list_of(TEXT), "Hosts.")),
    "monitoring-files": _files,
    "restores-list": _restores,
    "trigger": _trigger,
    "validate": _validate,
    **FLOWS,
    **SNAPSHOTS,
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
