"""Which snapshot a person means: ``latest``, an id or the beginning of one, or ``before 2026-11-24T14:30``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

from tasks.errors import InputError, Refused
from tasks.snapshots.catalog import Catalog, CatalogEntry
from tasks.snapshots.clocks import of_the_future
from tasks.snapshots.marks import LEVELS, Level

#: What may be found: ``sound``: ours, and nothing bad is known of it; ``untrusted``: also what anyone who can write to
#: the store may have made (rule 18: needs explicit consent); ``any``: also what is known to be bad.
Accept = Literal["sound", "untrusted", "any"]

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?( ?(Z|[+-]\d\d:\d\d))?")
_UNTOUCHED = "nothing was touched"

#: What to do on a machine that can't tell whose snapshots these are.
NO_KEY = (
    "no key is known here that snapshots have to be signed with, so none is trusted: pin it in the cluster file "
    "(snapshots.signing.public_key), or bring the state directory (pki.state_dir)"
)


def find(
    catalogs: Sequence[Catalog],
    wanted: str,
    need_level: Level = "stream",
    accept: Accept = "sound",
    now: datetime | None = None,
) -> CatalogEntry:
    """The snapshot that is meant; of the same one in several stores the best proven, else the first store's.

    ``latest`` and ``before`` look among the sound backups that a schedule or a person made of the cluster itself.
    Safety snapshots (made of what a restore then replaced) and imported ones are found by id only.

    Args:
        catalogs: Of all stores, in the order of preference.
        wanted: ``latest``, ``before TIME`` (see :func:`moment`; the newest that was complete by then), or an id's
            beginning that no other has.
        need_level: Weaker ones don't do: ``latest`` and ``before`` pass over them, by id they are refused.
        accept: What else than sound ones may be found by id.
        now: None for the present time.

    Raises:
        InputError: No snapshot, or more than one, is meant.
        Refused: It is there, but not as good as it has to be; or which is the latest can't be told, since one is from
            the future.
    """
    if wanted == "latest" or wanted.startswith("before "):
        return _by_time(catalogs, wanted, need_level, now or datetime.now(UTC))
    return _by_id(catalogs, wanted, need_level, accept)


def passed_over(catalogs: Iterable[Catalog], chosen: CatalogEntry) -> list[tuple[CatalogEntry, str]]:
    """Regular snapshots newer than the chosen one that are not taken, and why: people should know before they go on."""
    found = {}
    older = f"says it is newer, but holds an older revision than {chosen.id}: a clock was wrong"
    for catalog in catalogs:
        for entry in catalog.entries:
            if entry.taken > chosen.taken and entry.kind in ("scheduled", "manual"):
                behind = entry.manifest.revision_max < chosen.manifest.revision_min
                if why := entry.unsound or (older if behind else ""):
                    found[entry.store, entry.id] = (entry, why)
    return sorted(found.values(), key=lambda pair: pair[0].taken, reverse=True)


def moment(text: str) -> datetime:
    """A time as people write it: ``2026-11-24T14:30``, with or without seconds; UTC unless an offset says otherwise.

    Raises:
        InputError: It is not such a time. Dates alone are refused: whether the day counts would be a guess.
    """
    text = text.strip()
    try:
        if not _MOMENT.fullmatch(text):
            raise ValueError
        found = datetime.fromisoformat(re.sub(r" (?=[Z+-])", "", text))
    except ValueError:
        raise InputError(
            f"{text!r} is not a time",
            state=_UNTOUCHED,
            remedy="write 2026-11-24T14:30 (UTC), or 2026-11-24T15:30+01:00",
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _by_time(catalogs: Sequence[Catalog], wanted: str, need: Level, now: datetime) -> CatalogEntry:
    until = None if wanted == "latest" else moment(wanted.removeprefix("before "))
    regular = [entry for entry in _all(catalogs) if entry.kind in ("scheduled", "manual") and not entry.unsound]
    # The bytes are as of some moment between begin and end: only what ended before is surely from before.
    in_time = [entry for entry in regular if until is None or entry.manifest.finished <= until.timestamp()]
    good = [entry for entry in in_time if _reaches(entry, need)]
    if good:
        newest = _newest(good, now) if until is None else max(good, key=_when)
        return _best([entry for entry in good if entry.id == newest.id])
    when = f" that was complete before {until:%Y-%m-%d %H:%M:%S} UTC" if until else ""
    stores = ", ".join(f"{catalog.store} ({catalog.where})" for catalog in catalogs)
    message = f"there is no sound snapshot{when} in {stores}"
    if in_time:
        message = f"none of {len(in_time)} sound snapshots{when} in {stores} is {need} or better"
    raise InputError(
        message, state=_UNTOUCHED, remedy=_advice(catalogs, bool(in_time), earliest=regular if until else [])
    )


def _when(entry: CatalogEntry) -> tuple[datetime, str]:
    return entry.taken, entry.id


def _newest(good: Sequence[CatalogEntry], now: datetime) -> CatalogEntry:
    """By time; by revision if that is of the future (:mod:`tasks.snapshots.clocks`)."""
    newest = max(good, key=_when)
    if not of_the_future(newest.taken, now):
        return newest
    cluster = newest.manifest.etcd_cluster_id
    highest = max(good, key=lambda entry: (entry.manifest.revision_min, *_when(entry)))
    if not cluster or highest.manifest.etcd_cluster_id != cluster:
        raise Refused(
            f"which snapshot is the latest can't be told: {newest.id} says it is from the future (it is now "
            f"{now:%Y-%m-%d %H:%M} UTC here), and {highest.id} holds the newest revision",
            state=_UNTOUCHED,
            remedy="set this machine's clock right if it is wrong; else name by its id the one that is meant",
        )
    return highest


def _advice(catalogs: Sequence[Catalog], weaker: bool, earliest: Sequence[CatalogEntry]) -> str:
    if any(catalog.trusted is None and catalog.entries for catalog in catalogs):
        return NO_KEY
    if weaker:
        return "verify one first: `etcd-flows snapshots verify`"
    if earliest:
        return f"the earliest there is ended at {_ended(min(earliest, key=lambda e: e.manifest.finished))}"
    if any(catalog.entries or catalog.damaged for catalog in catalogs):
        return "see `etcd-flows snapshots list` for those that are there, and why they don't count; name one by its id"
    return "check the stores in the cluster file, and the cluster's name: it is part of where snapshots lie"


def _ended(entry: CatalogEntry) -> str:
    return f"{datetime.fromtimestamp(entry.manifest.finished, UTC):%Y-%m-%d %H:%M:%S} UTC ({entry.id})"


def _by_id(catalogs: Sequence[Catalog], wanted: str, need: Level, accept: Accept) -> CatalogEntry:
    entries = _all(catalogs)
    ids = sorted({entry.id for entry in entries if wanted and entry.id.startswith(wanted)})
    if wanted in ids:
        ids = [wanted]
    if len(ids) > 1:
        raise InputError(
            f"{wanted!r} may be any of {len(ids)} snapshots: {', '.join(ids[:4])}{', ...' if len(ids) > 4 else ''}",
            state=_UNTOUCHED,
            remedy="write more of the id",
        )
    if not ids:
        raise _unknown(catalogs, wanted)
    found = [entry for entry in entries if entry.id == ids[0]]
    fitting = [entry for entry in found if not _objection(entry, need, accept)]
    if not fitting:
        unknown_key = any(catalog.trusted is None for catalog in catalogs)
        raise _refusal(_best(found), need, accept, unknown_key=unknown_key)
    return _best(fitting)


def _unknown(catalogs: Sequence[Catalog], wanted: str) -> InputError:
    for catalog in catalogs:
        for damaged in catalog.damaged:
            if wanted and damaged.id.startswith(wanted):
                return InputError(
                    f"the manifest of {damaged.id} in {catalog.store} can't be used: {damaged.why}",
                    state=_UNTOUCHED,
                    remedy="use another snapshot, or its manifest in another store",
                )
    shown = wanted[:60]
    return InputError(
        f"no snapshot's id begins with {shown!r} in {', '.join(catalog.store for catalog in catalogs)}",
        state=_UNTOUCHED,
        remedy="`etcd-flows snapshots list` shows the ids; or say latest, or 'before 2026-11-24T14:30'",
    )


def _objection(entry: CatalogEntry, need: Level, accept: Accept) -> str:
    if accept != "any" and entry.broken:
        return entry.broken
    if accept == "sound" and entry.untrusted:
        return entry.untrusted
    return "" if _reaches(entry, need) else f"proven only as far as {entry.level}, and {need} is needed"


def _refusal(entry: CatalogEntry, need: Level, accept: Accept, *, unknown_key: bool) -> Refused:
    why = _objection(entry, need, accept)
    remedy = "use another snapshot"
    if why == entry.untrusted and entry.trust == "foreign" and unknown_key:
        remedy = f"{NO_KEY}; or accept this one explicitly"
    elif why == entry.untrusted:
        remedy = (
            "anyone who can write to the store may have made it. If you know where it comes from: check the pinned "
            "snapshots.signing.public_key, or accept this one explicitly"
        )
    elif not _reaches(entry, need):
        remedy = f"`etcd-flows snapshots verify CLUSTER {entry.id}`"
    return Refused(f"snapshot {entry.id} in {entry.store}: {why}", state=_UNTOUCHED, remedy=remedy)


def _all(catalogs: Iterable[Catalog]) -> list[CatalogEntry]:
    return [entry for catalog in catalogs for entry in catalog.entries]


def _reaches(entry: CatalogEntry, need: Level) -> bool:
    return LEVELS.index(entry.level) >= LEVELS.index(need)


def _best(entries: Sequence[CatalogEntry]) -> CatalogEntry:
    """Max keeps the first of equals: the store that comes first."""
    return max(entries, key=lambda entry: (not entry.unsound, LEVELS.index(entry.level)))
