"""bootstrap-cluster --from-snapshot: bare hosts become a cluster that serves a snapshot's data.

The runbook's ``init --snapshot``. Records, steps, gates and proof are those of a restore (:mod:`tasks.restore`), so a
run that was cut off is carried on from its record by the same command; what is added is the preflight, and the refusal
of hosts on which data is already.

A *clone* is the same for another cluster: no client remembers revisions of it, so they are not raised, and it gets an
identity of its own; its record says of which cluster it is a copy.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from flows.carry_out import Materials
from flows.locking import Locked, cluster_lock
from flows.members import publish_members, watch_members
from flows.observe import observe_certificates
from flows.preflight import preflight, refuse_errors, show, with_waivers
from flows.prepare import fetch_releases, keep_operator_client, known_authority, load, ready_authority
from flows.refusing import refuse
from flows.report import publish_plan
from flows.restore_plan import Draft, make_plan
from flows.restore_record import found_record, known_uuid, new_record
from flows.restore_report import ended_badly, publish_restore
from flows.restore_results import RestoreResult
from flows.restore_source import Wanted, obtain, obtain_again, refuse_another, scratch_of
from flows.restoring import Course, carry_out
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, InputError, Refused
from tasks.hosts.facts import HostFacts
from tasks.pki.client import client_files
from tasks.reporting.progress import emit
from tasks.restore import former
from tasks.restore.fresh import data_refusals, made_from, other_members, other_request
from tasks.restore.plan import needs_source
from tasks.restore.record import BOOTSTRAP, Record
from tasks.restore.refusals import CONSENTS, source_refusals


@dataclass(frozen=True)
class Beginning:
    """With which data a new cluster is to begin.

    Args:
        snapshot: ``latest``, ``before TIME``, an id or the beginning of one, or the path of a file.
        of: Cluster file of the cluster whose snapshot it is; the new cluster's own if empty.
        store: Only this store.
        clone: Whether it becomes another cluster, see the module.
        accept: Of :data:`tasks.restore.refusals.CONSENTS`.
        start_over: Begin anew although it was begun before.
    """

    snapshot: str
    of: str = ""
    store: str = ""
    clone: bool = False
    accept: tuple[str, ...] = ()
    start_over: bool = False

    @property
    def wanted(self) -> Wanted:
        """The snapshot; what has a slash, or is there, is a file."""
        if "/" in self.snapshot or Path(self.snapshot).is_file():
            return Wanted(file=self.snapshot, store=self.store)
        return Wanted(self.snapshot, store=self.store)

    @property
    def consents(self) -> tuple[str, ...]:
        """What is said yes to; who wants a clone wants another cluster's data, and no raised revisions."""
        return (*self.accept, "other-cluster", "no-bump") if self.clone else self.accept

    def check(self) -> None:
        """Refuse words that mean nothing.

        Raises:
            InputError: Such as these.
        """
        unknown = [word for word in self.accept if word not in CONSENTS]
        if unknown:
            said = ", ".join(CONSENTS)
            raise InputError(
                f"nothing is called {unknown[0]!r} that could be accepted ({said})",
                state="nothing done",
                remedy="take the word from the refusal that it is for",
            )


def begin_with(
    cluster: Cluster,
    facts: Mapping[str, HostFacts],
    beginning: Beginning,
    *,
    waived: tuple[str, ...],
    plan_only: bool,
) -> RestoreResult | None:
    """Make the cluster from the snapshot, or carry on with that.

    Args:
        facts: Of all hosts.
        waived: Preflight checks whose errors are to be lived with.

    Returns:
        None if the cluster has been made from it before: what is left to do is the ordinary bootstrap's to say.

    Raises:
        Refused: Data is there already, another snapshot was begun with, or the source or a host is not as it has to be.
        EtcdFlowsError: What failed, and where.
    """
    beginning.check()
    course = Course(stopped_at=time.monotonic())  # nobody has anything before this: the clock runs from here
    record = found_record(cluster, facts, start_over=beginning.start_over, back=False)
    if record is None and (made := made_from(cluster, facts)) is not None:
        _refuse_others(made, beginning)
        emit("info", f"this cluster was made from {made.snapshot} already")
        return None
    with scratch_of(cluster) as scratch:
        if record is None:
            refuse(data_refusals(cluster, facts))
            draft = _begin(cluster, facts, beginning, scratch, plan_only=plan_only)
            findings = preflight(cluster, facts, {}, waived)
            show(cluster, findings)
        else:
            draft, findings = _go_on(cluster, facts, record, beginning, scratch, plan_only=plan_only), ()
        plan = with_waivers(make_plan(draft, facts), findings)
        publish_plan(plan)
        if plan_only:
            return RestoreResult(plan, applied=False)
        refuse_errors(findings, {})
        fetch_releases(cluster, plan)  # without the lock, since it may take long
        with cluster_lock(cluster, BOOTSTRAP) as locked:
            return _under_lock(draft, plan.digest, locked, beginning, course)


