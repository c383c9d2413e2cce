"""The dry run: a snapshot beside the running cluster, key by key, and a plan of what follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tasks.keys.decide import DEEDS, OUTCOMES, Outcome, Rules, decide, todo
from tasks.keys.keyspace import Keyspace
from tasks.keys.merge import side_by_side
from tasks.keys.plan_file import Header, SavedPlan, new_plan
from tasks.keys.selection import Selection
from tasks.keys.tree import ChangeTree
from tasks.keys.warnings import Watcher

_DEPTH = 3  # of the table of prefixes: for Kubernetes one row a namespace of a resource


@dataclass(frozen=True)
class Noted:
    """A key that is not simply unchanged, for people.

    Args:
        then: Bytes of the snapshot's value; None if it has no such key.
        now: Bytes of the present value; likewise.
        recreated: Whether it was deleted and made again since.
    """

    key: bytes
    what: Outcome
    then: int | None
    now: int | None
    recreated: bool


@dataclass(frozen=True)
class Compared:
    """A plan, and what of it is shown.

    Args:
        tree: What is done below which prefix.
        noted: The first keys that something is done to, then the first that are left though they differ.
    """

    plan: SavedPlan
    tree: ChangeTree
    noted: tuple[Noted, ...]


@dataclass
class _Tally:
    show: int
    counts: dict[Outcome, tuple[int, int]] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, (0, 0)))
    done: list[Noted] = field(default_factory=list)
    left: list[Noted] = field(default_factory=list)

    def add(self, noted: Noted) -> None:
        keys, size = self.counts[noted.what]
        of_it = noted.now if noted.what in ("delete", "extra") or noted.then is None else noted.then
        self.counts[noted.what] = (keys + 1, size + (of_it or 0))
        kept = self.done if noted.what in DEEDS else self.left
        if noted.what != "unchanged" and len(kept) < self.show:
            kept.append(noted)


def compare(
    snapshot: Keyspace,
    now: Keyspace,
    selection: Selection,
    rules: Rules,
    header: Header,
    folder: Path,
    *,
    exists: Callable[[bytes], bool],
    show: int = 20,
) -> Compared:
    """Read both once, side by side, and write the plan; nothing else is changed.

    Args:
        header: What the plan is about.
        folder: Where it is kept.
        exists: Whether the cluster has a key.
        show: How many keys of a kind to keep for people.

    Raises:
        TransientHostError: The cluster does not answer, or compacts too fast.
        SnapshotError: The snapshot can't be read.
        InputError: The plan can't be written.
    """
    tally, tree, watcher = _Tally(show), ChangeTree(b"", _DEPTH), Watcher(selection.registry)
    with new_plan(folder, header) as writer:
        for pair in side_by_side(snapshot.items(selection.read), now.items(selection.read)):
            then, live = pair
            key = then.key if then else live.key if live else b""
            if key not in selection:
                continue
            what = decide(pair, rules)
            sizes = (None if then is None else len(then.value), None if live is None else len(live.value))
            again = then is not None and live is not None and then.create_revision != live.create_revision
            tally.add(Noted(key, what, *sizes, again))
            watcher.see(pair, what)
            if wanted := todo(pair, what):
                writer.add(wanted)
                tree.add(key, what)
        revisions = (snapshot.revision, now.revision)
        plan = writer.finish(tally.counts, watcher.warnings(exists), revisions, folder)
    return Compared(plan, tree, (*tally.done, *tally.left))
