"""Who a cluster is: our own UUID and etcd's bootstrap token, kept on the hosts.

etcd's cluster id changes with every restore; the UUID does not. The token decides member and cluster ids, so a
bootstrap reuses the one found on any of its hosts and never makes a second.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError, Refused, Several
from tasks.etcd.config import parse_env
from tasks.hosts.facts import HostFacts


@dataclass(frozen=True)
class Identity:
    """UUID and initial-cluster token of one cluster."""

    uuid: str
    token: str


@dataclass(frozen=True)
class Found:
    """What one host says it belongs to.

    Args:
        cluster: Name of the cluster, None when only an env file (etcdadm's) was found.
        member: Member name.
        peer_url: Advertised peer URL at the time the data was made.
        uuid: None when only an env file was found.
        token: None when the env file has none (a member that joined with etcdadm).
    """

    cluster: str | None
    member: str
    peer_url: str
    uuid: str | None
    token: str | None


def identity_path(host: Host) -> str:
    """The file that says which cluster and member this host is."""
    return f"{host.paths.record_dir}/identity.json"


def identity_script(host: Host) -> str:
    """Prints the identity file, or nothing."""
    return f"cat -- {shlex.quote(identity_path(host))} 2>/dev/null || true\n"


def uuid_in(cluster: Cluster, content: str) -> str:
    """The cluster's UUID out of an identity file; empty if there is none, or it is another cluster's."""
    try:
        record = json.loads(content)
        return str(record["uuid"]) if record["cluster"] == cluster.name else ""
    except (ValueError, KeyError, TypeError):
        return ""


def common_uuid(cluster: Cluster, contents: Mapping[str, str]) -> str:
    """The cluster's UUID out of its hosts' identity files; empty if none tells.

    Args:
        contents: By host, what :func:`identity_script` printed there.

    Raises:
        Refused: A host belongs to another cluster: what is read there must not be taken for this one's.
        Several: More than one does.
    """
    others = {}
    for name, content in contents.items():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            others[name] = str(json.loads(content)["cluster"])
    wrong = [
        Refused(
            f"this host belongs to the cluster {whose!r}, not to {cluster.name!r}",
            host=name,
            state="nothing was read or stored",
            remedy="check name and addresses in the cluster file",
        )
        for name, whose in others.items()
        if whose != cluster.name
    ]
    if wrong:
        raise wrong[0] if len(wrong) == 1 else Several("hosts of another cluster", wrong)
    return next((found for content in contents.values() if (found := uuid_in(cluster, content))), "")


def formed_path(host: Host) -> str:
    """The file that says that the cluster has once been healthy with this host in it."""
    return f"{host.paths.record_dir}/formed.json"


def render_identity(cluster: Cluster, host: Host, identity: Identity) -> bytes:
    """The identity file's content."""
    record = {
        "cluster": cluster.name,
        "uuid": identity.uuid,
        "token": identity.token,
        "member": host.name,
        "peer_url": host.peer_url,
    }
    return (json.dumps(record, indent=2) + "\n").encode()


def found_on(host: Host, facts: HostFacts) -> Found | None:
    """What the host's identity file says; without one, what its env file says; None if it has neither.

    Raises:
        Refused: The identity file is there and can't be understood.
    """
    content = facts.file(identity_path(host)).content
    if content is not None:
        try:
            record = json.loads(content)
            return Found(record["cluster"], record["member"], record["peer_url"], record["uuid"], record["token"])
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(
                f"{identity_path(host)} is damaged, so it can't be said which cluster this host belongs to",
                host=host.name,
                state="nothing was changed",
                remedy="copy it from a backup, or from another member with this member's name and peer URL put in",
            ) from error
    env_content = facts.file(host.paths.env_file).content
    if env_content is None:
        return None
    env = parse_env(env_content.decode(errors="replace"))
    if "ETCD_NAME" not in env:
        return None
    return Found(
        None,
        env["ETCD_NAME"],
        env.get("ETCD_INITIAL_ADVERTISE_PEER_URLS", ""),
        None,
        env.get("ETCD_INITIAL_CLUSTER_TOKEN"),
    )


def settle_identity(cluster: Cluster, facts: Mapping[str, HostFacts], fresh: Identity) -> Identity:
    """The identity to use: what is found on any host, else the fresh one.

    Args:
        fresh: Newly made by the caller, used only for what no host knows.

    Raises:
        Refused: Hosts contradict each other, or belong to another cluster.
    """
    found = {host.name: found_on(host, facts[host.name]) for host in cluster.hosts}
    tokens = {name: item.token for name, item in found.items() if item and item.token}
    uuids = {name: item.uuid for name, item in found.items() if item and item.uuid}
    for what, values in (("initial-cluster token", tokens), ("cluster UUID", uuids)):
        if len(set(values.values())) > 1:
            said = ", ".join(f"{name} has {value}" for name, value in sorted(values.items()))
            raise Refused(
                f"the hosts do not belong to one cluster: different {what}s ({said})",
                state="nothing was changed",
                remedy="take the host that does not belong here out of the cluster file, or clear it deliberately",
            )
    return Identity(next(iter(uuids.values()), fresh.uuid), next(iter(tokens.values()), fresh.token))


def foreign(cluster: Cluster, host: Host, facts: HostFacts) -> EtcdFlowsError | None:
    """Why this host's data must not be touched by this cluster file, or None if it may.

    Data of unknown origin, of another cluster, or of the same cluster under another name or peer URL is refused:
    starting it under a changed identity would lose it or damage the cluster.
    """
    data = facts.data_dir
    if data.kind == "foreign":
        return _refusal(
            host,
            f"{host.paths.data_dir} holds something that is not etcd's: {', '.join(data.entries)}",
            "move it away, or set `data_dir` for this host to an empty directory",
        )
    found = found_on(host, facts)
    if found is None:
        if data.kind == "etcd":
            return _refusal(
                host,
                f"{host.paths.data_dir} holds the data of an etcd member whose cluster is not known here",
                "if it is not needed, move it away by hand; it is never removed by this tool",
            )
        return None
    return _mismatch(cluster, host, found, has_data=data.kind == "etcd")


def not_named(cluster: Cluster, facts: Mapping[str, HostFacts]) -> list[str]:
    """Members that the settings on the hosts tell of and the cluster file does not."""
    found = set()
    for host in cluster.hosts:
        env = parse_env((facts[host.name].file(host.paths.env_file).content or b"").decode(errors="replace"))
        found |= {entry.partition("=")[0] for entry in env.get("ETCD_INITIAL_CLUSTER", "").split(",") if entry}
    return sorted(found - {host.name for host in cluster.hosts})


def _mismatch(cluster: Cluster, host: Host, found: Found, *, has_data: bool) -> EtcdFlowsError | None:
    if found.cluster is not None and found.cluster != cluster.name:
        what = f"this host belongs to the cluster {found.cluster!r}, not to {cluster.name!r}"
    elif not has_data:
        return None  # an unfinished first run may be repeated with a corrected file
    elif found.member != host.name:
        what = f"this host is the member {found.member!r}, the cluster file calls it {host.name!r}"
    elif found.peer_url and found.peer_url != host.peer_url:
        what = f"this member was made with the peer URL {found.peer_url}, the cluster file says {host.peer_url}"
    else:
        return None
    return _refusal(
        host,
        what,
        "put the old value back into the cluster file; a member's name and peer URL are part of its identity. "
        "If the host shall start anew, destroy-cluster with the old file first",
    )


def _refusal(host: Host, message: str, remedy: str) -> Refused:
    return Refused(message, host=host.name, state="nothing was changed on any host", remedy=remedy)
