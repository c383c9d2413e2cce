"""What has to happen on each host so that the members run as the cluster file says. Pure: facts in, steps out.

The steps of a host, in order: ``account`` (system user), then release and certificates (planned elsewhere), ``config``
(env file, unit, wrapper, data dir), ``start`` or ``restart``, ``gate``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError, Refused
from tasks.etcd.config import RenderedDir, RenderedFile, config_dirs, config_files, diff_env
from tasks.etcd.identity import Identity, foreign, formed_path, identity_path, render_identity
from tasks.etcd.restored import current_data_dir, replace_command, under_way
from tasks.etcd.restored import fact_paths as restore_paths
from tasks.etcd.takeover import give_to, hazards
from tasks.hosts.facts import FileFact, HostFacts
from tasks.plan import Step


def fingerprint(*parts: object) -> str:
    """One hash over anything with a stable text form; for actions' fingerprints."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()


@dataclass(frozen=True)
class EnsureAccount:
    """Create the system user and group that etcd runs as."""

    user: str
    home: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("account", self.user, self.home)


@dataclass(frozen=True)
class WriteConfig:
    """Write configuration files and make the data dir (0700, owned by etcd's user) if it is not there.

    Args:
        dirs: Made first, where they are missing.
        user: Owner of the data dir; empty for whoever runs the commands there.
    """

    dirs: tuple[RenderedDir, ...]
    files: tuple[RenderedFile, ...]
    data_dir: str
    make_data_dir: bool
    user: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        sums = [(f.path, f.mode, f.owner, f.group, hashlib.sha256(f.content).hexdigest()) for f in self.files]
        return fingerprint("config", self.dirs, sums, self.data_dir, self.make_data_dir, self.user)


@dataclass(frozen=True)
class StartMember:
    """Enable the unit and start it, or restart it when it runs; does not wait for it to become ready.

    Args:
        data_dir: The data dir, where its data has to change hands.
        give_to: ``user:group`` that all of it is given to while the member is stopped; empty leaves it alone.
    """

    restart: bool
    data_dir: str = ""
    give_to: str = ""

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("start", self.restart, self.data_dir, self.give_to)


@dataclass(frozen=True)
class PassGate:
    """Wait for a read and a write through the member's own endpoint."""

    seconds: float

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("gate", self.seconds)


@dataclass(frozen=True)
class RecordFormed:
    """Record on the host that the cluster has formed: from now on a member without data has lost it."""

    uuid: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("formed", self.uuid)


def fact_paths(cluster: Cluster, host: Host) -> tuple[frozenset[str], frozenset[str]]:
    """Paths that have to be looked at on a host: (stat and checksum only, content too)."""
    contents = {file.path for file in config_files(cluster, host, token="")}
    contents |= {identity_path(host), formed_path(host), *restore_paths(host)}
    if cluster.etcd.etc_hosts:
        contents.add("/etc/hosts")
    return frozenset(directory.path for directory in config_dirs(cluster, host)), frozenset(contents)


def refusals(cluster: Cluster, facts: Mapping[str, HostFacts]) -> tuple[EtcdFlowsError, ...]:
    """Every reason why this cluster file must not be applied to these hosts; empty when it may."""
    found: list[EtcdFlowsError] = list(under_way(cluster, facts))
    for host in cluster.hosts:
        reason = foreign(cluster, host, facts[host.name])
        found += [reason] if reason else hazards(cluster, host, facts[host.name])
    return tuple(found or _lost_data(cluster, facts))


def _lost_data(cluster: Cluster, facts: Mapping[str, HostFacts]) -> list[EtcdFlowsError]:
    """Members without data in a cluster that has already formed.

    Starting such a member under its old id would let it vote again on what it has forgotten (raft's promise broken); it
    has to be replaced. A cluster that never passed its first gate holds nothing that was promised, so there it is fine.
    """
    with_data = [host for host in cluster.hosts if facts[host.name].data_dir.kind == "etcd"]
    formed = [host.name for host in cluster.hosts if has_formed(host, facts[host.name])]
    if not formed:
        return []
    return [
        Refused(
            f"{current_data_dir(host, facts[host.name])} is empty, but the cluster has already formed "
            f"({', '.join(formed)} know it): either this host is new, or it has lost its data",
            host=host.name,
            state="nothing was changed; the members that have data keep running as they were",
            remedy="starting it as it is would put acknowledged writes at risk. While the other members have a quorum, "
            f"it is rebuilt alone: {replace_command(cluster, host.name)} (--plan shows how); if they have none: "
            "disaster-restore",
        )
        for host in cluster.hosts
        if host not in with_data
    ]


def has_formed(host: Host, facts: HostFacts) -> bool:
    """Whether the cluster with this host in it was once healthy: our record, or data that was not made by us."""
    if facts.file(formed_path(host)).present:
        return True
    return facts.data_dir.kind == "etcd" and not facts.file(identity_path(host)).present


def plan_account(cluster: Cluster, host: Host, facts: HostFacts) -> Step | None:
    """Create etcd's system user or group where one is missing (a supervisor's members run as who runs that)."""
    if host.service != "systemd" or facts.etcd_user:
        return None
    user = cluster.etcd.user
    action = EnsureAccount(user, host.paths.data_dir)
    return Step(host.name, "account", f"create the system user {user}", action, why="user or group is missing")


