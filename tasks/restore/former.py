"""The members that a cluster had and the cluster file does not name: whether they may still be serving.

A cluster that begins anew with its own snapshot, on other hosts or on some of its hosts, keeps its name, its CA and its
identity. If its other members were alive somewhere, clients could not tell the two apart. One that answers with a
certificate of the cluster's CA is refused for good; where the old members can't be seen and could have a quorum, a
person has to say that they are off (rule 5).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tasks.cluster.spec import Cluster
from tasks.errors import Refused
from tasks.etcd.members import Membership
from tasks.snapshots.manifest import ManifestMember

CONSENT = "old-members-off"
_PATIENCE = 3.0  # seconds for one of them to answer
_UNTOUCHED = "nothing was changed on any host"

#: ``ours``: it has a certificate of the cluster's CA. ``somebody``: something else, or of another CA. ``nobody``: no
#: answer, which may just mean that it can't be reached from here.
Answer = Literal["ours", "somebody", "nobody"]


def elsewhere(cluster: Cluster, members: Iterable[ManifestMember]) -> tuple[ManifestMember, ...]:
    """The members that are on none of the hosts of the cluster file, so that nobody has looked at them. Pure."""
    seen = {_machine(url) for host in cluster.hosts for url in (host.peer_url, host.client_url)}
    seen |= {host.ssh.address for host in cluster.hosts}
    return tuple(one for one in members if seen.isdisjoint(map(_machine, (*one.peer_urls, *one.client_urls))))


def with_listed(backed_up: Iterable[ManifestMember], listed: Iterable[Membership]) -> tuple[ManifestMember, ...]:
    """The members of the newest backup, and those that the cluster itself lists now, each once. Pure."""
    found = {(one.name, one.peer_urls): one for one in backed_up}
    for one in listed:
        entry = ManifestMember(one.name, one.member_id, one.peer_urls, one.client_urls, one.learner)
        found.setdefault((one.name, one.peer_urls), entry)
    return tuple(found.values())


def _machine(url: str) -> str:
    return urlsplit(url).hostname or ""


def ask(members: Collection[ManifestMember], ca: Path) -> dict[str, Answer]:
    """Who answers where these members serve clients.

    Args:
        ca: File with the cluster's CA; there may be none.

    Returns:
        By name, or by id where a member has none.
    """

    def one(member: ManifestMember) -> Answer:
        answers = [_ask(url, ca) for url in member.client_urls]
        return "ours" if "ours" in answers else "somebody" if "somebody" in answers else "nobody"

    with ThreadPoolExecutor(max(1, len(members)), thread_name_prefix="former") as pool:
        return dict(zip(map(_called, members), pool.map(one, members), strict=True))


def _ask(url: str, ca: Path) -> Answer:
    parts = urlsplit(url)
    try:
        port = parts.port or 2379
        with socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE) as connection:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # Whose it is, is what counts; it may be asked by an address that its certificate does not name.
            context.check_hostname = False
            with contextlib.suppress(OSError, ValueError):  # no such file, no such certificate, no TLS
                context.load_verify_locations(ca)
                with context.wrap_socket(connection):
                    return "ours"
            return "somebody"
    except (OSError, ValueError):
        return "nobody"


def former_refusals(
    members: Collection[ManifestMember], answers: Mapping[str, Answer], of: int, accept: Collection[str]
) -> tuple[Refused, ...]:
    """Why the cluster must not begin anew; empty if it may. Pure.

    Args:
        members: Those that are elsewhere.
        answers: Of them.
        of: How many members there were in all.
    """
    alive = [member for member in members if answers[_called(member)] == "ours"]
    if alive:
        return (
            Refused(
                f"members of this cluster are alive elsewhere ({_said(alive)}): there would be two clusters with one "
                "identity, and clients could not tell them apart",
                state=_UNTOUCHED,
                remedy="if they still hold the data: disaster-restore with the cluster file that names them; else "
                "switch them off for good. A copy beside them gets an identity of its own: bootstrap-cluster --clone",
            ),
        )
    if len(members) < of // 2 + 1 or CONSENT in accept:
        return ()
    taken = [member for member in members if answers[_called(member)] == "somebody"]
    also = f"; at {_said(taken)} something answers that is not known" if taken else ""
    return (
        Refused(
            f"{len(members)} of the {of} members that this cluster had are not among these hosts ({_said(members)}), "
            f"and can't be seen from here: together they could still be serving{also}",
            state=_UNTOUCHED,
            remedy=f"see that they are off and stay off, then say so: --accept {CONSENT}; a copy beside them gets an "
            "identity of its own: bootstrap-cluster --clone",
        ),
    )


def note(members: Collection[ManifestMember]) -> tuple[str, ...]:
    """For the plan, if there are such members."""
    return (f"the former members ({_said(members)}) must stay off for good",) if members else ()


def _called(member: ManifestMember) -> str:
    return member.name or member.id


def _said(members: Iterable[ManifestMember]) -> str:
    return ", ".join(f"{_called(one)} at {', '.join(one.client_urls) or 'an unknown address'}" for one in members)
