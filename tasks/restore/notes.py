"""Notes of restores in the stores, beside the snapshots: that one was begun, and how it ended.

The record on the hosts decides (:mod:`tasks.restore.record`). These notes are for the day when the hosts' disks are
gone as well, and for those who ask later what was restored. They are signed like manifests, only ever added
(``restores/20261124T183102Z-ID/begun.json``), and a store that does not take one never holds up a restore.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from tasks.errors import ManifestError, StoreConflict, StoreError, StoreMissing
from tasks.restore.record import Record, from_json, to_json
from tasks.snapshots.marks import who
from tasks.snapshots.signing import MAX_BYTES, SigningKey, seal, unseal
from tasks.snapshots.stores.base import Store

FOLDER = "restores/"
FORMAT = "etcd-flows-restore-end/1"
#: So many restores stay on record in a store.
KEPT = 50

Outcome = Literal["done", "taken back"]


@dataclass(frozen=True)
class End:
    """How a restore ended.

    Args:
        id: The restore's.
        at: Unix time.
        by: Who ran it, as claimed.
        writable: Seconds from the stop until clients could write; None if the run that ended it did not see both.
        phases: Name and seconds of each phase of the run that ended it.
        requested_by: Who asked for it to be taken back, as claimed; of one that is done its record tells.
        reason: Why, as claimed; likewise.
    """

    id: str
    outcome: Outcome
    at: float
    by: str
    writable: float | None = None
    phases: tuple[tuple[str, float], ...] = ()
    requested_by: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Noted:
    """One restore as a store knows it.

    Args:
        end: None if it has not ended, or that could not be noted.
    """

    record: Record
    end: End | None = None

    @property
    def state(self) -> str:
        """For people."""
        return self.end.outcome if self.end else "not ended"


def note_begun(store: Store, record: Record, key: SigningKey) -> None:
    """Note that a restore begins; nothing to do if that was noted before.

    Raises:
        StoreError: The store failed.
    """
    with contextlib.suppress(StoreConflict):
        payload = json.loads(to_json(record))
        store.put(f"{_folder(record)}begun.json", seal(payload, key, "restore"), only_new=True)


def note_end(store: Store, record: Record, end: End, key: SigningKey) -> None:
    """Note how it ended, also if its beginning could not be noted; remove what is older than the newest fifty.

    Raises:
        StoreError: The store failed.
    """
    note_begun(store, record, key)
    name = "done" if end.outcome == "done" else "taken-back"
    payload = {"format": FORMAT, **json.loads(json.dumps(asdict(end)))}
    with contextlib.suppress(StoreConflict):
        store.put(f"{_folder(record)}{name}.json", seal(payload, key, "restore"), only_new=True)
    _sweep(store)


def new_end(
    record: Record,
    outcome: Outcome,
    at: float,
    *,
    writable: float | None = None,
    phases: Iterable[Any] = (),
    claimed: tuple[str, str] = ("", ""),
) -> End:
    """The end of a restore, told by whoever runs this.

    Args:
        claimed: Who asked for it to be taken back, and why.
    """
    rounded = tuple((name, round(seconds, 3)) for name, seconds in phases)
    return End(record.id, outcome, at, who(), None if writable is None else round(writable, 3), rounded, *claimed)


def read_notes(store: Store, cluster: str, trusted: str | None) -> tuple[Noted, ...]:
    """All restores of a cluster that a store knows of, the newest first. What the trusted key did not sign is left out:
    anyone who can write to the store may have made it.

    Raises:
        StoreError: The store failed.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in store.list(FOLDER):
        payload = _payload(store, entry.key, trusted) if entry.bytes <= MAX_BYTES else None
        if payload is not None:
            found.setdefault(entry.key.rpartition("/")[0], []).append(payload)
    noted = [one for payloads in found.values() if (one := _noted(payloads)) and one.record.cluster == cluster]
    return tuple(sorted(noted, key=lambda one: one.record.began, reverse=True))


def merged(several: Iterable[Iterable[Noted]]) -> tuple[Noted, ...]:
    """What all stores know together, the newest first: an end that one of them missed is an end."""
    found: dict[str, Noted] = {}
    for noted in several:
        for one in noted:
            known = found.get(one.record.id)
            if known is None or (one.end and (known.end is None or known.end.at < one.end.at)):
                found[one.record.id] = one
    return tuple(sorted(found.values(), key=lambda one: one.record.began, reverse=True))


def _folder(record: Record) -> str:
    return f"{FOLDER}{datetime.fromtimestamp(record.began, UTC):%Y%m%dT%H%M%SZ}-{record.id}/"


def _payload(store: Store, key: str, trusted: str | None) -> dict[str, Any] | None:
    try:
        sealed = unseal(store.get(key), trusted, "restore")
    except (ManifestError, StoreMissing):
        return None
    return sealed.payload if sealed.trust == "signed" else None


def _noted(payloads: Iterable[dict[str, Any]]) -> Noted | None:
    record, ends = None, []
    for payload in payloads:
        text = json.dumps(payload)
        with contextlib.suppress(ValueError, ValidationError):
            if payload.get("format") == FORMAT:
                fields = {name: value for name, value in payload.items() if name != "format"}
                ends.append(_end_reader().validate_json(json.dumps(fields), strict=True))
            else:
                record = from_json(text.encode())
    if record is None:
        return None
    mine = [end for end in ends if end.id == record.id]
    return Noted(record, max(mine, key=lambda end: end.at, default=None))


@cache
def _end_reader() -> TypeAdapter[End]:
    return TypeAdapter(End)


def _sweep(store: Store) -> None:
    entries = list(store.list(FOLDER))
    folders = sorted({entry.key.rpartition("/")[0] for entry in entries})
    old = set(folders[:-KEPT])
    for entry in entries:
        if entry.key.rpartition("/")[0] in old:
            with contextlib.suppress(StoreError):  # locked: another time
                store.delete(entry.key)
