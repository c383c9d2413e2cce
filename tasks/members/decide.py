"""Which replacement it is: the one that was begun before, or a new one. Pure.

====================  =======================  ============================================================
in the member list    the host's record        then
====================  =======================  ============================================================
the broken member     none, or of another id   a new replacement, which removes it
nobody                none                     a new one, which only adds (left out by a restore, or removed)
the broken member     of that id               goes on: hold, remove, add, ...
nobody                its member not started   goes on: hold, add, ...
nobody                its member was started   a new one: what was started belongs to an id that is gone
another id            its data is there        goes on: start, catch up, promote, ...
another id            its data is lost         a new one, which removes that id too
a learner             none                     a new one: it goes on with a learner that never started
====================  =======================  ============================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.cluster.spec import Host
from tasks.etcd.members import Membership
from tasks.hosts.facts import HostFacts
from tasks.members.record import Replacement, has_started


@dataclass(frozen=True)
class Begun:
    """What is to be done about one member.

    Args:
        record: To go on with; None to make a new one.
        old_id: Of the member that has to be removed by a new one; empty if there is none.
    """

    record: Replacement | None
    old_id: str = ""


def decide(host: Host, facts: HostFacts, entry: Membership | None, known: Replacement | None, token: str) -> Begun:
    """Which replacement it is.

    Args:
        entry: Of the host in the member list.
        known: The record on the host.
        token: The cluster's, now.
    """
    if known is None or known.token != token or known.member != host.name:
        return Begun(None, _to_remove(entry))
    started = has_started(host, facts, known)
    if entry is None:
        return Begun(None) if started else Begun(known)
    if entry.member_id == known.old_id or not started:
        return Begun(known)
    if facts.service.running or facts.data_dir.kind == "etcd":
        return Begun(known)
    return Begun(None, entry.member_id)


def _to_remove(entry: Membership | None) -> str:
    """A learner that has never started holds nothing, so it may be the new member."""
    if entry is None or (entry.learner and not entry.client_urls):
        return ""
    return entry.member_id
