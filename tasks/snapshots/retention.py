"""Which snapshots of one store stay and which go. Pure functions: no clock, no store.

Three kinds of rule, the stronger first:

1. **Never removed, whatever the settings say**: the newest snapshot, the newest ``min_verified`` verified ones
   (product.md, "Never the only copy"), pinned ones.
2. **Never removed by itself, only by name**: what is not sound (a damaged manifest, missing data, a signature that is
   not ours, a verification that failed) and what was imported. To count what is not sound as a backup would let a
   forger, or a bad disk, push good ones out; to remove it would destroy what may be the last trace of an intrusion, or
   the last thing to salvage from. Imported ones came by somebody's hand and no schedule replaces them.
3. **Kept while a rule wants it**: the last N, one for each of so many hours, days, weeks, months. Safety snapshots,
   made before a restore, stay :data:`SAFETY_DAYS`; they count for no other rule, since a few attempts at a restore
   would otherwise push the schedule's snapshots out.

``max_age`` is stronger than 2 for imported ones and than 3, never than 1.

While a sound snapshot says it is **from the future**, a clock was or is wrong, and no age and no order can be trusted:
backups made since would look older than it, and go as soon as they are made. So nothing goes but by name; and the
newest is the newest that is not of the future, and the one of the highest revision.

**The bucket rules** (UTC; weeks begin on Monday, ISO 8601):

* Of an hour, day, week or month the *oldest verified* snapshot is kept, or the oldest if none is verified. Oldest, and
  not newest as in some other tools, because a choice once made then stays: what is today's daily snapshot will not be
  replaced by a later one, and what crept into the data at noon is not in it. Verified, because it is better to keep
  what is known to be good.
* Only hours, days, weeks and months that have a snapshot are counted. When backups stand still, time alone so removes
  nothing that these rules keep.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tasks.cluster.spec import RetentionSettings
from tasks.reporting.human import plural
from tasks.snapshots.clocks import of_the_future
from tasks.snapshots.manifest import Kind

#: How long a safety snapshot stays at least: until a restore has shown in daily work that it was the right one.
SAFETY_DAYS = 30

Verdict = Literal["keep", "remove", "later"]


@dataclass(frozen=True)
class Candidate:
    """What retention has to know of a snapshot.

    Args:
        taken: When its capture began, UTC.
        verified: Known to be good: opened or restored, and nothing bad was seen since.
        unsound: Why it can't count as a backup; empty if it can.
        locked_until: The store refuses its removal until then (object lock), UTC.
        lineage: etcd's cluster id, within which revisions only grow.
        revision: That it holds at least.
    """

    id: str
    taken: datetime
    kind: Kind
    verified: bool = False
    unsound: str = ""
    pinned: bool = False
    locked_until: datetime | None = None
    lineage: str = ""
    revision: int = 0

    @property
    def regular(self) -> bool:
        """Whether the rules count it: a sound backup of the cluster itself."""
        return not self.unsound and self.kind in ("scheduled", "manual")


@dataclass(frozen=True)
class Decision:
    """What happens to one snapshot, and why.

    Args:
        verdict: ``later``: it would go, but the store has locked it.
        until: For ``later``: when it can be removed.
    """

    candidate: Candidate
    verdict: Verdict
    reasons: tuple[str, ...]
    until: datetime | None = None

    @property
    def id(self) -> str:
        """Of the snapshot."""
        return self.candidate.id


@dataclass(frozen=True)
class Decisions:
    """What happens to all snapshots of one store, the newest first."""

    all: tuple[Decision, ...]

    def of(self, *verdicts: Verdict) -> tuple[Decision, ...]:
        """Those with one of these verdicts."""
        return tuple(decision for decision in self.all if decision.verdict in verdicts)

    @property
    def remove(self) -> tuple[str, ...]:
        """Ids of what goes now."""
        return tuple(decision.id for decision in self.of("remove"))

    @property
    def keep(self) -> tuple[str, ...]:
        """Ids of what stays."""
        return tuple(decision.id for decision in self.of("keep"))


def decide(
    candidates: Iterable[Candidate], settings: RetentionSettings, now: datetime, named: Collection[str] = ()
) -> Decisions:
    """Judge all snapshots of one store.

    Args:
        candidates: All that the store lists, in any order.
        now: UTC.
        named: Ids that a person wants removed whatever the rules keep; the strongest rules still hold.
    """
    ordered = sorted(candidates, key=lambda c: (c.taken, c.id), reverse=True)
    regular = [candidate for candidate in ordered if candidate.regular]
    wanted = _wanted(regular, settings)
    never = _never(ordered, regular, settings, now)
    future = next((c for c in regular if of_the_future(c.taken, now)), None)
    return Decisions(
        tuple(
            _locked(_doubted(_judge(candidate, never, wanted, settings, now, named), future, named), now)
            for candidate in ordered
        )
    )


Reasons = dict[str, list[str]]


def _never(
    ordered: Sequence[Candidate], regular: Sequence[Candidate], settings: RetentionSettings, now: datetime
) -> Reasons:
    """What no setting and no name removes."""
    found: Reasons = {}
    for newest in (regular, [candidate for candidate in ordered if not candidate.unsound]):
        for candidate in _newest(newest, now):
            if candidate.id not in found:
                found[candidate.id] = ["the newest"]
    believed = sorted(regular, key=lambda c: of_the_future(c.taken, now))
    verified = [candidate for candidate in believed if candidate.verified][: settings.min_verified]
    for candidate in verified:
        among = (
            "the newest verified" if settings.min_verified == 1 else f"of the {settings.min_verified} newest verified"
        )
        found.setdefault(candidate.id, []).append(among)
    for candidate in ordered:
        if candidate.pinned:
            found.setdefault(candidate.id, []).append("pinned")
    return found


def _newest(sound: Sequence[Candidate], now: datetime) -> list[Candidate]:
    """The newest, which are two where a clock was wrong: by time, and by revision; ``sound`` has the newest first."""
    past = [candidate for candidate in sound if not of_the_future(candidate.taken, now)]
    if len(past) == len(sound):
        return past[:1]
    alike = [candidate for candidate in (*past, *sound) if candidate.lineage == sound[0].lineage]
    return [*past[:1], max(alike, key=lambda candidate: candidate.revision)]


def _wanted(regular: Sequence[Candidate], settings: RetentionSettings) -> Reasons:
    """What the counting rules keep."""
    found: Reasons = {}
    for candidate in regular[: settings.last]:
        found.setdefault(candidate.id, []).append(f"of the last {settings.last}")
    for count, name, bucket in (
        (settings.hourly, "hour", _hour),
        (settings.daily, "day", _day),
        (settings.weekly, "week", _week),
        (settings.monthly, "month", _month),
    ):
        for label, candidate in _kept_of(regular, count, bucket):
            found.setdefault(candidate.id, []).append(f"{name} {label}")
    return found


def _kept_of(
    regular: Sequence[Candidate], count: int, bucket: Callable[[datetime], str]
) -> list[tuple[str, Candidate]]:
    """One snapshot for each of the newest ``count`` buckets; ``regular`` has the newest first."""
    buckets: dict[str, list[Candidate]] = {}
    for candidate in regular:
        buckets.setdefault(bucket(candidate.taken), []).append(candidate)
    chosen = []
    for label, inside in list(buckets.items())[:count]:
        verified = [candidate for candidate in inside if candidate.verified]
        chosen.append((label, (verified or inside)[-1]))
    return chosen


def _hour(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H}Z"


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _week(at: datetime) -> str:
    year, week, _ = at.isocalendar()
    return f"{year}-W{week:02}"


def _month(at: datetime) -> str:
    return f"{at:%Y-%m}"


def _judge(
    candidate: Candidate,
    never: Reasons,
    wanted: Reasons,
    settings: RetentionSettings,
    now: datetime,
    named: Collection[str],
) -> Decision:
    if candidate.id in never:
        return Decision(candidate, "keep", (*never[candidate.id], *wanted.get(candidate.id, ())))
    if candidate.id in named:
        return Decision(candidate, "remove", ("named",))
    if candidate.unsound:
        return Decision(candidate, "keep", (f"{candidate.unsound}: goes only by name",))
    age = now - candidate.taken
    limit = settings.max_age_days
    if limit is not None and age > timedelta(days=limit):
        return Decision(candidate, "remove", (f"older than max_age ({limit:g} days)",))
    if candidate.kind == "imported":
        return Decision(candidate, "keep", ("imported: goes only by max_age or by name",))
    if candidate.kind == "safety":
        if age > timedelta(days=SAFETY_DAYS):
            return Decision(candidate, "remove", (f"safety snapshot older than {plural(SAFETY_DAYS, 'day')}",))
        return Decision(candidate, "keep", (f"safety snapshot, stays {plural(SAFETY_DAYS, 'day')}",))
    if candidate.id in wanted:
        return Decision(candidate, "keep", tuple(wanted[candidate.id]))
    return Decision(candidate, "remove", ("no rule keeps it",))


def _doubted(decision: Decision, future: Candidate | None, named: Collection[str]) -> Decision:
    """Nothing goes by its age while no age can be trusted."""
    if future is None or decision.verdict != "remove" or decision.id in named:
        return decision
    reason = f"{future.id} says it is from the future: until then, or until it is removed by name, no age is trusted"
    return Decision(decision.candidate, "keep", (reason,))


def _locked(decision: Decision, now: datetime) -> Decision:
    """A removal that the store would refuse today is put off: that is no failure."""
    until = decision.candidate.locked_until
    if decision.verdict == "remove" and until is not None and until > now:
        return Decision(decision.candidate, "later", decision.reasons, until)
    return decision
