"""The plan of a restore, and what it is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from flows.approval import Approval
from flows.refusing import refuse
from flows.restore_record import decides
from tasks.cluster.spec import Cluster
from tasks.errors import Refused
from tasks.etcd import bootstrap
from tasks.etcd.install import OtherVersion, plan_install
from tasks.etcd.members import MemberStatus
from tasks.hosts.facts import HostFacts
from tasks.members.rejoin import plan_joins, plan_settle
from tasks.pki.authority import Authority
from tasks.pki.plan import PkiPlan, plan_pki
from tasks.plan import Plan, Step
from tasks.reporting.human import plural, size
from tasks.restore.expect import Last, lost
from tasks.restore.plan import plan_restore
from tasks.restore.record import BOOTSTRAP, Record
from tasks.restore.refusals import host_refusals, needed, refuse_overtaken


@dataclass(frozen=True)
class Draft:
    """What a plan is made from, beside the hosts' facts.

    Args:
        cluster: Without its dead members.
        source: The verified file here, or where it would be.
        authority: The CA, if there is one.
        answers: Whether any member still answers, so that a snapshot of what it holds comes first.
        begun: Whether an earlier run has begun it, so that its record is fixed.
        notes: What people should know of the source.
        survivors: Whether the source is what members without quorum hold: that need not be stored once more.
        last: The cluster's last state that is known.
        expected: How long it takes, for people; empty if that is not told.
    """

    cluster: Cluster
    record: Record
    source: Path
    authority: Authority | None
    answers: bool
    begun: bool = False
    notes: tuple[str, ...] = ()
    survivors: bool = False
    last: Last | None = None
    expected: str = ""

    def pki(self, facts: Mapping[str, HostFacts]) -> PkiPlan:
        """What is to be done about certificates."""
        return plan_pki(self.cluster, facts, self.authority, now=datetime.now(UTC))

    def approved(self, plan: Plan, by: Approval) -> Draft:
        """With who said yes to which plan, and why, in the record; one that is on hosts already stays as it is."""
        if self.begun:
            return self
        record, who = self.record, by.requested_by or self.record.requested_by
        return replace(self, record=replace(record, plan=plan.digest, requested_by=who, reason=by.reason))

    def renewed(self, statuses: Mapping[str, MemberStatus]) -> Draft:
        """As it is after a while in which the old members went on.

        Args:
            statuses: Of the members that answer now.

        Raises:
            Refused: They have given out revisions that would come again.
        """
        if self.begun:
            return self
        refuse_overtaken(self.record, statuses)
        had_quorum = decides(statuses, len(self.record.members) + len(self.record.dead))
        answers = bool(statuses) and (had_quorum or not self.survivors)
        return replace(self, answers=answers, record=replace(self.record, had_quorum=had_quorum))

    def with_digest(self, facts: Mapping[str, HostFacts]) -> Draft:
        """With the digest of its own plan in the record, if it is a new one."""
        if self.record.plan:
            return self
        return replace(self, record=replace(self.record, plan=make_plan(self, facts).digest))


def make_plan(draft: Draft, facts: Mapping[str, HostFacts]) -> Plan:
    """The plan for hosts that were found like this.

    Raises:
        Refused: A host is another cluster's, has no room, or has data of another version.
        Several: More than one reason.
    """
    cluster, record = draft.cluster, draft.record
    installs = {host.name: plan_install(cluster, host, facts[host.name]) for host in cluster.hosts}
    refuse(
        (
            *host_refusals(cluster, facts, record),
            *(
                Refused(found.reason, host=found.host, state="nothing was changed", remedy=found.remedy)
                for found in installs.values()
                if isinstance(found, OtherVersion)
            ),
        )
    )
    pki = {step.host: step for step in draft.pki(facts).steps}
    prepare: list[Step] = []
    for host in cluster.hosts:
        steps = (bootstrap.plan_account(cluster, host, facts[host.name]), installs[host.name], pki.get(host.name))
        prepare += [step for step in steps if isinstance(step, Step)]
    return plan_restore(
        cluster,
        facts,
        record,
        draft.source,
        prepare=prepare,
        joins=plan_joins(cluster, facts, record),
        settle=plan_settle(cluster, record),
        notes=[*_notes(draft), _after(draft, facts)],
    )


def _notes(draft: Draft) -> list[str]:
    record = draft.record
    taken = datetime.fromtimestamp(record.taken, UTC)
    whose = f" of the cluster {record.of_cluster}" if record.of_cluster not in ("", record.cluster) else ""
    if record.clone:
        return [
            f"{record.snapshot}{whose} ({size(record.bytes)}), taken {taken:%Y-%m-%d %H:%M:%S} UTC, at revision "
            f"{record.revision}, becomes a cluster with an identity of its own; revisions stay as they were: no client "
            "of the original may be pointed here"
        ]
    notes = [
        f"{record.snapshot}{whose} ({size(record.bytes)}), taken {taken:%Y-%m-%d %H:%M:%S} UTC, {_ago(record)} before, "
        f"at revision {record.revision}: {lost(record, draft.last)}",
        *([draft.expected] if draft.expected else []),
        f"revisions are raised by {record.bump}, and what was before is marked as compacted: watches that span the "
        "restore are told to begin anew"
        if record.bump
        else "revisions are NOT raised: clients that remember them (Kubernetes does) are silently damaged",
        *draft.notes,
    ]
    if record.first:
        notes.append(
            f"only {record.first} is restored: clients can work as soon as it serves, but nothing protects the data "
            "from its loss until the others have taken it over, one at a time"
        )
    if draft.answers:
        notes.append("what the members hold now is stored as a snapshot first")
    if record.dead:
        notes.append(f"{', '.join(record.dead)} will be no members any more")
    if not record.had_quorum and record.flow != BOOTSTRAP:
        notes.append("the old members can't decide any more: there is no way back to them")
    return notes


def _after(draft: Draft, facts: Mapping[str, HostFacts]) -> str:
    """Who the members are then, what they run, and the room that is taken for it."""
    record = draft.record
    said = f"members afterwards: {', '.join(name for name, _ in record.members)}, of etcd {record.version}"
    free = {host.name: facts[host.name].data_dir.free_bytes for host in draft.cluster.hosts}
    known = {name: count for name, count in free.items() if count is not None}
    if draft.begun or not known:
        return said
    least = min(known, key=lambda name: known[name])
    return (
        f"{said}; each needs {size(needed(record))} of room beside its present data: {least} has the least, "
        f"{size(known[least])}"
    )


def _ago(record: Record) -> str:
    """How old the snapshot was when the restore began."""
    minutes = max(0, round((record.began - record.taken) / 60))
    days, hours = minutes // 1440, minutes // 60
    return f"{days} days" if days > 2 else f"{hours} hours" if hours > 2 else plural(minutes, "minute")
