"""Removing snapshots: look at each store, plan, carry the plan out.

Of a snapshot the manifest goes first, and with it the snapshot: cut off anywhere, a removal leaves nothing that looks
whole. Then data, marks and bundle go. What a removal, or a capture, that was cut off left behind belongs to no
manifest; it goes at a later prune, once it is older than any capture may take (rule 19).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, datetime, timedelta

from tasks.cluster.spec import RetentionSettings
from tasks.errors import InputError, Refused
from tasks.plan import Phase, Plan, Step, make_plan
from tasks.reporting.human import age, plural, size
from tasks.snapshots.catalog import Catalog, Damaged, candidate
from tasks.snapshots.clocks import of_the_future
from tasks.snapshots.manifest import manifest_key
from tasks.snapshots.marks import marks_prefix
from tasks.snapshots.retention import Candidate, Decision, Decisions, decide
from tasks.snapshots.stores.base import Entry, Store

#: The longest that a capture, or a copy into a store, may take from its first byte to its manifest.
LONGEST_CAPTURE = timedelta(days=2)

FLOW = "prune-snapshots"


@dataclass(frozen=True)
class RemoveObjects:
    """Remove what there is of a snapshot, or what is left of one.

    Args:
        keys: In the order of their removal; the manifest, if there is one, first.
        bytes: Of all of them.
    """

    snapshot: str
    keys: tuple[str, ...]
    bytes: int

    def fingerprint(self) -> str:
        """All that goes."""
        return "\n".join(self.keys)


@dataclass(frozen=True)
class Review:
    """One store, looked at.

    Args:
        decisions: About each snapshot, the newest first.
        orphans: What belongs to no manifest and is old enough to go, by the snapshot's id.
        looked: When, UTC.
    """

    catalog: Catalog
    decisions: Decisions
    orphans: dict[str, tuple[Entry, ...]]
    looked: datetime

    @property
    def store(self) -> str:
        """Its name."""
        return self.catalog.store

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes that each snapshot takes there, by id."""
        return {snapshot: sum(entry.bytes for entry in entries) for snapshot, entries in self.catalog.objects.items()}


def review(
    store: Store, catalog: Catalog, settings: RetentionSettings, now: datetime, named: Collection[str] = ()
) -> Review:
    """Judge all snapshots of a store. Only what would go is asked for locks, one question each.

    Args:
        named: Ids that a person wants removed; those that are not in this store are passed over.

    Raises:
        Refused: One of the named is kept by what no name overrides.
        StoreError: The store failed.
    """
    candidates = _candidates(catalog)
    first = decide(candidates, settings, now, named)
    _refuse_kept(catalog, first, named)
    locks = {snapshot: _locked_until(store, catalog, snapshot) for snapshot in first.remove}
    decisions = decide([replace(c, locked_until=locks.get(c.id)) for c in candidates], settings, now, named)
    return Review(catalog, decisions, _old_orphans(store, catalog, now), now)


def check_named(catalogs: Iterable[Catalog], named: Collection[str]) -> None:
    """Whether all that a person named is there.

    Raises:
        InputError: No store has one of them.
    """
    known = {candidate.id for catalog in catalogs for candidate in _candidates(catalog)}
    for snapshot in named:
        if snapshot not in known:
            raise InputError(
                f"no store that answered has a snapshot {snapshot[:60]!r}",
                state="nothing was removed",
                remedy="write the whole id, as `etcd-flows snapshots list` shows it",
            )


def plan_prune(cluster: str, reviews: Sequence[Review]) -> Plan:
    """What goes from all stores; a step is a snapshot, its host the store."""
    removals = [_step(review, decision) for review in reviews for decision in reversed(review.decisions.of("remove"))]
    leftovers = [_orphan_step(review, snapshot) for review in reviews for snapshot in sorted(review.orphans)]
    phases = [Phase("remove snapshots", tuple(removals)), Phase("remove what belongs to no snapshot", tuple(leftovers))]
    return make_plan(FLOW, cluster, phases, [note for review in reviews for note in _notes(review)])


def carry_out(store: Store, step: Step) -> bool:
    """Remove what a step says, unless it has changed since the plan was made; may be repeated.

    Returns:
        False if it was left as it is, because somebody added a mark (a pin, say) or a manifest in between.

    Raises:
        StoreError: The store failed, perhaps in the middle; what is left is no snapshot any more.
    """
    action = step.action
    assert isinstance(action, RemoveObjects)  # noqa: S101 - plans of this module have no other
    added = {entry.key for entry in store.list(marks_prefix(action.snapshot))} - set(action.keys)
    manifest = manifest_key(action.snapshot)
    if added or (manifest not in action.keys and store.head(manifest) is not None):
        return False
    for key in action.keys:
        store.delete(key)
    return True


def _candidates(catalog: Catalog) -> list[Candidate]:
    entries = [candidate(entry) for entry in catalog.entries]
    return entries + [_of_damaged(catalog, damaged) for damaged in catalog.damaged if damaged.id]