def _refuse_others(made: Record, beginning: Beginning) -> None:
    """Whether a cluster that is made already is what is asked for."""
    wanted = beginning.wanted
    if wanted.named and not wanted.file and not made.snapshot.startswith(wanted.snapshot):
        raise Refused(
            f"this cluster was made from {made.snapshot} and serves that, not {wanted.snapshot}",
            state="nothing was changed",
            remedy="disaster-restore brings another snapshot to a cluster that has data",
        )
    refuse(other_request(made, clone=beginning.clone))


def _begin(
    cluster: Cluster, facts: Mapping[str, HostFacts], beginning: Beginning, scratch: Path, *, plan_only: bool
) -> Draft:
    """What the new cluster is: which snapshot, and everything that is fixed from now on."""
    owner = _owner(cluster, beginning)
    obtained = obtain(owner, beginning.wanted, beginning.consents, scratch, bytes_too=not plan_only)
    record = replace(new_record(cluster, (), facts, obtained, {}, "", ""), flow=BOOTSTRAP)
    if beginning.clone:
        own = known_uuid(cluster, facts) or str(uuid.uuid4())
        record = replace(record, clone=True, bump=0, uuid=own)
    refuse(source_refusals(cluster, obtained.source, record.uuid, beginning.consents))
    gone = former.elsewhere(cluster, obtained.members) if owner.name == cluster.name and not beginning.clone else ()
    answers = former.ask(gone, client_files(cluster.pki).ca)
    refuse(former.former_refusals(gone, answers, len(obtained.members), beginning.accept))
    path = obtained.source.path or scratch / "snapshot.db"
    authority, notes = known_authority(cluster), former.note(gone)
    draft = Draft(cluster, record, path, authority, answers=False, notes=notes, last=obtained.last)
    return draft.with_digest(facts)


def _go_on(
    cluster: Cluster,
    facts: Mapping[str, HostFacts],
    record: Record,
    beginning: Beginning,
    scratch: Path,
    *,
    plan_only: bool,
) -> Draft:
    """What was begun before: everything is as its record says."""
    refuse((*other_request(record, clone=beginning.clone), *other_members(cluster, record)))
    emit("info", f"going on with {record.snapshot}, begun before")
    wanted = beginning.wanted
    refuse_another(wanted, record)
    path = scratch / "snapshot.db"
    if needs_source(cluster, facts, record) and not plan_only:
        owner = _owner(cluster, beginning)
        path = obtain_again(owner, wanted, record, beginning.consents, scratch).path or path
    return Draft(cluster, record, path, known_authority(cluster), answers=False)


def _owner(cluster: Cluster, beginning: Beginning) -> Cluster:
    """Whose stores, keys and trust the snapshot is looked for with; it is read with the new cluster's programs."""
    return replace(load(beginning.of), release=cluster.release) if beginning.of else cluster


def _under_lock(draft: Draft, shown: str, locked: Locked, beginning: Beginning, course: Course) -> RestoreResult:
    """Plan again from what the hosts look like now; the plan that was shown is carried out, or none."""
    cluster, record = draft.cluster, draft.record
    now = found_record(cluster, locked.facts, start_over=beginning.start_over, back=False)
    plan = make_plan(draft, locked.facts)
    if plan.digest != shown or (now is not None and now.id != record.id):
        publish_plan(plan)
        raise Refused(
            "the hosts have changed since the plan was shown",
            state="nothing was changed",
            remedy="look at the new plan (--plan), then run again",
        )
    authority = ready_authority(cluster, draft.pki(locked.facts))
    keep_operator_client(cluster, authority)
    materials = Materials(cluster, fetch_releases(cluster, plan), authority, locked.lock)
    try:
        carry_out(plan, record, materials, course)
    except EtcdFlowsError as error:
        ended_badly(error, course, record)
        raise
    members = watch_members(cluster)
    table = publish_members(cluster, members, observe_certificates(cluster))
    result = RestoreResult(plan, applied=True, record=record, course=course, members=members, table=table)
    publish_restore(result)
    return result
