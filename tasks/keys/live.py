"""The running cluster, through whichever of its members answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import urlsplit

from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError, HostUnreachable, TransientHostError
from tasks.etcd.client import Client, connect
from tasks.etcd.rpc_keys import Page
from tasks.hosts.tunnel import tunnel
from tasks.keys.keyspace import Keyspace
from tasks.pki.authority import load_authority
from tasks.pki.client import ClientFiles, client_files, ensure_client
from tasks.snapshots.source import find_sources

T = TypeVar("T")

#: Seconds for which requests are tried again, on one member after the other: an election takes a few.
PATIENCE = 30.0


class Live:
    """Clients of the members, the best to read from first.

    Args:
        patience: Seconds for a request to succeed on any of them.
    """

    def __init__(self, clients: list[Client], cluster_id: str, patience: float = PATIENCE) -> None:
        self._clients = clients
        self.cluster_id = cluster_id
        self._patience = patience

    def call(self, request: Callable[[Client], T]) -> T:
        """Have one member do it; the next one, if that one does not answer.

        A request may so be carried out twice, or without its answer being seen: the caller has to bear that.

        Raises:
            TransientHostError: None did, for as long as it was tried.
            HostError: It was refused.
        """
        end = time.monotonic() + self._patience
        while True:
            try:
                return request(self._clients[0])
            except TransientHostError:
                if time.monotonic() > end:
                    raise
            self._clients.append(self._clients.pop(0))
            time.sleep(0.2)

    def page(self, start: bytes, end: bytes | None, limit: int, revision: int, keys_only: bool = False) -> Page:
        """See :meth:`tasks.etcd.client.Client.page`."""
        return self.call(lambda client: client.page(start, end, limit, revision, keys_only))

    def keyspace(self) -> Keyspace:
        """All keys as they are now; readable until the cluster compacts beyond this moment."""
        return Keyspace("now", self.page(b"", None, 1, 0).revision, self.page)


@contextmanager
def live(cluster: Cluster) -> Iterator[Live]:
    """Connections to the members that answer on their client ports; through SSH, if only that gets there from here.

    Raises:
        HostUnreachable: Neither gets there.
        SnapshotError: No member answers at all.
    """
    files = operator_files(cluster)
    sources = find_sources(cluster, files)
    with ExitStack() as stack:
        clients, failed = list[Client](), list[EtcdFlowsError]()
        for host in (cluster.host(choice.name) for choice in sources.choices):
            try:
                url = host.client_url if sources.way == "stream" else _through_ssh(host, stack)
            except EtcdFlowsError as error:
                failed.append(error)
                continue
            clients.append(stack.enter_context(connect(url, files.ca, files.cert, files.key, host=host.name)))
        if not clients:
            raise HostUnreachable(
                f"the cluster's keys can't be reached from here: {sources.why}; through SSH: {failed[0]}",
                state="nothing was changed",
                remedy="run it on a machine that reaches the members' client ports and has the operator's certificate, "
                "or let sshd on the members forward (AllowTcpForwarding)",
            )
        yield Live(clients, sources.statuses[0].cluster_id)


def _through_ssh(host: Host, stack: ExitStack) -> str:
    """The member's endpoint as it is reached through its host; its certificate is for loopback too."""
    if host.connection == "local":
        raise HostUnreachable(
            "it is on this machine, and does not answer on its client port",
            host=host.name,
            remedy="see `systemctl status etcd`, or run it where a member can be reached",
        )
    parts = urlsplit(host.client_url)
    port = stack.enter_context(tunnel(host, parts.hostname or host.address, parts.port or host.client_port))
    return f"https://127.0.0.1:{port}"


def operator_files(cluster: Cluster) -> ClientFiles:
    """The operator's client certificate; issued or renewed where that is due and the CA's key is at hand."""
    try:
        authority = load_authority(cluster.pki)
        if authority is not None and authority.can_issue:
            return ensure_client(cluster.pki, authority, datetime.now(UTC))
    except EtcdFlowsError:
        return client_files(cluster.pki)  # as they are: the members say what is wrong with them
    return client_files(cluster.pki)
