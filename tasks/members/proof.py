"""Whether members hold one and the same data: the hash over all keys and their history, at one revision.

etcd answers that also while an alarm CORRUPT keeps it from serving clients. With unequal compact revisions hashes can't
be compared (a compaction is under way), which is no sign of corruption: then it is asked again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.errors import CommandFailed, GateFailed
from tasks.etcd.members import etcdctl, last_line
from tasks.hosts.shell import Shell

TIMEOUT = 120.0  # seconds for a hash over all data; a gigabyte takes some


@dataclass(frozen=True)
class Held:
    """What one member holds at a revision.

    Args:
        hash: None if that revision has been compacted meanwhile.
    """

    name: str
    revision: int
    hash: int | None
    compact_revision: int


def ask_hash(shell: Shell, revision: int) -> Held:
    """Ask a member for its hash.

    Raises:
        CommandFailed: It does not answer.
    """
    host = shell.host
    command = f"{etcdctl(host, timeout=TIMEOUT)} endpoint hashkv --rev={revision} -w json\n"
    out = shell.run(command, timeout=TIMEOUT + 10, check=False, what="asking for the hash")
    if "has been compacted" in out.stderr + out.text:
        return Held(host.name, revision, None, 0)
    try:
        found = json.loads(out.text)[0]["HashKV"]
        return Held(host.name, revision, int(found["hash"]), int(found.get("compact_revision", 0)))
    except (ValueError, LookupError, TypeError):
        raise CommandFailed(
            f"the member does not tell the hash of its data: {last_line(out.stderr or out.text)}",
            host=host.name,
            state="members stay as they are",
            remedy="run it again",
        ) from None


def comparable(held: Sequence[Held]) -> bool:
    """Whether the hashes can be compared."""
    return all(one.hash is not None for one in held) and len({one.compact_revision for one in held}) == 1


def same(held: Sequence[Held]) -> bool:
    """Whether comparable members hold the same."""
    return len({one.hash for one in held}) == 1


def demand_same(held: Sequence[Held]) -> None:
    """Go on only if they hold the same.

    Raises:
        GateFailed: They don't.
    """
    if not comparable(held):
        raise GateFailed(
            "what the members hold can't be compared: they are compacting all the time",
            state="members stay as they are",
            remedy="run it again when there is less to compact",
        )
    if not same(held):
        said = ", ".join(f"{one.name} {one.hash}" for one in held)
        raise GateFailed(
            f"the members do not hold the same data at revision {held[0].revision}: hash of {said}",
            state="members stay as they are",
            remedy="find out which one is right (`etcdctl endpoint hashkv`); if a majority agrees, replace the other "
            "one; if not: disaster-restore",
        )
