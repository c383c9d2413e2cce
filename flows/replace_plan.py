"""The decisions of replace-member before anything is changed: how things stand, which one it is, what is done."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flows.fan_out import gather
from flows.prepare import known_authority
from flows.refusing import refuse
from flows.replacing import differs
from flows.restore_record import known_uuid
from tasks.cluster.spec import Cluster, Host
from tasks.errors import Refused
from tasks.etcd import bootstrap
from tasks.etcd.identity import Identity, settle_identity
from tasks.etcd.install import OtherVersion, plan_install
from tasks.etcd.tasks import view_member
from tasks.hosts.facts import HostFacts
from tasks.members.decide import decide
from tasks.members.plan import FLOW, Joining, plan_replacement
from tasks.members.record import Replacement, has_started, record_on
from tasks.members.refusals import cluster_refusals, host_refusals, no_quorum
from tasks.members.standing import Standing, standing
from tasks.pki.plan import PkiPlan, plan_pki
from tasks.plan import Plan, Step, make_plan


@dataclass(frozen=True)
class Draft:
    """A plan and what it was made from.

    Args:
        record: None if nothing is wrong with the member.
    """

    plan: Plan
    record: Replacement | None
    pki: PkiPlan


def draw_up(
    spec: Cluster,
    living: Cluster,
    host: Host,
    facts: Mapping[str, HostFacts],
    drafted: Replacement | None,
    requested_by: str = "",
    reason: str = "",
) -> Draft:
    """The plan for a cluster that is found like this.

    Args:
        spec: The cluster file's.
        living: The hosts of it that can be reached.
        drafted: The record of the plan that was shown, to be used if a new one is needed.

    Raises:
        Refused: It must not be done now.
        Several: For more than one reason.
    """
    views, _ = gather({h.name: view_member.submit(h) for h in living.hosts if facts[h.name].service.running})
    seen = standing(spec, views)
    if seen is None or not seen.others(host):
        raise no_quorum(spec, host)
    refuse(cluster_refusals(spec, host, facts, seen))
    mine, others = (
        facts[host.name],
        replace(living, hosts=tuple(h for h in living.hosts if h.name in seen.others(host))),
    )
    identity = settle_identity(others, facts, Identity("", ""))
    known_uuid(living, facts)
    known = record_on(host, mine)
    if known is None and _healthy(living, host, seen):
        note = f"{host.name} is a healthy member and holds what the others hold: there is nothing to replace"
        return Draft(make_plan(FLOW, spec.name, (), [note]), None, PkiPlan(False, None, ()))
    begun = decide(host, mine, seen.entry(host), known, identity.token)
    record = begun.record or drafted or _new_record(spec, host, seen, identity, begun.old_id, requested_by, reason)
    refuse(host_refusals(spec, host, mine, seen, record))
    initial = ",".join(_initial_cluster(host, seen, record))
    via = spec.host(seen.others(host)[0])
    joining = Joining(spec, host, via, identity, initial, record.data_dir(host))
    pki = _pki(living, host, facts)
    steps = tuple(_prepare(spec, host, mine, pki)) if not _joined(host, mine, seen, record) else ()
    notes = _notes(host, mine, seen, record)
    return Draft(plan_replacement(joining, mine, record, seen, prepare=steps, notes=notes), record, pki)


def _healthy(living: Cluster, host: Host, seen: Standing) -> bool:
    entry = seen.entry(host)
    if entry is None or host.name not in seen.healthy or any(kind == "CORRUPT" for kind, _ in seen.alarms):
        return False
    return not differs(host, [living.host(name) for name in seen.others(host)])


def _joined(host: Host, facts: HostFacts, seen: Standing, record: Replacement) -> bool:
    entry = seen.entry(host)
    return entry is not None and entry.member_id != record.old_id and has_started(host, facts, record)


def _new_record(
    cluster: Cluster,
    host: Host,
    seen: Standing,
    identity: Identity,
    old_id: str,
    requested_by: str,
    reason: str,
) -> Replacement:
    members = {member.member_id for member in seen.members} - {old_id}
    cured = tuple(who for kind, who in seen.alarms if kind == "CORRUPT" and who not in members)
    now = time.time()
    return Replacement(
        secrets.token_hex(8),
        cluster.name,
        identity.uuid,
        identity.token,
        host.name,
        old_id,
        cured,
        now,
        requested_by,
        reason,
    )


def _initial_cluster(host: Host, seen: Standing, record: Replacement) -> Iterator[str]:
    """All that are members when it starts, as the cluster names them, and itself."""
    for member in seen.members:
        if host.peer_url not in member.peer_urls and member.member_id != record.old_id:
            yield from (f"{member.name}={url}" for url in member.peer_urls)
    yield f"{host.name}={host.peer_url}"


def _pki(living: Cluster, host: Host, facts: Mapping[str, HostFacts]) -> PkiPlan:
    """What is to be done about the certificates of this host; those of the others are left alone."""
    plan = plan_pki(living, facts, known_authority(living), now=datetime.now(UTC))
    return replace(plan, steps=tuple(step for step in plan.steps if step.host == host.name))


def _prepare(cluster: Cluster, host: Host, facts: HostFacts, pki: PkiPlan) -> Iterator[Step]:
    """What bootstrap-cluster would do on the host before it writes settings: user, programs, certificates."""
    account, install = bootstrap.plan_account(cluster, host, facts), plan_install(cluster, host, facts)
    if isinstance(install, OtherVersion):
        raise Refused(install.reason, host=install.host, state="nothing was changed", remedy=install.remedy)
    yield from (step for step in (account, install, *pki.steps) if step)


def _notes(host: Host, facts: HostFacts, seen: Standing, record: Replacement) -> list[str]:
    voters = len(seen.voters) - (record.old_id in {member.member_id for member in seen.voters})
    notes = [f"the others ({', '.join(seen.others(host))}) serve all the time; {host.name} gets what they hold"]
    if record.old_id and voters < len(seen.voters):
        needed = voters // 2 + 1
        notes.append(f"until it has its vote again, {needed} of {voters} members have to be up")
    if facts.data_dir.kind == "etcd" and not has_started(host, facts, record):
        where = facts.data_dir.path or host.paths.data_dir
        notes.append(f"its data in {where} stays there, for whoever wants to look at it")
        if facts.service.active == "inactive":
            notes.append("etcd is merely stopped there: if its data is good, bootstrap-cluster just starts it")
    return notes
