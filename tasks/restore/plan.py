"""The steps of a restore, from the record and from how far each host has come. Pure.

The order is what keeps data safe, and :func:`check_order` proves it of every plan before it is carried out: the record
is on every host before anything stops; everything that can be done while the old members run is done before; all
members are stopped and held before the first one starts; they start one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError
from tasks.etcd.bootstrap import PEER_HASH_SECONDS, PassGate, RecordFormed, WriteConfig
from tasks.etcd.config import RenderedFile, config_dirs, config_files
from tasks.etcd.identity import Identity, identity_path, render_identity
from tasks.hosts.facts import HostFacts
from tasks.plan import Phase, Plan, Step, make_plan
from tasks.reporting.human import size
from tasks.restore import hooks
from tasks.restore.actions import (
    Finish,
    Hold,
    LiftAndStart,
    Prove,
    PushSnapshot,
    StayUp,
    Switch,
    Unpack,
    WriteRecord,
)
from tasks.restore.record import BOOTSTRAP, RESTORE, Record
from tasks.restore.stand import Stand, stands

FLOW = RESTORE


def plan_restore(
    cluster: Cluster,
    facts: Mapping[str, HostFacts],
    record: Record,
    source: Path | None,
    *,
    prepare: Iterable[Step] = (),
    joins: Iterable[Phase] = (),
    settle: Iterable[Step] = (),
    notes: Iterable[str] = (),
) -> Plan:
    """What is left to do so that the cluster of the record serves the record's data; safe to make again anywhere.

    Args:
        cluster: The restored cluster's members; those declared dead are not among them.
        facts: Of their hosts.
        source: The verified file on the worker; None only if every host has unpacked it already.
        prepare: What the hosts need before (programs, certificates), from the rooms that know.
        joins: How the other members join, where only one is restored.
        settle: What has to be written for later starts then.
        notes: What people should know before they say yes.
    """
    seen = stands(cluster, facts, record)
    waiting = [host for host in cluster.hosts if seen[host.name].place != "turned"]
    restored = [host for host in waiting if record.restores(host.name)]
    files = [step for host in restored for step in _bring(cluster, host, seen[host.name], record, source)]
    where = f"{record.first} and unpack it beside its data" if record.first else "all members and unpack it"
    old = record.flow != BOOTSTRAP  # whether there may be members to be stopped, and clients of theirs
    stop = "stop and " if old else ""
    if stop and not record.first:
        where += " beside their data"
    phases = [
        Phase("prepare the hosts", tuple(prepare)),
        Phase("write the restore's record to all members", tuple(_record(host, record) for host in cluster.hosts)),
        Phase(f"bring the snapshot to {where}", tuple(files)),
        *([hooks.before_stop(cluster)] if old and any(_serves_old(seen[host.name]) for host in waiting) else []),
        Phase(f"{stop}hold all members", tuple(_hold(host, seen[host.name], record) for host in waiting)),
        Phase("switch to the restored data", tuple(_switch(cluster, h, facts[h.name], record) for h in restored)),
        *_starts(cluster, seen, record),
        *joins,
        Phase("prove what they serve", tuple(_prove(host, record) for host in cluster.hosts)),
        Phase("write the settings for all later starts", tuple(settle)),
        Phase("note that the cluster has formed", tuple(_formed(host, record) for host in cluster.hosts)),
        *([hooks.after_proof(cluster)] if old else []),
        Phase("put the record away", tuple(_finish(host, record) for host in cluster.hosts)),
    ]
    plan = make_plan(record.flow, cluster.name, phases, notes)
    check_order(plan, cluster, seen)
    return plan


def needs_source(cluster: Cluster, facts: Mapping[str, HostFacts], record: Record) -> bool:
    """Whether any host still has to get the bytes."""
    seen = stands(cluster, facts, record)
    return any(one.place != "turned" and not one.unpacked and record.restores(name) for name, one in seen.items())


def _record(host: Host, record: Record) -> Step:
    return Step(host.name, "record", "write down what this restore is, for every later run", WriteRecord(record))


def _bring(cluster: Cluster, host: Host, seen: Stand, record: Record, source: Path | None) -> Iterable[Step]:
    if seen.unpacked:
        return
    if source is None:
        raise EtcdFlowsError(
            "the snapshot has to be brought to the hosts again, and is not at hand",
            host=host.name,
            remedy="run it again with the same snapshot named",
        )
    file, new = record.file(host), record.data_dir(host)
    user = cluster.etcd.user if host.service == "systemd" else ""
    push = PushSnapshot(str(source), file, record.sha256, user)
    yield Step(host.name, "push", f"bring {record.snapshot} ({size(record.bytes)}) to {file}", push)
    raised = f", revisions raised by {record.bump}" if record.bump else ""
    why = "revisions that clients have seen must not come again" if raised else ""
    yield Step(host.name, "unpack", f"unpack it into {new}{raised}", Unpack(record, user), why=why)


def _hold(host: Host, seen: Stand, record: Record) -> Step:
    why = "it runs" if seen.running else "it must not start by itself"
    return Step(host.name, "hold", "stop etcd, and hold it: no reboot starts it", Hold(record.id), why=why)


def _serves_old(seen: Stand) -> bool:
    """Whether the member may serve clients what was there before."""
    return seen.place == "old" and (seen.running or not seen.held)


def _switch(cluster: Cluster, host: Host, facts: HostFacts, record: Record) -> Step:
    old, new = facts.data_dir.path or host.paths.data_dir, record.data_dir(host)
    changes = (f"- ETCD_DATA_DIR={old}", f"+ ETCD_DATA_DIR={new}") if old != new else ()
    there = old != new and facts.data_dir.kind == "etcd"
    summary = f"point etcd to {new}; {old} stays as it is" if there else f"point etcd to {new}"
    return Step(
        host.name, "switch", summary, Switch(record, _config(cluster, host, facts, record), old), changes=changes
    )


def _config(cluster: Cluster, host: Host, facts: HostFacts, record: Record) -> WriteConfig:
    """All files of the member as the restored cluster wants them; the env file comes last."""
    owner = "root" if host.service == "systemd" else ""
    etc_hosts = facts.file("/etc/hosts").content if cluster.etcd.etc_hosts else None
    new = record.data_dir(host)
    files = config_files(
        cluster, host, record.token, etc_hosts=etc_hosts, initial_cluster=record.initial_cluster, data_dir=new
    )
    identity = Identity(record.uuid, record.token)
    known = (
        RenderedFile(identity_path(host), render_identity(cluster, host, identity), 0o644, owner, owner),
        RenderedFile(host.paths.data_pointer, f"{new}\n".encode(), 0o644, owner, owner),
    )
    rest = [file for file in files if file.path != host.paths.env_file]
    last = [file for file in files if file.path == host.paths.env_file]
    user = cluster.etcd.user if host.service == "systemd" else ""
    return WriteConfig(config_dirs(cluster, host), (*known, *rest, *last), new, make_data_dir=False, user=user)


def _starts(cluster: Cluster, seen: Mapping[str, Stand], record: Record) -> list[Phase]:
    """One phase a member: those that have been started before, then the others; each behind its gate."""
    hosts = [host for host in cluster.hosts if record.restores(host.name)]
    turned = [host for host in hosts if seen[host.name].place == "turned"]
    down = [host for host in turned if not seen[host.name].running]
    up = len(turned) - len(down)
    order = [*down, *(host for host in hosts if host not in turned)]
    phases = []
    for number, host in enumerate(order, up + 1):
        new = record.data_dir(host)
        start = Step(host.name, "start", f"lift its hold and start etcd on {new}", LiftAndStart(new, record.id))
        gate = full_gate(cluster, host) if number >= record.quorum else stay_gate(cluster, host)
        phases.append(Phase(f"start {host.name} ({number} of {len(hosts)})", (start, gate)))
    return phases


def stay_gate(cluster: Cluster, host: Host) -> Step:
    """All that can be asked of a member before there is a quorum."""
    summary = "see that it stays up and serves its peers (that it serves no client yet is normal: there is no quorum)"
    return Step(host.name, "gate", summary, StayUp(cluster.etcd.start_timeout))


def full_gate(cluster: Cluster, host: Host) -> Step:
    """A read and a write through the member's own endpoint."""
    seconds = cluster.etcd.start_timeout + PEER_HASH_SECONDS * (len(cluster.hosts) - 1)
    return Step(host.name, "gate", f"read and write through {host.client_url}", PassGate(seconds))