def _of_damaged(catalog: Catalog, damaged: Damaged) -> Candidate:
    """What can't be read still may be named; any pin that lies there keeps it, since none can be judged."""
    taken = datetime.strptime(damaged.id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    pins = f"{marks_prefix(damaged.id)}pin-"
    pinned = any(entry.key.startswith(pins) for entry in catalog.objects.get(damaged.id, ()))
    return Candidate(damaged.id, taken, "manual", unsound="its manifest can't be used", pinned=pinned)


def _refuse_kept(catalog: Catalog, decisions: Decisions, named: Collection[str]) -> None:
    for decision in decisions.of("keep"):
        if decision.id in named:
            raise Refused(
                f"snapshot {decision.id} in {catalog.store} is not removed, not even by name: it is "
                f"{decision.reasons[0]}",
                state="nothing was removed",
                remedy="unpin it first" if decision.candidate.pinned else "make, or verify, a newer one first",
            )


def _locked_until(store: Store, catalog: Catalog, snapshot: str) -> datetime | None:
    """The latest of the locks on what makes a snapshot."""
    keys = [manifest_key(snapshot), *(e.key for e in catalog.objects.get(snapshot, ()) if e.key.startswith("data/"))]
    heads = [store.head(key) for key in keys]
    return max((head.locked_until for head in heads if head and head.locked_until), default=None)


def _old_orphans(store: Store, catalog: Catalog, now: datetime) -> dict[str, tuple[Entry, ...]]:
    """Old by when they were last written to, not by their id: a copy of an old snapshot may just be coming in."""
    old = {}
    for snapshot, entries in catalog.orphans.items():
        if max(entry.modified for entry in entries) >= now - LONGEST_CAPTURE:
            continue
        heads = [store.head(entry.key) for entry in entries]
        if not any(head and head.locked_until and head.locked_until > now for head in heads):
            old[snapshot] = entries
    return old


def _step(review: Review, decision: Decision) -> Step:
    snapshot = decision.id
    beside = review.catalog.objects.get(snapshot, ())
    keys = (manifest_key(snapshot), *(entry.key for entry in beside))
    action = RemoveObjects(snapshot, keys, review.sizes.get(snapshot, 0))
    old = age((review.looked - decision.candidate.taken).total_seconds())
    summary = f"remove snapshot {snapshot} ({size(action.bytes)}, {old} old)"
    return Step(review.store, snapshot, summary, action, why=", ".join(decision.reasons))


def _orphan_step(review: Review, snapshot: str) -> Step:
    entries = review.orphans[snapshot]
    action = RemoveObjects(snapshot, tuple(entry.key for entry in entries), sum(entry.bytes for entry in entries))
    still = age((review.looked - max(entry.modified for entry in entries)).total_seconds())
    summary = f"remove what is left of {snapshot} ({size(action.bytes)}, last written {still} ago)"
    return Step(review.store, snapshot, summary, action, why="there is no manifest, so it is no snapshot")


def _notes(review: Review) -> list[str]:
    notes = []
    if review.catalog.trusted is None and review.catalog.entries:
        notes.append(
            f"{review.store}: no public key is known that snapshots have to be signed with, so none counts and none "
            "goes; pin it: snapshots.signing.public_key"
        )
    unsound = [decision for decision in review.decisions.of("keep") if decision.candidate.unsound]
    if unsound and review.catalog.trusted is not None:
        shown = ", ".join(decision.id for decision in unsound[:3]) + (", ..." if len(unsound) > 3 else "")
        notes.append(
            f"{review.store}: {plural(len(unsound), 'snapshot')} not sound, neither counted nor removed: {shown}"
        )
    future = next((d.candidate for d in review.decisions.all if _from_ahead(d.candidate, review.looked)), None)
    if future is not None:
        notes.append(
            f"{review.store}: {future.id} says it is from the future, so a clock was or is wrong (it is now "
            f"{_when(review.looked)} here), and nothing goes by its age; once the clocks are right, remove it by name"
        )
    later = review.decisions.of("later")
    if later:
        first = min(decision.until for decision in later if decision.until)
        notes.append(
            f"{review.store}: {plural(len(later), 'snapshot')} would go but the store has locked "
            f"{'it' if len(later) == 1 else 'them'}; the first until {_when(first)}"
        )
    if review.decisions.all and not any(c.candidate.verified and c.candidate.regular for c in review.decisions.all):
        notes.append(f"{review.store}: no snapshot there was ever opened; `etcd-flows snapshots verify` does it")
    return notes


def _from_ahead(candidate: Candidate, now: datetime) -> bool:
    return candidate.regular and of_the_future(candidate.taken, now)


def _when(moment: datetime) -> str:
    return "a legal hold ends" if moment.year == MAXYEAR else f"{moment:%Y-%m-%d %H:%M} UTC"
