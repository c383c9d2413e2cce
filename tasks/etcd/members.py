"""What each member says of itself, asked through its own endpoint.

The question is put on the member's host with the etcdctl that was installed there, so it works wherever SSH works.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from tasks.cluster.spec import Host
from tasks.errors import CommandFailed
from tasks.hosts.services import where_it_logs
from tasks.hosts.shell import Shell


@dataclass(frozen=True)
class MemberStatus:
    """One member, as its own ``endpoint status`` answers.

    Args:
        member_id: Hexadecimal, as etcdctl prints it.
        leader_id: Id of the leader it sees, ``"0"`` when it sees none.
        db_bytes: Size of the backend file.
        db_in_use_bytes: Of that, what is not free pages.
        errors: What the member complains of (alarms among them).
    """

    name: str
    endpoint: str
    member_id: str
    leader_id: str
    cluster_id: str
    version: str
    db_bytes: int
    db_in_use_bytes: int
    quota_bytes: int | None
    raft_index: int
    raft_applied: int
    raft_term: int
    learner: bool
    revision: int
    errors: tuple[str, ...]

    @property
    def is_leader(self) -> bool:
        """Whether it is the leader."""
        return self.member_id == self.leader_id


@dataclass(frozen=True)
class Membership:
    """One entry of the member list.

    Args:
        client_urls: Empty as long as the member has never started.
    """

    member_id: str
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool


def parse_status(name: str, text: str) -> MemberStatus:
    """Read the JSON of ``etcdctl endpoint status -w json`` for one endpoint.

    Raises:
        CommandFailed: It is not what etcdctl writes.
    """
    try:
        entry = json.loads(text)[0]
        status: dict[str, Any] = entry["Status"]
        header: dict[str, Any] = status["header"]
        return MemberStatus(
            name=name,
            endpoint=entry["Endpoint"],
            member_id=f"{header['member_id']:x}",
            leader_id=f"{status.get('leader', 0):x}",
            cluster_id=f"{header['cluster_id']:x}",
            version=status["version"],
            db_bytes=status.get("dbSize", 0),
            db_in_use_bytes=status.get("dbSizeInUse", 0),
            quota_bytes=status.get("dbSizeQuota"),
            raft_index=status.get("raftIndex", 0),
            raft_applied=status.get("raftAppliedIndex", 0),
            raft_term=status.get("raftTerm", 0),
            learner=status.get("isLearner", False),
            revision=header.get("revision", 0),
            errors=tuple(status.get("errors", ())),
        )
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise CommandFailed(
            f"etcdctl's answer could not be understood: {text[:200]!r}",
            host=name,
            remedy="run `etcdctl endpoint status -w json` on the host and compare",
        ) from error


def parse_members(text: str) -> tuple[Membership, ...]:
    """Read the JSON of ``etcdctl member list -w json``."""
    return tuple(
        Membership(
            member_id=f"{member['ID']:x}",
            name=member.get("name", ""),
            peer_urls=tuple(member.get("peerURLs", ())),
            client_urls=tuple(member.get("clientURLs", ())),
            learner=member.get("isLearner", False),
        )
        for member in json.loads(text)["members"]
    )


def etcdctl(host: Host, *, timeout: float = 5.0) -> str:
    """The shell words that call etcdctl against this member's own endpoint with its client certificate.

    Args:
        timeout: Seconds for the command and for dialling.
    """
    pki = host.paths.pki_dir
    words = [
        f"{host.paths.install_dir}/etcdctl",
        f"--endpoints={host.client_url}",
        f"--cacert={pki}/ca.crt",
        f"--cert={pki}/etcdctl-etcd-client.crt",
        f"--key={pki}/etcdctl-etcd-client.key",
        f"--command-timeout={timeout:g}s",
        f"--dial-timeout={timeout:g}s",
    ]
    return " ".join(shlex.quote(word) for word in words)


def member_status(shell: Shell, *, timeout: float = 5.0) -> MemberStatus:
    """Ask a member for its status, read only.

    Raises:
        CommandFailed: It does not answer, or there is no etcdctl.
    """
    host = shell.host
    out = shell.run(f"{etcdctl(host, timeout=timeout)} endpoint status -w json\n", timeout=timeout + 5, check=False)
    if out.code != 0:
        raise CommandFailed(
            f"the member does not answer on {host.client_url}: {last_line(out.stderr)}",
            host=host.name,
            remedy=f"{where_it_logs(host)} say why",
        )
    return parse_status(host.name, out.stdout.decode())


@dataclass(frozen=True)
class ClusterView:
    """What one member says about the whole cluster: its status, the member list, the alarms.

    Args:
        refused: Why it lets no data be read, though it has a quorum; empty if it does.
    """

    status: MemberStatus
    members: tuple[Membership, ...]
    alarms: tuple[str, ...]
    refused: str = ""


def cluster_view(shell: Shell, *, timeout: float = 5.0) -> ClusterView:
    """Ask one member for its status, then (linearizable) for the member list and the alarms, in one round trip.

    Raises:
        CommandFailed: It does not answer, or has no quorum behind it.
    """
    host, ctl = shell.host, etcdctl(shell.host, timeout=timeout)
    script = f"{ctl} endpoint status -w json\necho ----\n{ctl} member list -w json\necho ----\n{ctl} alarm list\n"
    # those three are answered also to whom etcd's authentication lets read nothing
    script += f"echo ----\n{ctl} get / 2>&1 >/dev/null || :\n"
    out = shell.run(script, timeout=3 * timeout + 5, check=False)
    parts = out.stdout.decode().split("----\n")
    if out.code != 0:
        what = ("its status", "the member list (no quorum?)", "the alarms")[min(len(parts), 3) - 1]
        raise CommandFailed(
            f"the member on {host.client_url} does not tell {what}: {last_line(out.stderr)}",
            host=host.name,
            remedy=f"{where_it_logs(host)} say why",
        )
    alarms = tuple(line.strip() for line in parts[2].splitlines() if line.strip())
    refused = last_line(parts[3]) if parts[3].strip() else ""
    return ClusterView(parse_status(host.name, parts[0]), parse_members(parts[1]), alarms, refused)


def last_line(text: str) -> str:
    """The last line that says something; of etcd's JSON logs and errors, only the message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "no message"
    for line in reversed(lines):
        if not line.startswith("{"):
            return line
    try:
        entry = json.loads(lines[-1])
    except ValueError:
        return lines[-1]
    return ": ".join(str(entry[key]) for key in ("msg", "error") if entry.get(key))
