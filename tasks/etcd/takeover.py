"""Taking over a cluster that this tool did not make: etcdadm's, or a hand-made one with its layout. Pure.

Data, member ids and certificates stay. What would not survive a restart with our unit and our settings is refused
before anything is changed: data or a write-ahead log somewhere else (the member would start without its memory),
settings given as flags (they are in no file that we read), certificates somewhere else, another user.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError, Refused
from tasks.etcd.config import parse_env
from tasks.etcd.identity import identity_path
from tasks.etcd.members import MemberStatus
from tasks.hosts.facts import HostFacts

#: Who a unit without a user runs as.
ROOT = frozenset({"", "root", "0"})
_CERTIFICATES = {
    "ETCD_CERT_FILE": "server.crt",
    "ETCD_KEY_FILE": "server.key",
    "ETCD_TRUSTED_CA_FILE": "ca.crt",
    "ETCD_PEER_CERT_FILE": "peer.crt",
    "ETCD_PEER_KEY_FILE": "peer.key",
    "ETCD_PEER_TRUSTED_CA_FILE": "ca.crt",
}


def not_ours(host: Host, facts: HostFacts) -> bool:
    """Whether etcd is at work here, and was not put there by this tool."""
    at_work = facts.data_dir.kind == "etcd" or facts.service.running
    return at_work and not facts.file(identity_path(host)).present


def unit_user(content: bytes | None) -> str:
    """Who the service of a unit file runs as; empty for root."""
    lines = (content or b"").decode(errors="replace").splitlines()
    users = [line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == "User"]
    return "" if not users or users[-1] in ROOT else users[-1]


def give_to(cluster: Cluster, host: Host, facts: HostFacts) -> str:
    """Owner that existing data has to be given to before our unit can start on it (``user:group``); empty if it has."""
    user = cluster.etcd.user
    if host.service != "systemd" or facts.data_dir.kind != "etcd" or facts.data_dir.owner == user:
        return ""
    return f"{user}:{user}"


def hazards(cluster: Cluster, host: Host, facts: HostFacts) -> tuple[EtcdFlowsError, ...]:
    """Why a member that is not ours must not be started with our unit and settings; empty when it may."""
    if host.service != "systemd" or facts.file(identity_path(host)).present:
        return ()
    found = list(_data_elsewhere(host, facts))
    if not_ours(host, facts):
        found += [*_more_elsewhere(host, facts), *_unit(cluster, host, facts)]
    return tuple(Refused(what, host=host.name, state="nothing was changed on any host", remedy=r) for what, r in found)


def _data_elsewhere(host: Host, facts: HostFacts) -> Iterator[tuple[str, str]]:
    """Even of a member that is stopped: with our settings it would start on an empty directory."""
    data = _data_dir(host, facts)
    if data != _plain(host.paths.data_dir):
        yield (
            f"etcd keeps its data in {data} here, the cluster file says {host.paths.data_dir}",
            f"set data_dir: {data} for this host, or etcd.data_dir for all",
        )
    elif facts.service.running and facts.data_dir.kind != "etcd":
        yield (
            f"etcd runs here, and its data is not in {host.paths.data_dir}",
            "set data_dir to where it is; if it belongs to another cluster, stop and disable it first",
        )


def _plain(path: str) -> str:
    return path.rstrip("/")


def _data_dir(host: Host, facts: HostFacts) -> str:
    return _plain(_in_force(host, facts).get("ETCD_DATA_DIR") or host.paths.data_dir)


def _more_elsewhere(host: Host, facts: HostFacts) -> Iterator[tuple[str, str]]:
    """Log and certificates that are not where the cluster file says."""
    env, paths = _in_force(host, facts), host.paths
    wal = _plain(env.get("ETCD_WAL_DIR", ""))
    if wal and wal != f"{_data_dir(host, facts)}/member/wal":
        yield (
            f"etcd keeps its write-ahead log in {wal} here, apart from its data; started without it, it would have "
            "forgotten what it has acknowledged",
            f"stop this member, move the log to {paths.data_dir}/member/wal, take ETCD_WAL_DIR away and start it again",
        )
    wrong = [f"{n}={env[n]}" for n, f in _CERTIFICATES.items() if env.get(n, p := f"{paths.pki_dir}/{f}") != p]
    if wrong:
        yield (
            f"certificates are not where etcdadm's layout has them: {', '.join(wrong)}",
            f"copy them to {paths.pki_dir} (server, peer: .crt and .key; ca.crt), or set etcd.pki_dir",
        )


def _unit(cluster: Cluster, host: Host, facts: HostFacts) -> Iterator[tuple[str, str]]:
    """A unit that does more than ours could carry on."""
    unit = facts.file(host.paths.unit_file).content
    user = unit_user(unit)
    if user and user != cluster.etcd.user:
        yield f"etcd runs as {user} here, the cluster file says {cluster.etcd.user}", f"set etcd.user: {user}"
    flags = _flags(unit)
    if flags:
        yield (
            f"{host.paths.unit_file} gives etcd settings as flags ({flags}), which would be lost",
            f"move them to {host.paths.env_file} (--max-txn-ops is ETCD_MAX_TXN_OPS and so on) and restart the member",
        )


def _flags(unit: bytes | None) -> str:
    text = (unit or b"").decode(errors="replace").replace("\\\n", " ")
    for line in text.splitlines():
        name, _, command = line.partition("=")
        if name.strip() == "ExecStart":
            flags = [word.partition("=")[0] for word in _words(command) if word.startswith("-")]
            return " ".join(flag for flag in flags if flag != "-")
    return ""


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)[1:]
    except ValueError:
        return command.split()[1:]


def _in_force(host: Host, facts: HostFacts) -> dict[str, str]:
    """The settings of the process, where it runs, else of the next start."""
    if facts.service.environ is not None:
        return facts.service.environ
    content = facts.file(host.paths.env_file).content
    return parse_env(content.decode(errors="replace")) if content is not None else {}


def other_clusters(statuses: Mapping[str, MemberStatus]) -> tuple[EtcdFlowsError, ...]:
    """Members that answer and are not of one cluster: they must not be made to share a cluster file."""
    if len({status.cluster_id for status in statuses.values()}) < 2:
        return ()
    said = ", ".join(f"{name} is in {status.cluster_id}" for name, status in sorted(statuses.items()))
    return (
        Refused(
            f"the members are not of one cluster: {said}",
            state="nothing was changed on any host",
            remedy="take the host that does not belong here out of the cluster file",
        ),
    )


def notes(cluster: Cluster, facts: Mapping[str, HostFacts], statuses: Mapping[str, MemberStatus]) -> tuple[str, ...]:
    """What people should know before they let us take a cluster over; nothing if it is ours."""
    hosts = [host for host in cluster.hosts if not_ours(host, facts[host.name])]
    if not hosts:
        return ()
    known = [f"{host.name} {statuses[host.name].member_id}" for host in hosts if host.name in statuses]
    ids = f" (cluster {next(iter(statuses.values())).cluster_id}; {', '.join(known)})" if known else ""
    given = [host for host in hosts if give_to(cluster, host, facts[host.name])]
    owners = sorted({facts[host.name].data_dir.owner for host in given})
    user = f"the user that etcd runs as ({', '.join(owners)} -> {cluster.etcd.user}, data with it), " if given else ""
    return (
        f"taking over a cluster that this tool did not make ({', '.join(host.name for host in hosts)}): "
        f"data, cluster and member ids{ids} and valid certificates stay as they are",
        f"what changes: {user}the unit, and the settings shown below, among them the quota of the database; one "
        "member at a time, each behind the gate, the leader last; a member that does not get well gets its former unit "
        "and settings back",
    )