def plan_config(cluster: Cluster, host: Host, facts: HostFacts, identity: Identity) -> Step | None:
    """Write the files that differ in content, owner or mode; make the data dir if there is none."""
    wanted = wanted_files(cluster, host, facts, identity)
    differing = tuple(file for file in wanted if _differs(host, file, facts))
    missing = tuple(item for item in config_dirs(cluster, host) if not _usable(host, facts.file(item.path)))
    make_dir = facts.data_dir.kind == "absent" or (
        facts.data_dir.kind == "empty"
        and host.service == "systemd"
        and (facts.data_dir.owner, facts.data_dir.mode) != (cluster.etcd.user, 0o700)
    )
    if not differing and not missing and not make_dir:
        return None
    names = (
        [item.path for item in missing]
        + [item.path for item in differing]
        + ([f"{host.paths.data_dir}/"] if make_dir else [])
    )
    return Step(
        host.name,
        "config",
        _write_summary(names, facts),
        WriteConfig(missing, differing, current_data_dir(host, facts), make_dir, _user(cluster, host)),
        why=_config_why(differing, facts),
        changes=_env_changes(host, differing, facts),
    )


def wanted_files(cluster: Cluster, host: Host, facts: HostFacts, identity: Identity) -> tuple[RenderedFile, ...]:
    """All files as they should be on this host, the identity file among them."""
    etc_hosts = facts.file("/etc/hosts").content if cluster.etcd.etc_hosts else None
    owner = "root" if host.service == "systemd" else ""
    record = RenderedFile(identity_path(host), render_identity(cluster, host, identity), 0o644, owner, owner)
    # The identity comes first: data must never exist on a host that can't say whose it is.
    files = config_files(cluster, host, identity.token, etc_hosts=etc_hosts, data_dir=current_data_dir(host, facts))
    return (record, *files)


def _usable(host: Host, directory: FileFact) -> bool:
    """Whether it is there and etcd's user, who is not its owner, gets through to the certificates."""
    return directory.present and (host.service != "systemd" or directory.kind != "dir" or bool(directory.mode & 0o001))


def _differs(host: Host, file: RenderedFile, facts: HostFacts) -> bool:
    fact = facts.file(file.path)
    if fact.kind != "file" or fact.sha256 != hashlib.sha256(file.content).hexdigest():
        return True
    if fact.mode != file.mode:
        return True
    return host.service == "systemd" and (fact.owner, fact.group) != (file.owner, file.group)


def _write_summary(names: list[str], facts: HostFacts) -> str:
    """Of a host that has none of them, the directories say enough; else every path is named."""
    if len(names) > 3 and not any(facts.files[name].present for name in names if name in facts.files):
        return "write env file, unit, etcdctl wrapper and identity; make the data dir"
    return f"write {', '.join(names)}"


def _config_why(differing: tuple[RenderedFile, ...], facts: HostFacts) -> str:
    if not differing:
        return "a directory is missing or closed to etcd's user"
    if len(differing) > 1 and not any(facts.file(file.path).present for file in differing):
        return "none of them is there"
    return "; ".join(_why(file, facts) for file in differing)


def _user(cluster: Cluster, host: Host) -> str:
    return cluster.etcd.user if host.service == "systemd" else ""


def _why(file: RenderedFile, facts: HostFacts) -> str:
    fact = facts.file(file.path)
    if not fact.present:
        return f"{file.path} is missing"
    if fact.sha256 != hashlib.sha256(file.content).hexdigest():
        return f"{file.path} differs"
    return f"{file.path} is {fact.owner}:{fact.group} {fact.mode:04o}, not {file.owner}:{file.group} {file.mode:04o}"


def _env_changes(host: Host, differing: tuple[RenderedFile, ...], facts: HostFacts) -> tuple[str, ...]:
    for file in differing:
        if file.path == host.paths.env_file:
            old = facts.file(file.path).content
            return diff_env(old.decode(errors="replace"), file.content.decode()) if old is not None else ()
    return ()


def plan_start(cluster: Cluster, host: Host, facts: HostFacts) -> Step | None:
    """Start a member that does not run, and see to it that it starts at boot."""
    service = facts.service
    if service.running and service.enabled:
        return None
    why = "it does not run" if not service.running else "it does not start at boot"
    summary = "start etcd, and at every boot" if host.service == "systemd" else "start etcd"
    owner = "" if service.running else give_to(cluster, host, facts)
    data = current_data_dir(host, facts)
    if owner:
        summary = f"give {data} to {cluster.etcd.user}; {summary}"
        why += f", and its data belongs to {facts.data_dir.owner}"
    action = StartMember(restart=False, data_dir=data if owner else "", give_to=owner)
    return Step(host.name, "start", summary, action, why=why)


#: Seconds that a starting member with data waits for each peer that listens but does not serve yet, when it asks for
#: its hash (etcd's request timeout of 5 s and two election timeouts of 1 s; seen: 14 s for three started at once).
PEER_HASH_SECONDS = 7


def plan_gate(cluster: Cluster, host: Host, facts: HostFacts, identity: Identity) -> Step:
    """Wait until the member serves reads and writes.

    Members that have data check it against their peers before they serve; when all start at once each waits for the
    others, one after the other, so they are given that time on top.
    """
    seconds = cluster.etcd.start_timeout
    if facts.data_dir.kind == "etcd" and cluster.etcd.corruption_checks:
        seconds += PEER_HASH_SECONDS * (len(cluster.hosts) - 1)
    summary = f"read and write through {host.client_url}"
    return Step(host.name, "gate", summary, PassGate(seconds))


def plan_formed(host: Host, facts: HostFacts, identity: Identity) -> Step | None:
    """Record that the cluster has formed, where that is not on record; only once *all* members have passed the gate.

    Were it recorded member by member, one that never got up (its port taken, say) would seem to have lost its data in
    the next run. A run that was killed before this is made good by the next one, which puts the members before the
    gate again. Of a cluster that was taken over, which has formed before, each member may be recorded by itself.
    """
    if facts.file(formed_path(host)).present:
        return None
    summary = "note that the cluster has formed"
    return Step(host.name, "formed", summary, RecordFormed(identity.uuid), why="that is not on record here")
