"""What is done with each key when parts of a snapshot are put back into the running cluster. Pure.

The rule behind the defaults: what is there now and is not in the snapshot, or is another than in the snapshot, was
written later, by somebody who knew more; so it is left as it is unless the operator says otherwise. A key that is bound
to a lease is a lock, a registration, an event: put back without its lease it would never go away again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

from tasks.keys.merge import Pair

Conflict = Literal["skip", "overwrite", "fail"]

#: ``add``, ``overwrite`` and ``delete`` are done; the others are left as they are: ``unchanged``; ``conflict``, there
#: is another value now; ``extra``, not in the snapshot; ``leased``, bound to a lease then or now.
Outcome = Literal["add", "overwrite", "delete", "unchanged", "conflict", "extra", "leased"]
Deed = Literal["add", "overwrite", "delete"]

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
DEEDS: tuple[Deed, ...] = get_args(Deed)


@dataclass(frozen=True)
class Rules:
    """What the operator wants.

    Args:
        on_conflict: What happens to keys that have another value now: they are left (``skip``), get the snapshot's
            value (``overwrite``), or keep everything from being done (``fail``).
        delete_extra: Whether chosen keys that the snapshot does not have are deleted.
        with_leased: Whether keys that are bound to a lease are treated like others; what is put back has no lease.
    """

    on_conflict: Conflict = "skip"
    delete_extra: bool = False
    with_leased: bool = False


@dataclass(frozen=True)
class Todo:
    """One key that is to be written or deleted.

    Args:
        seen: Revision of its last change when that was decided; 0 if it was not there. It is done only if that is so.
        sha256: Of the value that it gets; empty if it is deleted.
        size: Bytes of that value; of the present one if it is deleted.
    """

    key: bytes
    what: Deed
    seen: int
    sha256: str
    size: int


def decide(pair: Pair, rules: Rules) -> Outcome:
    """What happens to one key.

    Args:
        pair: As the snapshot has it, and as it is now.
    """
    then, now = pair
    if then is not None and now is not None and then.value == now.value:
        return "unchanged"
    if not rules.with_leased and any(side is not None and side.lease for side in pair):
        return "leased"
    if then is None:
        return "delete" if rules.delete_extra else "extra"
    if now is None:
        return "add"
    return "overwrite" if rules.on_conflict == "overwrite" else "conflict"


def todo(pair: Pair, what: Outcome) -> Todo | None:
    """The work that follows from it, if any."""
    then, now = pair
    seen = now.mod_revision if now else 0
    if then is not None and (what == "add" or what == "overwrite"):
        return Todo(then.key, what, seen, hashlib.sha256(then.value).hexdigest(), len(then.value))
    if now is not None and what == "delete":
        return Todo(now.key, what, seen, "", len(now.value))
    return None
