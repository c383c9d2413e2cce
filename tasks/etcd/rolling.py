"""Changing members that run: why one has to be restarted, and what its way back is. Pure."""

from __future__ import annotations

import hashlib

from tasks.cluster.spec import Cluster, Host
from tasks.etcd.bootstrap import StartMember, WriteConfig, wanted_files
from tasks.etcd.config import RenderedFile
from tasks.etcd.envfile import parse_env, render
from tasks.etcd.identity import Identity
from tasks.etcd.restored import current_data_dir
from tasks.etcd.takeover import give_to, unit_user
from tasks.hosts.facts import FileFact, HostFacts
from tasks.plan import Step

#: Read by etcd only when a member starts without data; a difference is no reason to restart one that runs.
FIRST_START_ONLY = frozenset(
    {
        "ETCD_INITIAL_CLUSTER",
        "ETCD_INITIAL_CLUSTER_STATE",
        "ETCD_INITIAL_CLUSTER_TOKEN",
        "ETCD_INITIAL_ADVERTISE_PEER_URLS",
    }
)


def restart_reasons(cluster: Cluster, host: Host, facts: HostFacts, identity: Identity) -> tuple[str, ...]:
    """Why a running member has to be restarted to be as the cluster file says; empty if it need not.

    Judged by what the process was really started with, so a run that was cut between writing and restarting is noticed.
    """
    service = facts.service
    if not service.running:
        return ()
    wanted = {file.path: file for file in wanted_files(cluster, host, facts, identity)}
    reasons = []
    if service.exe_replaced:
        reasons.append("it runs a program that has been replaced on disk")
    if service.environ is not None:
        reasons += _settings(service.environ, parse_env(wanted[host.paths.env_file].content.decode()))
    unit = wanted.get(host.paths.unit_file)
    seen = facts.file(host.paths.unit_file) if unit else None
    if unit and seen and seen.present and seen.sha256 != hashlib.sha256(unit.content).hexdigest():
        reasons += _unit_lines(seen, unit)
    elif service.stale:
        reasons.append("systemd has not read its unit file since it was changed")
    if give_to(cluster, host, facts):
        reasons.append(f"{current_data_dir(host, facts)} belongs to {facts.data_dir.owner}, not to {cluster.etcd.user}")
    return tuple(reasons)


def _settings(running: dict[str, str], wanted: dict[str, str]) -> list[str]:
    names = sorted((wanted.keys() | running.keys()) - FIRST_START_ONLY)
    return [
        f"{name}: {running.get(name, 'not set')} -> {wanted.get(name, 'not set')}"
        for name in names
        if wanted.get(name) != running.get(name)
    ]


def _unit_lines(seen: FileFact, unit: RenderedFile) -> list[str]:
    before = (seen.content or b"").decode(errors="replace").splitlines()
    after = unit.content.decode().splitlines()
    gone = [f"unit: - {line}" for line in before if line not in after]
    new = [f"unit: + {line}" for line in after if line not in before]
    return [*gone, *new] or ["unit: its lines stand in another order"]


def plan_restart(cluster: Cluster, host: Host, facts: HostFacts, reasons: tuple[str, ...]) -> Step:
    """Restart a running member so that what was written comes into force."""
    return _restart(host, current_data_dir(host, facts), give_to(cluster, host, facts), reasons)


def plan_restart_undone(cluster: Cluster, host: Host, facts: HostFacts) -> Step:
    """Restart a member with its former settings; root can work with data that was given away, others can't."""
    user = unit_user(facts.file(host.paths.unit_file).content) if host.service == "systemd" else ""
    owner = give_to(cluster, host, facts) if user == cluster.etcd.user else ""
    return _restart(host, current_data_dir(host, facts), owner, ("taken back",))


def _restart(host: Host, data_dir: str, owner: str, reasons: tuple[str, ...]) -> Step:
    data = data_dir if owner else ""
    summary = f"stop etcd, give {data} to {owner.partition(':')[0]}, start it" if owner else "restart etcd"
    action = StartMember(restart=True, data_dir=data, give_to=owner)
    return Step(host.name, "restart", summary, action, why=reasons[0], changes=reasons[1:])


def plan_undo(cluster: Cluster, host: Host, facts: HostFacts) -> Step:
    """Put a healthy member's settings back as they were in force: the way back from a change that makes it ill.

    The environment is the running process's own; the file may already have been changed by a run that was cut off.
    """
    paths = host.paths
    service = host.service == "systemd"
    files = []
    for path, mode, group in (
        (paths.env_file, 0o640, cluster.etcd.user if service else ""),
        (paths.unit_file, 0o644, "root" if service else ""),
    ):
        content = facts.file(path).content if path in facts.files else None
        if content is None:
            continue
        if path == paths.env_file and facts.service.environ and parse_env(content.decode()) != facts.service.environ:
            content = render(sorted(facts.service.environ.items())).encode()
        files.append(RenderedFile(path, content, mode, "root" if service else "", group))
    action = WriteConfig((), tuple(files), current_data_dir(host, facts), make_data_dir=False, user="")
    return Step(host.name, "undo", "write the former settings back", action)
