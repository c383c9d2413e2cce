"""Taking a restore back: the members get their former settings, and with them their former data. Pure.

Data is never touched by that: the old data dirs are where they were. What clients have written since the restored
cluster could serve is lost to them, so from then on it has to be typed, and is preceded by a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tasks.cluster.spec import Cluster, Host
from tasks.errors import Refused
from tasks.etcd.restored import hold_path, record_path
from tasks.hosts.facts import HostFacts
from tasks.plan import Phase, Plan, Step, make_plan
from tasks.restore import hooks
from tasks.restore.actions import FinishBack, Hold, LiftAndStart, SwitchBack, TurnBack
from tasks.restore.plan import FLOW, full_gate, stay_gate
from tasks.restore.record import Record, find_record
from tasks.restore.repeated import all_ended
from tasks.restore.stand import may_have_served, stands


def record_to_take_back(cluster: Cluster, facts: Mapping[str, HostFacts]) -> Record:
    """The restore that is under way, or else the last one that has ended.

    Raises:
        Refused: There is none, or hosts contradict each other, or the old cluster could not decide any more.
    """
    record = find_record(cluster, facts) or _last(cluster, facts)
    if record is None:
        raise Refused(
            "no restore is on record on these hosts, so there is none to take back",
            state="nothing changed",
            remedy="`etcd-flows restores list CLUSTER` tells which restores there were",
        )
    if not record.had_quorum:
        raise Refused(
            f"there is no way back from restore {record.id[:8]}: when it began, the old members could not decide "
            "any more, so their data serves nobody",
            state="nothing was changed",
            remedy="run disaster-restore again: it goes on from the record; the old data dirs stay on the hosts",
        )
    return record


def _last(cluster: Cluster, facts: Mapping[str, HostFacts]) -> Record | None:
    found = all_ended(cluster, facts)
    if len(found) > 1:
        raise Refused(
            "the hosts tell of different restores as their last",
            state="nothing was changed",
            remedy="finish the restore first: the same command without --go-back",
        )
    return found[0].record if found else None


def plan_back(cluster: Cluster, facts: Mapping[str, HostFacts], record: Record, notes: Iterable[str] = ()) -> Plan:
    """What is left to do so that all members run on their former data; safe to make again anywhere.

    Args:
        cluster: The members of the restored cluster.
        facts: Of their hosts.
    """
    seen = stands(cluster, facts, record)
    touched = [h for h in cluster.hosts if seen[h.name].switched or facts[h.name].file(hold_path(h)).present]
    known = [h for h in cluster.hosts if facts[h.name].file(record_path(h)).present or h in touched]
    holds = [Step(h.name, "hold", "stop etcd, and hold it", Hold(record.id)) for h in touched]
    switches = [
        Step(h.name, "switch", "put the former settings back, which point to the former data", SwitchBack(record))
        for h in touched
    ]
    phases = [
        Phase(
            "note that the restore is taken back",
            tuple(Step(h.name, "turn", "write down that it is taken back", TurnBack(record)) for h in known),
        ),
        *([hooks.before_stop(cluster)] if touched and may_have_served(record, seen) else []),
        Phase("stop and hold the members", tuple(holds)),
        Phase("switch back to the former data", tuple(switches)),
        *_starts(cluster, touched, record),
        *([hooks.after_proof(cluster)] if known else []),
        Phase(
            "put the record away",
            tuple(Step(h.name, "finish", "put the record away", FinishBack(record)) for h in known),
        ),
    ]
    return make_plan(FLOW, cluster.name, phases, notes)


def _starts(cluster: Cluster, touched: list[Host], record: Record) -> list[Phase]:
    """One phase a member; those that were never stopped count as up. Then all have to pass the gate."""
    quorum = (len(record.members) + len(record.dead)) // 2 + 1
    phases = []
    for number, host in enumerate(touched, len(cluster.hosts) - len(touched) + 1):
        start = Step(host.name, "start", "lift its hold and start etcd on the former data", LiftAndStart("", record.id))
        gate = full_gate(cluster, host) if number >= quorum else stay_gate(cluster, host)
        phases.append(Phase(f"start {host.name}", (start, gate)))
    if touched:
        phases.append(Phase("pass the gate", tuple(full_gate(cluster, host) for host in touched)))
    return phases
