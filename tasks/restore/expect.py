"""What a restore costs, told before anybody says yes: what is lost, and how long it takes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.reporting.human import age, duration, plural, size
from tasks.restore.bump import LEAST
from tasks.restore.notes import Noted
from tasks.restore.record import Record

STOP = "stop and hold all members"

#: Where nothing was measured: bytes a second to fetch and check, to bring to all members through one uplink, to unpack,
#: and of a database that etcd reads at its start; and seconds for stops, switches, starts and gates of a small one.
_FETCH, _UPLINK, _UNPACK, _LOAD = 60e6, 110e6, 60e6, 200e6
_BASE, _EACH = 4.0, 2.0


@dataclass(frozen=True)
class Last:
    """The last state of the cluster that anybody knows of.

    Args:
        at: Unix time.
        what: For people: ``what the members hold now``.
    """

    revision: int
    at: float
    what: str


@dataclass(frozen=True)
class Drill:
    """The newest good drill: how many bytes it restored in how many seconds, store to proof."""

    bytes: int
    seconds: float


def lost(record: Record, last: Last | None) -> str:
    """What clients lose, in revisions and time."""
    if last is None or (last.revision <= record.revision and last.at <= record.taken):
        return "everything written since is lost to clients; nothing newer is known of"
    span = age(max(0.0, last.at - record.taken))
    count = last.revision - record.revision
    if count <= 0:
        return f"nothing was written in the {span} since, as far as is known ({last.what})"
    said = plural(count, "revision")
    if count >= LEAST:
        said = "revisions were raised by a restore in between, so how many can't be told:"
    return f"everything written since is lost to clients: {said} in {span}, up to {last.what}"


def last_noted(noted: Iterable[Noted]) -> Noted | None:
    """The newest restore that ended well and was timed from the stop on."""
    timed = (one for one in noted if one.end and one.end.outcome == "done" and one.end.writable is not None)
    return next((one for one in timed if one.end and STOP in dict(one.end.phases)), None)


def expected(record: Record, noted: Iterable[Noted], drill: Drill | None) -> str:
    """How long it takes, and for how much of that clients can't write; and what that is derived from."""
    before = last_noted(noted)
    if before is not None:
        down, rest = _scaled(record, before)
        when = datetime.fromtimestamp(before.record.began, UTC)
        basis = f"as the restore of {when:%Y-%m-%d} did, of {size(before.record.bytes)}"
    else:
        members, many = len(record.members), record.bytes * len(record.members)
        down = _BASE + _EACH * members + record.bytes / _LOAD
        local = record.bytes / _FETCH + record.bytes / _UNPACK
        if drill is not None:
            local = drill.seconds * record.bytes / max(1, drill.bytes)
        rest = many / _UPLINK + local
        basis = f"as the last drill did, of {size(drill.bytes)}" if drill else "a guess: nothing was measured here yet"
    total = f"{_about(down + rest)} in all"
    return f"expected: clients can't write for {_about(down)}, {total} ({basis})"


def _scaled(record: Record, before: Noted) -> tuple[float, float]:
    """Seconds without writes, and all others, from an earlier restore's; small ones are not scaled down."""
    if before.end is None or before.end.writable is None:
        raise ValueError("not timed")
    factor = max(1.0, record.bytes / max(1, before.record.bytes))
    total = sum(seconds for _, seconds in before.end.phases)
    fetch = record.bytes / _FETCH
    return before.end.writable * factor, max(0.0, total - before.end.writable) * factor + fetch


def _about(seconds: float) -> str:
    """No finer than it can be known."""
    if seconds < 60:
        return f"about {max(5, round(seconds / 5) * 5)} s"
    return f"about {duration(round(seconds / 30) * 30)}"
