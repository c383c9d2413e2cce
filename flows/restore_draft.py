"""What a restore is to be: a new one, with everything that is fixed from its beginning, or the one that was begun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.approval import Asking
from flows.members import answering
from flows.prepare import known_authority
from flows.refusing import refuse
from flows.restore_plan import Draft
from flows.restore_record import known_uuid, last_state, new_record
from flows.restore_safety import refuse_one_broken, refuse_without_store, seen_by_members
from flows.restore_source import Obtained, Wanted, obtain, obtain_again, refuse_another
from flows.restore_survivors import Means, obtain_from_members
from tasks.cluster.spec import Cluster
from tasks.errors import Refused
from tasks.etcd.members import ClusterView
from tasks.etcd.restored import last_path
from tasks.hosts.facts import HostFacts
from tasks.pki.client import client_files
from tasks.reporting.progress import emit
from tasks.restore import former
from tasks.restore.expect import expected
from tasks.restore.plan import needs_source
from tasks.restore.record import Record
from tasks.restore.refusals import refuse_overtaken, source_refusals
from tasks.restore.stand import still_old
from tasks.snapshots.manifest import ManifestMember


@dataclass(frozen=True)
class Request:
    """What the operator asks for; see :func:`flows.disaster_restore.disaster_restore`."""

    wanted: Wanted
    dead: tuple[str, ...] = ()
    fenced: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    start_over: bool = False
    rejoin: bool = False
    requested_by: str = ""
    reason: str = ""
    asking: Asking | None = None


def drafted(
    spec: Cluster,
    request: Request,
    facts: Mapping[str, HostFacts],
    record: Record | None,
    scratch: Path,
    *,
    plan_only: bool,
) -> Draft:
    """What the restore is: a new one, or that of the record."""
    if record is None:
        draft = _begin(spec, request, facts, scratch, plan_only=plan_only)
    else:
        draft = _go_on(spec, request, facts, record, scratch, plan_only=plan_only)
    if draft.answers and not plan_only:
        refuse_without_store(spec, request.accept)
    return draft


def _begin(spec: Cluster, request: Request, facts: Mapping[str, HostFacts], scratch: Path, *, plan_only: bool) -> Draft:
    """What a new restore is: which snapshot, and everything that is fixed from now on."""
    views = seen_by_members(spec, facts)
    refuse_one_broken(spec, facts, views, request.accept)
    statuses = answering(spec, facts)
    if request.wanted.from_members:
        members = len(spec.hosts) + len(request.dead)
        known = known_uuid(spec, facts)
        means = Means(spec, facts, known, members, scratch, request.accept, plan_only)
        obtained = obtain_from_members(request.wanted, means)
    else:
        know = any(
            facts[h.name].data_dir.kind == "etcd" or facts[h.name].file(last_path(h)).present for h in spec.hosts
        )
        obtained = obtain(spec, request.wanted, request.accept, scratch, bytes_too=not plan_only, hosts_know=know)
    claimed = (request.requested_by, request.reason)
    record = new_record(spec, request.dead, facts, obtained, statuses, *claimed, rejoin=request.rejoin)
    refuse(source_refusals(spec, obtained.source, record.uuid, request.accept))
    gone = refuse_members_elsewhere(spec, request, obtained, views)
    path = obtained.source.path or scratch / "snapshot.db"
    survivors = request.wanted.survivors
    answers = bool(statuses) and (record.had_quorum or not survivors)
    last, needed = last_state(obtained, statuses), expected(record, obtained.noted, obtained.drill)
    draft = Draft(
        spec,
        record,
        path,
        known_authority(spec),
        answers,
        last=last,
        expected=needed,
        notes=(*obtained.notes, *former.note(gone)),
        survivors=survivors,
    )
    return draft.with_digest(facts)


def refuse_members_elsewhere(
    spec: Cluster, request: Request, obtained: Obtained, views: Mapping[str, ClusterView]
) -> tuple[ManifestMember, ...]:
    """Members that the cluster file does not name, and nobody has looked at: they must not go on serving beside this.

    Args:
        spec: Without its dead members.
        views: What the members that have a quorum say of the cluster.

    Returns:
        Who they are.

    Raises:
        Refused: They are, or may be, serving.
    """
    listed = (member for view in views.values() for member in view.members)
    members = former.with_listed(obtained.members, listed)
    gone = former.elsewhere(spec, (member for member in members if member.name not in request.dead))
    if not gone:
        return ()
    # Whoever was declared dead can't be seen either, and could serve together with them.
    dead = tuple(one for one in members if one.name in request.dead and one.name not in request.fenced)
    answers = former.ask((*gone, *dead), client_files(spec.pki).ca)
    refuse(former.former_refusals((*gone, *dead), answers, len(members), request.accept))
    return gone


def _go_on(
    spec: Cluster, request: Request, facts: Mapping[str, HostFacts], record: Record, scratch: Path, *, plan_only: bool
) -> Draft:
    """A restore that was begun before: everything is as its record says."""
    emit("info", f"going on with restore {record.id[:8]} of {record.snapshot}, begun before")
    refuse_another(request.wanted, record)
    if request.rejoin and not record.first:
        raise Refused(
            "the restore that is under way restores all members, not one that the others join",
            state="nothing was changed by this run",
            remedy="run it without --rejoin; --start-over begins anew, as long as no restored member can have served",
        )
    statuses = answering(spec, facts) if still_old(spec, facts, record) else {}
    refuse_overtaken(record, statuses)
    path = scratch / "snapshot.db"
    if needs_source(spec, facts, record) and not plan_only:
        path = obtain_again(spec, request.wanted, record, request.accept, scratch).path or path
    return Draft(spec, record, path, known_authority(spec), bool(statuses), begun=True)
