"""Small signed notes beside a snapshot, added after its manifest was written: verifications and pins (rule 19).

Marks are only ever added, each under a name of its own (``marks/ID/pin-20261124T143000Z-5d1c.json``), so that none is
lost when two people work at once, a locked bucket takes them, and it stays known who did what. A pin is ended by an
unpin that names it: no clock decides.

What a mark is worth depends on who signed it:

* A verification, good or bad, and an unpin count only if signed by the trusted key: a forged "verified" would let
  retention remove what it should not.
* A pin counts whoever made it, even unreadable: the worst that a forged one does is to keep a snapshot.

A mark names the SHA-256 of the stored bytes, so it can't be moved to another snapshot.
"""

from __future__ import annotations

import getpass
import json
import secrets
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version as installed_version
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from tasks.errors import ManifestError
from tasks.snapshots.manifest import Manifest
from tasks.snapshots.signing import Sealed, SigningKey, Trust, seal
from tasks.snapshots.stores.base import Store

FORMAT = "etcd-flows-mark/1"

#: How far a snapshot is proven, the weaker first (rule 16): its trailer was checked on the way; the store's bytes were
#: checked; it was opened as a database; it was restored in a drill.
Level = Literal["stream", "stored", "opened", "restored"]
LEVELS: tuple[Level, ...] = ("stream", "stored", "opened", "restored")

MarkKind = Literal["verification", "pin", "unpin"]


@dataclass(frozen=True)
class Contents:
    """What the database itself said when it was opened; see the cluster file's ``verify``.

    Args:
        revision: Newest revision in it.
        compact_revision: It was compacted to; -1 if never.
        hash: hash-kv at that revision.
        keys: Live keys; None if they could not be counted.
    """

    revision: int
    compact_revision: int
    hash: int
    keys: int | None


@dataclass(frozen=True)
class Mark:
    """A note about one snapshot.

    Args:
        id: Its own, unique; the last part of its key.
        snapshot: Id of the snapshot.
        object_sha256: Of the snapshot's stored bytes, from its manifest.
        at: Unix time.
        by: Who, as claimed: ``ops@bastion``.
        reason: As claimed; for a verification that found something bad: what.
        level: Of a verification: what it did.
        ok: Of a verification: whether all was well.
        contents: Of a verification: what the database said, None if it was not opened.
        seconds: Of a verification: how long it took.
        ends: Of an unpin: ids of the pins that it ends.
    """

    id: str
    kind: MarkKind
    snapshot: str
    object_sha256: str
    at: Annotated[float, Field(allow_inf_nan=False)]
    by: str
    reason: str = ""
    level: Level = "stream"
    ok: bool = True
    contents: Contents | None = None
    seconds: float = 0.0
    ends: tuple[str, ...] = ()
    tool_version: str = ""


@dataclass(frozen=True)
class Seen:
    """A mark as found in a store.

    Args:
        mark: None if it can't be read.
        trust: Who signed it; None if it can't be read.
        ignored: Why it does not count; empty if it does.
    """

    key: str
    mark: Mark | None
    trust: Trust | None
    ignored: str = ""


@dataclass(frozen=True)
class Standing:
    """What a snapshot's manifest and marks come to.

    Args:
        level: How far it is proven.
        verified_at: Unix time of the latest good verification; None if there was none.
        bad: What the latest verification found, empty if it was good.
        pins: Ids of the pins in force.
    """

    level: Level
    verified_at: float | None = None
    bad: str = ""
    pins: tuple[str, ...] = ()


def verification(
    manifest: Manifest,
    level: Level,
    now: datetime,
    *,
    bad: str = "",
    contents: Contents | None = None,
    seconds: float = 0.0,
) -> Mark:
    """That a snapshot was verified.

    Args:
        level: How far.
        bad: What was found wrong; empty if nothing.
        seconds: How long it took.
    """
    mark = _mark("verification", manifest, now, bad)
    return replace(mark, level=level, ok=not bad, contents=contents, seconds=round(seconds, 3))


def pin(manifest: Manifest, now: datetime, reason: str) -> Mark:
    """That a snapshot is to stay whatever retention says."""
    return _mark("pin", manifest, now, reason)