def _prove(host: Host, record: Record) -> Step:
    counted = f", {record.keys} keys" if record.keys is not None else ""
    summary = f"read and write; equal hashes at revision {record.base_revision}{counted}; no alarms"
    return Step(host.name, "prove", summary, Prove(record.base_revision, record.keys))


def _formed(host: Host, record: Record) -> Step:
    return Step(host.name, "formed", "note that the cluster has formed", RecordFormed(record.uuid))


def _finish(host: Host, record: Record) -> Step:
    return Step(host.name, "finish", f"put the record away in {record.kept_in(host)}", Finish(record))


def check_order(plan: Plan, cluster: Cluster, seen: Mapping[str, Stand]) -> None:
    """Whether no member can be started by this plan while another may run the old data, nor two at once.

    Raises:
        AssertionError: It could; that is an error of the program, and nothing must be carried out.
    """
    safe = {name for name, one in seen.items() if one.place == "turned"}
    recorded = {name for name, one in seen.items() if one.recorded}
    for phase in plan.phases:
        holds = {step.host for step in phase.steps if isinstance(step.action, Hold)}
        starts = [step.host for step in phase.steps if isinstance(step.action, LiftAndStart)]
        if holds and recorded != set(seen):
            raise AssertionError(f"{phase.name!r} stops members before the record is on all of them")
        if len(starts) > 1:
            raise AssertionError(f"{phase.name!r} starts {len(starts)} members at once")
        if starts and safe != {host.name for host in cluster.hosts}:
            raise AssertionError(f"{phase.name!r} starts a member while another may run the old data")
        recorded |= {step.host for step in phase.steps if isinstance(step.action, WriteRecord)}
        safe |= holds
