"""What is fixed by a restore before anything is changed: who the members are, and what all later runs must keep to."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace

from flows.refusing import refuse
from flows.restore_source import Obtained
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, Refused
from tasks.etcd.identity import found_on
from tasks.etcd.members import MemberStatus
from tasks.etcd.restored import back_path
from tasks.etcd.versions import traits
from tasks.hosts.facts import HostFacts
from tasks.restore.bump import decide_bump
from tasks.restore.expect import Last
from tasks.restore.fresh import other_members
from tasks.restore.hooks import without
from tasks.restore.record import Record, find_record, record_on
from tasks.restore.refusals import dead_members, or_leave_out
from tasks.restore.stand import may_have_served, stands


def found_record(cluster: Cluster, facts: Mapping[str, HostFacts], *, start_over: bool, back: bool) -> Record | None:
    """The restore that is under way, if it is to be carried on.

    Args:
        start_over: The operator wants a new one.
        back: The operator wants it taken back.

    Raises:
        Refused: Hosts contradict each other, it is being taken back, or it is too late to start over.
    """
    if not start_over:
        record = find_record(cluster, facts)
        turning = [host.name for host in cluster.hosts if host.name in facts and _turning(cluster, host.name, facts)]
        if turning and not back:
            raise Refused(
                f"the restore that is under way is being taken back (on {', '.join(turning)})",
                state="nothing was changed",
                remedy="end that first: disaster-restore --go-back",
            )
        return record
    for host in cluster.hosts:
        found = record_on(host, facts[host.name]) if host.name in facts else None
        here = replace(cluster, hosts=tuple(h for h in cluster.hosts if h.name in facts))
        if found is not None and may_have_served(found, stands(here, facts, found)):
            raise Refused(
                f"the members may have been serving on the data of restore {found.id[:8]} already",
                state="nothing was changed",
                remedy="run it without --start-over: it ends that restore; then restore again",
            )
    return None


def _turning(cluster: Cluster, name: str, facts: Mapping[str, HostFacts]) -> bool:
    return facts[name].file(back_path(cluster.host(name))).present


def living(
    cluster: Cluster,
    facts: Mapping[str, HostFacts],
    errors: Mapping[str, EtcdFlowsError],
    record: Record | None,
    dead: Collection[str],
    fenced: Collection[str],
) -> Cluster:
    """The cluster without its dead members.

    Raises:
        EtcdFlowsError: A host can't be reached and was not declared dead, or the dead could still be serving.
        Several: More than one reason.
    """
    gone = list(dead)
    if record is not None:
        if dead and set(dead) != set(record.dead):
            raise Refused(
                f"the restore that is under way leaves out {', '.join(record.dead) or 'nobody'}, not {', '.join(dead)}",
                state="nothing was changed",
                remedy="who the members are is fixed in its record; --start-over begins anew with others",
            )
        gone = list(record.dead)
        silent = {name: error for name, error in errors.items() if name not in gone}
        refuse(tuple(or_leave_out(error, name, " --start-over") for name, error in silent.items()))
    else:
        refuse(dead_members(cluster, gone, fenced, errors))
    hosts = tuple(host for host in cluster.hosts if host.name not in gone)
    members = replace(cluster, hosts=hosts, restore=without(cluster.restore, gone))
    if record is not None:
        refuse(other_members(members, record))
    return members


def new_record(
    cluster: Cluster,
    dead: Collection[str],
    facts: Mapping[str, HostFacts],
    obtained: Obtained,
    statuses: Mapping[str, MemberStatus],
    requested_by: str,
    reason: str,
    *,
    rejoin: bool = False,
) -> Record:
    """Everything that is fixed for this restore, by all later runs too.

    Args:
        cluster: Without its dead members.
        statuses: Of the members that answer.
        rejoin: Restore one member alone, which the others join.

    Raises:
        Refused: Hosts contradict each other about whose they are, or no revisions are left.
    """
    source, now = obtained.source, time.time()
    newest, can_bump = newest_seen(obtained, statuses), traits(cluster.release.version).bump_revision
    same = source.cluster == cluster.name  # another cluster that gets its data does not become it
    return Record(
        id=secrets.token_hex(8),
        cluster=cluster.name,
        uuid=known_uuid(cluster, facts) or (source.uuid if same else "") or str(uuid.uuid4()),
        snapshot=source.name,
        taken=source.taken,
        sha256=source.sha256,
        bytes=source.bytes,
        trailer=source.trailer,
        revision=source.revision,
        keys=source.keys,
        version=cluster.release.version,
        token=secrets.token_hex(8),
        bump=decide_bump(source.revision, newest, now - source.taken) if can_bump else 0,
        members=tuple((host.name, host.peer_url) for host in cluster.hosts),
        dead=tuple(dead),
        had_quorum=decides(statuses, len(cluster.hosts) + len(dead)),
        began=now,
        requested_by=requested_by,
        reason=reason,
        first=cluster.hosts[0].name if rejoin and len(cluster.hosts) > 1 else "",
        of_cluster=source.cluster,
        of_uuid=source.uuid,
    )


def decides(statuses: Mapping[str, MemberStatus], members: int) -> bool:
    """Whether so many of the old members know a leader that they can decide."""
    return sum(status.leader_id != "0" for status in statuses.values()) > members // 2


def newest_seen(obtained: Obtained, statuses: Mapping[str, MemberStatus]) -> int:
    """The newest revision that anybody is known to have seen; 0 for none."""
    return max([obtained.newest, *(status.revision for status in statuses.values())])


def last_state(obtained: Obtained, statuses: Mapping[str, MemberStatus]) -> Last | None:
    """The cluster's last state that is known: of members that answer, else of its newest snapshot."""
    if not statuses:
        return obtained.last
    return Last(max(status.revision for status in statuses.values()), time.time(), "what the members hold now")


def known_uuid(cluster: Cluster, facts: Mapping[str, HostFacts]) -> str:
    """Our own identity of the cluster as its hosts know it; empty if none does.

    Tokens may differ: of a host that an earlier restore left out, or when a restore is begun anew.

    Raises:
        Refused: Hosts are of different clusters.
    """
    found = {host.name: found_on(host, facts[host.name]) for host in cluster.hosts}
    known = {name: one.uuid for name, one in found.items() if one is not None and one.uuid}
    if len(set(known.values())) > 1:
        said = ", ".join(f"{name} of {uuid}" for name, uuid in sorted(known.items()))
        raise Refused(
            f"the hosts are of different clusters: {said}",
            state="nothing was changed",
            remedy="see that the cluster file names the hosts of one cluster only",
        )
    return next(iter(known.values()), "")