def unpin(manifest: Manifest, now: datetime, ends: Iterable[str], reason: str) -> Mark:
    """That pins are over."""
    return replace(_mark("unpin", manifest, now, reason), ends=tuple(ends))


def write_mark(store: Store, mark: Mark, key: SigningKey) -> str:
    """Sign a mark and put it into a store; tells under which key.

    Raises:
        StoreError: It could not be stored.
    """
    where = mark_key(mark.snapshot, mark.id)
    payload = {"format": FORMAT, **json.loads(json.dumps(asdict(mark)))}
    store.put(where, seal(payload, key, "mark"), only_new=True)
    return where


def marks_prefix(snapshot_id: str) -> str:
    """Where the marks of a snapshot are."""
    return f"marks/{snapshot_id}/"


def mark_key(snapshot_id: str, mark_id: str) -> str:
    """Where a mark is."""
    return f"{marks_prefix(snapshot_id)}{mark_id}.json"


def read_mark(key: str, document: Sealed | ManifestError, manifest: Manifest) -> Seen:
    """Judge what was found among a snapshot's marks. Never raises: what can't be read is told as such.

    Args:
        document: As it was signed, or why it can't be read.
    """
    if isinstance(document, ManifestError):
        return Seen(key, None, None, document.message)
    sealed = document
    try:
        mark = _from_json(sealed.payload)
    except ManifestError as error:
        return Seen(key, None, None, error.message)
    if (mark.snapshot, mark.object_sha256) != (manifest.id, manifest.object_sha256):
        return Seen(key, mark, sealed.trust, "it was made for other data")
    if key != mark_key(mark.snapshot, mark.id):
        return Seen(key, mark, sealed.trust, "it is not where it was put")
    if sealed.trust != "signed" and mark.kind != "pin":
        return Seen(key, mark, sealed.trust, f"it is {_not_ours(sealed.trust)}")
    return Seen(key, mark, sealed.trust)


def judge(manifest: Manifest, marks: Iterable[Seen]) -> Standing:
    """What manifest and marks come to."""
    marks = tuple(marks)
    counted = [seen.mark for seen in marks if seen.mark and not seen.ignored]
    level: Level = "stored" if manifest.proof in ("checksum", "read back") else "stream"
    at, bad, bad_level = None, "", level
    for mark in sorted((m for m in counted if m.kind == "verification"), key=lambda m: (m.at, m.id)):
        if not mark.ok:
            bad, bad_level = mark.reason or "it was found bad", mark.level
            continue
        # All levels compare the stored bytes with the manifest's SHA-256, so what was once opened still is what it was.
        level, at = max(level, mark.level, key=LEVELS.index), mark.at
        if LEVELS.index(mark.level) >= LEVELS.index(bad_level):
            bad = ""
    ended = {pin_id for mark in counted if mark.kind == "unpin" for pin_id in mark.ends}
    pins = {_name(seen.key) for seen in marks if _name(seen.key).startswith("pin-")} - ended
    return Standing("stream" if bad else level, None if bad else at, bad, tuple(sorted(pins)))


def who() -> str:
    """Who runs this, as claimed: ``ops@bastion``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user in the user database, as in some containers
        user = "?"
    return f"{user}@{socket.gethostname()}"


def _mark(kind: MarkKind, manifest: Manifest, now: datetime, reason: str) -> Mark:
    name = f"{kind}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    version = installed_version("etcd-flows")
    return Mark(
        name, kind, manifest.id, manifest.object_sha256, now.timestamp(), who(), reason=reason, tool_version=version
    )


def _from_json(payload: dict[str, Any]) -> Mark:
    if payload.get("format") != FORMAT:
        raise ManifestError(f"it is not a mark of the format {FORMAT}")
    try:
        # Through JSON, so that lists may become tuples while all else is strict.
        return _reader().validate_json(json.dumps(payload), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ManifestError(f"it is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


@cache
def _reader() -> TypeAdapter[Mark]:
    return TypeAdapter(Mark)


def _name(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".json")


def _not_ours(trust: Trust) -> str:
    return "not signed" if trust == "unsigned" else "signed by a key that is not trusted here"
