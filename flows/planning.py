"""The plan of bootstrap-cluster, put together from what each room plans. Pure: facts in, plan out.

Order of a plan: prepare all hosts at once; start what does not run, all at once; prove it. Running members whose
settings changed follow one at a time, each behind the gate: those that do not answer first (they have nothing to lose),
then followers, the leader last. A healthy member that a change makes ill gets its former settings back before the run
stops.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from flows.refusing import refuse
from tasks.cluster.spec import Cluster, Host
from tasks.errors import Refused
from tasks.etcd import bootstrap, rolling, takeover
from tasks.etcd.identity import Identity, not_named, settle_identity
from tasks.etcd.install import OtherVersion, plan_install
from tasks.etcd.members import MemberStatus
from tasks.etcd.versions import traits
from tasks.hosts.facts import HostFacts
from tasks.pki.authority import Authority
from tasks.pki.plan import PkiPlan, plan_pki
from tasks.plan import Phase, Plan, Step, make_plan


def plan_bootstrap(
    cluster: Cluster,
    facts: Mapping[str, HostFacts],
    authority: Authority | None,
    fresh: Identity,
    statuses: Mapping[str, MemberStatus] | None = None,
) -> tuple[PkiPlan, Plan]:
    """The whole plan, from the cluster file and the facts; nothing is read or changed.

    Args:
        fresh: UUID and token to use if no host knows one yet.
        statuses: Of the members that answer; wanted when :func:`restarts` says that any has to be restarted.

    Raises:
        Refused: Foreign data, a changed identity, or anything else that makes it unsafe to go on.
        Several: More than one such reason.
    """
    installs = {host.name: plan_install(cluster, host, facts[host.name]) for host in cluster.hosts}
    refuse(
        (
            *bootstrap.refusals(cluster, facts),
            *_other_versions(installs),
            *takeover.other_clusters(statuses or {}),
        )
    )
    identity = settle_identity(cluster, facts, fresh)
    pki = plan_pki(cluster, facts, authority, now=datetime.now(UTC))
    pki_steps = {step.host: step for step in pki.steps}
    prepare: list[Step | OtherVersion | None] = []
    start: list[Step] = []
    changed: dict[str, tuple[str, ...]] = {}
    for host in cluster.hosts:
        seen = facts[host.name]
        prepare += [bootstrap.plan_account(cluster, host, seen), installs[host.name], pki_steps.get(host.name)]
        reasons = rolling.restart_reasons(cluster, host, seen, identity)
        if reasons:
            changed[host.name] = reasons
            continue
        prepare.append(bootstrap.plan_config(cluster, host, seen, identity))
        started = bootstrap.plan_start(cluster, host, seen)
        start += [started] if started else []
    # A cluster taken over formed long ago: each member's note follows its own gate, so that it is never without one.
    formed = [
        bootstrap.plan_formed(host, facts[host.name], identity)
        for host in cluster.hosts
        if host.name not in changed or not takeover.not_ours(host, facts[host.name])
    ]
    unproven = {step.host for step in (*start, *formed) if step} - set(changed)
    gates = [bootstrap.plan_gate(cluster, h, facts[h.name], identity) for h in cluster.hosts if h.name in unproven]
    phases = [
        Phase("prepare the hosts", tuple(step for step in prepare if isinstance(step, Step))),
        Phase("start the members", tuple(start)),
        Phase("pass the gate", tuple(gates)),
        *_rolling(cluster, facts, identity, changed, statuses or {}),
        Phase("note that the cluster has formed", tuple(step for step in formed if step)),
    ]
    notes = (
        *_forgotten(cluster, facts),
        *takeover.notes(cluster, facts, statuses or {}),
        *_version_notes(cluster),
        *pki.notes,
    )
    return pki, make_plan("bootstrap-cluster", cluster.name, phases, notes)


def _forgotten(cluster: Cluster, facts: Mapping[str, HostFacts]) -> tuple[str, ...]:
    """A note on members that the cluster file does not name; a first run's file may still be corrected."""
    others = not_named(cluster, facts)
    if not others or not any(facts[host.name].data_dir.kind == "etcd" for host in cluster.hosts):
        return ()
    said = "is a member" if len(others) == 1 else "are members"
    return (
        f"{', '.join(others)} {said} by the settings on the hosts, and not in the cluster file: this flow takes no "
        "member out of a cluster, so if that was not meant, put it back into the file",
    )


def restarts(cluster: Cluster, facts: Mapping[str, HostFacts], fresh: Identity) -> bool:
    """Whether any running member has to be restarted, so that it matters who leads.

    Raises:
        Refused: As :func:`plan_bootstrap`.
    """
    identity = settle_identity(cluster, facts, fresh)
    return any(rolling.restart_reasons(cluster, host, facts[host.name], identity) for host in cluster.hosts)


def _rolling(
    cluster: Cluster,
    facts: Mapping[str, HostFacts],
    identity: Identity,
    changed: Mapping[str, tuple[str, ...]],
    statuses: Mapping[str, MemberStatus],
) -> list[Phase]:
    """One phase a member; before the first healthy one is touched, all healthy ones have to pass the gate."""
    ill = [host for host in cluster.hosts if host.name in changed and host.name not in statuses]
    leading = [host for host in cluster.hosts if host.name in changed and host.name in statuses]
    leading.sort(key=lambda host: statuses[host.name].is_leader)

    def gate(host: Host) -> Step:
        return bootstrap.plan_gate(cluster, host, facts[host.name], identity)

    def change(host: Host, *, healthy: bool) -> Phase:
        seen = facts[host.name]
        config = bootstrap.plan_config(cluster, host, seen, identity)
        formed = bootstrap.plan_formed(host, seen, identity) if takeover.not_ours(host, seen) else None
        steps = (config, rolling.plan_restart(cluster, host, seen, changed[host.name]), gate(host), formed)
        undo: tuple[Step, ...] = ()
        if healthy:
            restart = rolling.plan_restart_undone(cluster, host, seen)
            undo = (rolling.plan_undo(cluster, host, seen), restart, gate(host))
        role = ", the leader" if healthy and statuses[host.name].is_leader else ""
        return Phase(f"change {host.name}{role}", tuple(step for step in steps if step), undo)

    phases = [change(host, healthy=False) for host in ill]
    if leading:
        healthy = [gate(host) for host in cluster.hosts if host.name in statuses]
        phases.append(Phase("see that the members are healthy before the first is changed", tuple(healthy)))
        phases += [change(host, healthy=True) for host in leading]
    return phases


def _other_versions(installs: Mapping[str, Step | OtherVersion | None]) -> list[Refused]:
    """Members whose data was written by another version than the cluster file wants."""
    return [
        Refused(found.reason, host=found.host, state="nothing was changed on any host", remedy=found.remedy)
        for found in installs.values()
        if isinstance(found, OtherVersion)
    ]


def _version_notes(cluster: Cluster) -> tuple[str, ...]:
    """Known faults of the etcd version that the cluster file asks for."""
    version = cluster.release.version
    return tuple(f"etcd {version}: {note.text} ({note.source})" for note in traits(version).notes)
