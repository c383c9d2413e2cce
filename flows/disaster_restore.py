"""disaster-restore: bring a whole cluster back from a snapshot, prove it, and say how long it took.

The runbook that this replaces: find a backup, copy it to every host, stop etcd everywhere, move data dirs away, run
`etcdutl snapshot restore` three times with flags that must not differ, correct the env files, start in the right order,
hope. Data dirs that are there are never touched: the restored data lies beside them, and the settings are switched.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from prefect import flow

from flows import restore_notes
from flows.approval import Asking, ask, asking
from flows.carry_out import Materials
from flows.choices import one_of
from flows.destroy_cluster import demand_confirmation
from flows.ending import ends_in_state
from flows.fan_out import all_hosts_at_once
from flows.locking import Locked, cluster_lock
from flows.members import answering, publish_members, watch_members
from flows.observe import observe_certificates
from flows.preflight import look
from flows.prepare import fetch_releases, load, ready_authority
from flows.publishing import publish_restore_metrics
from flows.refusing import refuse
from flows.report import publish_plan, reporting
from flows.restore_again import restored_already
from flows.restore_back import take_back, went_back
from flows.restore_cancelled import tell_how_it_stands
from flows.restore_draft import Request, drafted
from flows.restore_plan import Draft, make_plan
from flows.restore_record import found_record, living
from flows.restore_report import command_of, ended_badly, look_beside, publish_restore
from flows.restore_results import RestoreResult
from flows.restore_safety import safety_snapshot
from flows.restore_source import Wanted, scratch_of
from flows.restoring import Course, carry_out
from flows.run_names import named, restore_name
from tasks.cluster.spec import Cluster, RestoreSettings
from tasks.errors import EtcdFlowsError, InputError, Refused
from tasks.plan import Plan
from tasks.reporting.progress import emit
from tasks.restore.hooks import demand_secrets
from tasks.restore.refusals import CONSENTS, OF_RESTORE, dead_members


class Changed(Refused):
    """The hosts have changed since the plan was shown; nothing was changed by this run.

    Args:
        draft: From which the new plan was made.
        plan: The new plan.
    """

    def __init__(self, draft: Draft, plan: Plan) -> None:
        super().__init__(
            "the hosts have changed since the plan was shown",
            state="nothing was changed",
            remedy="look at the new plan (--plan), then run again",
        )
        self.draft = draft
        self.plan = plan


@flow(
    name="disaster-restore",
    flow_run_name=named(restore_name),
    task_runner=all_hosts_at_once(),
    persist_result=False,
    on_cancellation=[tell_how_it_stands],
    on_crashed=[tell_how_it_stands],
)
@ends_in_state
def disaster_restore(
    cluster: str,
    snapshot: str = "latest",
    confirm: str = "",
    reason: str = "",
    requested_by: str = "",
    store: str = "",
    dead: list[str] | None = None,
    fenced: list[str] | None = None,
    accept: list[Annotated[str, one_of(OF_RESTORE)]] | None = None,
    again: bool = False,
    go_back: bool = False,
    from_survivors: bool = False,
    from_data_dir: str = "",
    file: str = "",
    rejoin: bool = False,
    start_over: bool = False,
    plan_only: bool = False,
    approval_seconds: float = 3600.0,
) -> RestoreResult:
    """Restore a cluster from a snapshot; run again after anything that cut it off, it goes on from its record.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
        snapshot: ``latest``, ``before 2026-11-24T14:30``, an id or the beginning of one.
        confirm: The cluster's name, typed: then nobody is asked any more. Left empty, a run of a deployment shows its
            plan and waits for the name in the UI; any other run changes nothing.
        reason: Why, as claimed; kept in the record.
        requested_by: Who asks for it, as claimed; kept in the record.
        store: Only from this store; by default from the first that has it.
        dead: Members that are gone for good, by name; they are left out of the restored cluster.
        fenced: Dead members that surely stay off; needed when they could be serving together.
        accept: Dangers to live with, as a refusal names them: untrusted, other-cluster, no-checksum,
            other-version, no-bump, no-hooks, has-quorum, no-safety-snapshot.
        again: Restore although that very snapshot has just been restored and the cluster serves it.
        go_back: Take the restore that is under way, or the last one, back instead.
        from_survivors: Without quorum: what the surviving member that is furthest holds, or its data directory.
        from_data_dir: What a data directory, or a copy of member/snap/db, holds: ``HOST:PATH``, or a path on the
            machine where the flow runs.
        file: A database file on the machine where the flow runs, instead of a stored snapshot (as
            `etcdctl snapshot save` writes it).
        rejoin: Restore one member alone, which the others join one at a time; for huge databases and slow networks.
        start_over: Begin anew although a restore is under way, as long as no restored member can have been serving.
        plan_only: Only show what would be done; nothing is changed on any host.
        approval_seconds: For so long a run of a deployment waits for its approval in the UI; then the answer is no.
    """
    with reporting():
        request = Request(
            Wanted(snapshot, file, store, from_survivors, from_data_dir),
            tuple(dict.fromkeys(dead or ())),
            tuple(dict.fromkeys(fenced or ())),
            tuple(accept or ()),
            start_over,
            rejoin,
            requested_by,
            reason,
            None if plan_only else asking(confirm, approval_seconds, requested_by, reason),
        )
        spec = load(cluster)
        _check_words(spec, request, confirm, plan_only=plan_only)
        if "no-hooks" in request.accept:
            spec = replace(spec, restore=RestoreSettings())
        demand_secrets(spec)
        emit("phase", "look at the hosts")
        facts, errors = look(spec)
        record = found_record(spec, facts, start_over=start_over, back=go_back)
        members = living(spec, facts, errors, record, request.dead, request.fenced)
        seen = {host.name: facts[host.name] for host in members.hosts}
        if go_back:
            return take_back(members, seen, request, plan_only=plan_only)
        if not (again or request.wanted.from_members) and (
            done := restored_already(members, seen, request.wanted, plan_only=plan_only)
        ):
            return done
        with scratch_of(spec) as scratch:
            draft = drafted(members, request, seen, record, scratch, plan_only=plan_only)
            plan = make_plan(draft, seen)
            publish_plan(plan)
            if plan_only:
                return RestoreResult(plan, applied=False, record=None)
            fetch_releases(members, plan)  # without the lock, since it may take long
            if request.asking is not None:
                return _when_approved(spec, draft, plan, request, request.asking)
            with cluster_lock(members, "disaster-restore") as locked:
                return _under_lock(draft, plan, locked, request)


def _command(spec: Cluster, request: Request) -> str:
    """The command that goes on: the record has all but where bytes may have to be fetched again, and consents."""
    given = (("--file", request.wanted.file), ("--store", request.wanted.store))
    return command_of(
        spec, *(word for option, value in given if value for word in (option, value)), accept=request.accept
    )


def _check_words(spec: Cluster, request: Request, confirm: str, *, plan_only: bool) -> None:
    if not plan_only and request.asking is None:
        demand_confirmation(spec, confirm)
    unknown = [word for word in request.accept if word not in CONSENTS]
    if unknown:
        said = "; ".join(f"{name}: {what}" for name, what in CONSENTS.items())
        raise InputError(
            f"nothing is called {unknown[0]!r} that could be accepted ({said})",
            state="nothing was done",
            remedy="take the word from the refusal that it is for",
        )


def _when_approved(whole: Cluster, draft: Draft, plan: Plan, request: Request, asked: Asking) -> RestoreResult:
    """Ask, then look again, since hours may have passed; a plan that has become another one is asked about again.

    Args:
        whole: With its dead members.
    """
    why_again = ""
    while True:
        draft = draft.approved(plan, ask(plan, asked, why_again))
        if not draft.begun:
            _, errors = look(whole)
            refuse(dead_members(whole, draft.record.dead, request.fenced, errors))
        with cluster_lock(draft.cluster, "disaster-restore") as locked:
            try:
                return _under_lock(draft, plan, locked, request)
            except Changed as error:
                draft, plan = error.draft, error.plan
        why_again = "The hosts have changed since the plan was approved, and so has the plan."


def _under_lock(draft: Draft, shown: Plan, locked: Locked, request: Request) -> RestoreResult:
    """Plan again from what the hosts look like now; the plan that was shown is carried out, or none."""
    spec, course = draft.cluster, Course()
    under_way = found_record(spec, locked.facts, start_over=request.start_over, back=False)
    if under_way is not None and under_way.id != draft.record.id:
        raise Refused(
            f"another restore was begun meanwhile ({under_way.id[:8]} of {under_way.snapshot})",
            state="nothing was changed",
            remedy="run again: it goes on with that one",
        )
    now = draft if request.asking is None else draft.renewed(answering(spec, locked.facts))
    plan = make_plan(now, locked.facts)
    if plan.digest != shown.digest or now != draft:
        publish_plan(plan)
        raise Changed(now, plan)
    record = draft.record
    safety = safety_snapshot(spec, locked, request.accept) if draft.answers else ""
    materials = Materials(spec, fetch_releases(spec, plan), ready_authority(spec, draft.pki(locked.facts)), locked.lock)
    restore_notes.begins(spec, record)
    try:
        carry_out(plan, record, materials, course)
    except EtcdFlowsError as error:
        if not went_back(error, course, record, materials):
            ended_badly(error, course, record, _command(spec, request))
        restore_notes.failed(spec, record, error)
        publish_restore_metrics(spec, course, good=False)
        raise
    facts = observe_certificates(spec)
    members = watch_members(spec)
    restore_notes.ended(spec, record, "done", course)
    table, beside = publish_members(spec, members, facts), look_beside(spec, facts)
    result = RestoreResult(plan, True, record, False, course, members, table, safety, beside)
    publish_restore(result)
    publish_restore_metrics(spec, course, good=True)
    return result
