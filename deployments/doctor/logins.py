"""What logging in to the hosts will need: keys, agent, known host keys. No host is contacted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from deployments.doctor.asking import as_finding
from deployments.doctor.machine import existing
from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError
from tasks.findings import Finding
from tasks.hosts import hostkeys
from tasks.hosts.connect import Login, load_key, login_of
from tasks.reporting.human import plural

#: Names under which paramiko, as ssh, looks for keys that nobody names.
DEFAULT_KEYS = ("id_rsa", "id_ecdsa", "id_ed25519", "id_dsa")


def check_agent(environ: Mapping[str, str]) -> list[Finding]:
    """Whether the ssh-agent answers, if there is one. For a thread: an agent may hang."""
    place = environ.get("SSH_AUTH_SOCK")
    if not place:
        return [Finding("ok", "ssh agent", "none (SSH_AUTH_SOCK is not set)")]
    count = agent_keys()
    if count is None:
        remedy = "start one and log in again, or unset SSH_AUTH_SOCK"
        return [Finding("warning", "ssh agent", f"nobody answers at {place} (SSH_AUTH_SOCK)", None, remedy)]
    if count == 0:
        return [Finding("warning", "ssh agent", f"the agent at {place} has no key", None, "ssh-add, with the key")]
    return [Finding("ok", "ssh agent", f"{plural(count, 'key')} at {place}")]


def agent_keys() -> int | None:
    """How many keys the agent of this process has; None if there is none or it does not answer as one."""
    import paramiko

    if not os.environ.get("SSH_AUTH_SOCK"):
        return None
    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):
        return None
    try:
        return len(agent.get_keys()) if getattr(agent, "_conn", None) is not None else None
    finally:
        agent.close()


def default_keys(home: Path) -> list[Path]:
    """The private keys that are tried without being named."""
    return [home / ".ssh" / name for name in DEFAULT_KEYS if (home / ".ssh" / name).is_file()]


def check_key_files(home: Path) -> list[Finding]:
    """Whether others may read the keys that are there, or change what ssh trusts."""
    found = []
    for path in default_keys(home):
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            text = f"others may read {path}; ssh itself would not use it"
            found.append(Finding("warning", "ssh keys", text, None, f"chmod 600 {path}"))
    place = home / ".ssh"
    if place.is_dir() and place.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        text = f"others may change {place}, and with it whom ssh trusts"
        found.append(Finding("error", "ssh keys", text, None, f"chmod 700 {place}"))
    return found


def check_logins(name: str, cluster: Cluster, home: Path) -> list[Finding]:
    """All that a login needs, for each machine that the file names and each jump host before it."""
    hosts = [host for host in _machines(cluster) if host.connection == "ssh"]
    if not hosts:
        return []
    in_agent = agent_keys() or 0
    found = [finding for host in hosts for finding in _check_host(name, host, home, in_agent)]
    if not found:
        return [Finding("ok", "logins", f"keys and host keys for {plural(len(hosts), 'host')} are at hand", name)]
    return found


def _machines(cluster: Cluster) -> list[Host]:
    """Members, the monitoring host, the one for drills, those of hooks; of each name one."""
    watch = cluster.monitoring.watch if cluster.monitoring else None
    hooks = (*cluster.restore.before_stop, *cluster.restore.after_proof)
    places = (watch, cluster.drill_place, *hooks)
    found: dict[str, Host] = {}
    for host in (*cluster.hosts, *(place.host for place in places if place)):
        found.setdefault(host.name, host)
    return list(found.values())


def _check_host(name: str, host: Host, home: Path, in_agent: int) -> Iterator[Finding]:
    login: Login | None = login_of(host)
    where = f"{name} {host.name}"
    while login:
        try:
            yield from _check_hop(login, where, host, home, in_agent)
        except EtcdFlowsError as error:
            yield as_finding(error, "logins", where)
        login = login.via


def _check_hop(login: Login, where: str, host: Host, home: Path, in_agent: int) -> Iterator[Finding]:
    keys = hostkeys.known(login.trust)
    at = f" at {login.target.endpoint}" if login.trust.role else ""  # else the finding is of that host anyway
    if not keys.trusted and not login.trust.first_use:
        text = f"the host key{at} is not known, and unknown ones are refused"
        yield Finding("error", "host keys", text, where, hostkeys.how_to_know(login.trust))
    elif not keys.trusted and not os.access(existing(login.trust.known_hosts), os.W_OK):
        text = f"{login.trust.known_hosts} can't be written to, where a host's key is to be remembered"
        yield Finding("error", "host keys", text, where, "make it writable, or name another: ssh.known_hosts")
    if login.key:
        load_key(login.key, login.passphrase, host.name)
    elif not login.password and not (login.agent and (in_agent or default_keys(home))):
        looked = f"no key in an agent, none in {home}/.ssh" if login.agent else "the agent may not be used"
        what = "ssh.jump" if login.trust.role else "ssh"
        text = f"nothing to log in with{at}: no {what}.key, no {what}.password, {looked}"
        yield Finding("error", "logins", text, where, "ssh-add a key, or set ssh.key in the cluster file")
