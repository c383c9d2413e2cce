"""The steps that rebuild one member in its place, from the record, the member list and the host's facts. Pure.

The order is what keeps the cluster safe. The broken member is stopped and held before it is removed, removed before the
new one is added (else a failure in between could cost the quorum: etcd's FAQ), and the new one gets its vote only when
it has caught up. Its old data stays where it is: the new data lies beside it, and the settings are switched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.cluster.spec import Cluster, Host
from tasks.etcd.bootstrap import PEER_HASH_SECONDS, PassGate, RecordFormed, WriteConfig
from tasks.etcd.config import RenderedFile, config_dirs, config_files
from tasks.etcd.identity import Identity, identity_path, render_identity
from tasks.etcd.restored import joined_path, record_path, replace_dir, restore_dir
from tasks.hosts.facts import HostFacts
from tasks.members.actions import (
    AddLearner,
    CatchUp,
    Compare,
    Disarm,
    EndReplacement,
    Promote,
    RemoveMember,
    StartJoined,
    SwitchToJoin,
    WriteReplacement,
)
from tasks.members.record import Replacement, has_started, record_on
from tasks.members.standing import Standing
from tasks.plan import Phase, Plan, Step, make_plan
from tasks.restore.actions import Hold

FLOW = "replace-member"


@dataclass(frozen=True)
class Joining:
    """How one member joins; also those that rejoin a restored cluster.

    Args:
        host: The member's.
        via: Where the cluster is asked and told.
        identity: Of the cluster.
        initial_cluster: As etcd wants it: all that are members when it starts, and itself.
        data_dir: The new, empty one.
    """

    cluster: Cluster
    host: Host
    via: Host
    identity: Identity
    initial_cluster: str
    data_dir: str

    @property
    def user(self) -> str:
        """Owner of the data; empty for whoever runs the commands there."""
        return self.cluster.etcd.user if self.host.service == "systemd" else ""

    def config(self, facts: HostFacts) -> WriteConfig:
        """All files of the member as it joins; the env file comes last."""
        owner = "root" if self.host.service == "systemd" else ""
        etc_hosts = facts.file("/etc/hosts").content if self.cluster.etcd.etc_hosts else None
        files = config_files(
            self.cluster,
            self.host,
            self.identity.token,
            "existing",
            etc_hosts=etc_hosts,
            initial_cluster=self.initial_cluster,
            data_dir=self.data_dir,
        )
        known = (
            RenderedFile(
                identity_path(self.host), render_identity(self.cluster, self.host, self.identity), 0o644, owner, owner
            ),
            RenderedFile(self.host.paths.data_pointer, f"{self.data_dir}\n".encode(), 0o644, owner, owner),
        )
        env = self.host.paths.env_file
        rest = [file for file in files if file.path != env]
        last = [file for file in files if file.path == env]
        dirs = config_dirs(self.cluster, self.host)
        return WriteConfig(dirs, (*known, *rest, *last), self.data_dir, make_data_dir=True, user=self.user)

    def settled(self) -> WriteConfig:
        """The env file as bootstrap-cluster wants it, now that the member has its data.

        ``existing`` must not stay: started without its data, such a member would find its id by its peer URL and vote
        on what it has forgotten (source).
        """
        files = config_files(self.cluster, self.host, self.identity.token, data_dir=self.data_dir)
        env = tuple(file for file in files if file.path == self.host.paths.env_file)
        return WriteConfig((), env, self.data_dir, make_data_dir=False, user=self.user)


def add_step(joining: Joining) -> Step:
    """Make room for it."""
    host = joining.host
    summary = f"add {host.name} ({host.peer_url}) as a learner, which has no vote yet"
    return Step(joining.via.name, f"add-{host.name}", summary, AddLearner(host.name, host.peer_url))


def catch_up_step(joining: Joining) -> Step:
    """Wait until it has caught up."""
    action = CatchUp(joining.data_dir, joining.via.name, max(60.0, joining.cluster.etcd.start_timeout))
    summary = "wait until it has what the others have, as long as it gets on"
    return Step(joining.host.name, "catch-up", summary, action)


def promote_step(joining: Joining) -> Step:
    """Give it its vote."""
    host = joining.host
    action = Promote(host.name, host.peer_url)
    return Step(joining.via.name, f"promote-{host.name}", f"give {host.name} its vote", action)


def settle_step(joining: Joining) -> Step:
    """Write the env file for all starts to come."""
    summary = f"write {joining.host.paths.env_file} for all later starts (no restart)"
    return Step(joining.host.name, "settle", summary, joining.settled())


def compare_phase(name: str, hosts: Iterable[str]) -> Phase:
    """Compare what these members hold."""
    return Phase(name, tuple(Step(h, "compare", "equal hash of all data at one revision", Compare()) for h in hosts))


def plan_replacement(
    joining: Joining,
    facts: HostFacts,
    record: Replacement,
    seen: Standing,
    *,
    prepare: Iterable[Step] = (),
    notes: Iterable[str] = (),
) -> Plan:
    """What is left to do so that the member is a full one again; safe to make again anywhere.

    Args:
        facts: Of the member's host.
        seen: What the members say.
        prepare: What the host needs before (user, programs, certificates), from the rooms that know.
        notes: What people should know before they say yes.
    """
    host, via, entry = joining.host, joining.via, seen.entry(joining.host)
    others = seen.others(host)
    old = entry is not None and entry.member_id == record.old_id
    joined = entry is not None and not old and has_started(host, facts, record)
    voting = joined and entry is not None and not entry.learner
    phases = [Phase(f"prepare {host.name}", tuple(prepare))]
    if record_on(host, facts) != record:
        phases.append(Phase("write the record of the replacement", (_record(host, record),)))
    if not joined:
        if old:
            phases.append(compare_phase("see that the other members hold the same", others))
        phases.append(Phase(f"stop and hold {host.name}", (_hold(host, facts, record),)))
        if old:
            phases.append(Phase(f"take the broken {host.name} out of the cluster", (_remove(via, host, record),)))
        if entry is None or old:
            phases.append(Phase(f"make room for the new {host.name}", (add_step(joining),)))
        phases.append(Phase("switch to a new, empty data dir", (_switch(joining, facts, record),)))
    if not voting:
        phases.append(Phase(f"start {host.name}", (_start(joining, record), catch_up_step(joining))))
        phases.append(Phase(f"give {host.name} its vote", (promote_step(joining),)))
    elif not facts.service.running:
        phases.append(Phase(f"start {host.name}", (_start(joining, record), catch_up_step(joining))))
    phases.append(compare_phase("compare what all members hold", (*others, host.name)))
    if record.corrupt:
        phases.append(Phase("take the alarm back", (_disarm(via, record),)))
    phases += [
        Phase("prove that it serves", (_gate(joining),)),
        Phase("note that it is a full member", (settle_step(joining), _formed(joining))),
        Phase("put the record away", (_end(host, record),)),
    ]
    return make_plan(FLOW, joining.cluster.name, phases, notes)


def _record(host: Host, record: Replacement) -> Step:
    return Step(
        host.name, "record", "write down what this replacement is, for every later run", WriteReplacement(record)
    )


def _hold(host: Host, facts: HostFacts, record: Replacement) -> Step:
    why = "it runs" if facts.service.running else "it must not start by itself"
    return Step(host.name, "hold", "stop etcd, and hold it: no reboot starts it", Hold(record.id), why=why)


def _remove(via: Host, host: Host, record: Replacement) -> Step:
    summary = f"remove the member {record.old_id} (the broken {host.name})"
    return Step(via.name, f"remove-{host.name}", summary, RemoveMember(record.old_id))


def _switch(joining: Joining, facts: HostFacts, record: Replacement) -> Step:
    host = joining.host
    old = facts.data_dir.path or host.paths.data_dir
    stale = restore_dir(host) if facts.file(record_path(host)).present else ""
    kept = f"; {old} stays as it is" if facts.data_dir.kind == "etcd" and old != joining.data_dir else ""
    changes = (f"- ETCD_DATA_DIR={old}", f"+ ETCD_DATA_DIR={joining.data_dir}") if old != joining.data_dir else ()
    action = SwitchToJoin(joining.config(facts), replace_dir(host), stale)
    return Step(host.name, "switch", f"point etcd to {joining.data_dir}{kept}", action, changes=changes)


def _start(joining: Joining, record: Replacement) -> Step:
    host = joining.host
    summary = f"lift its hold and start etcd on {joining.data_dir}"
    return Step(host.name, "start", summary, StartJoined(joining.data_dir, joined_path(host), record.id))


def _disarm(via: Host, record: Replacement) -> Step:
    summary = "take the alarm CORRUPT back: all members hold the same"
    return Step(via.name, "disarm", summary, Disarm(record.corrupt))


def _gate(joining: Joining) -> Step:
    cluster = joining.cluster
    seconds = cluster.etcd.start_timeout + PEER_HASH_SECONDS * (len(cluster.hosts) - 1)
    return Step(joining.host.name, "gate", f"read and write through {joining.host.client_url}", PassGate(seconds))


def _formed(joining: Joining) -> Step:
    return Step(joining.host.name, "formed", "note its new id", RecordFormed(joining.identity.uuid))


def _end(host: Host, record: Replacement) -> Step:
    return Step(host.name, "end", f"put the record away in {record.kept_in(host)}", EndReplacement(record))
