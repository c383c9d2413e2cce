"""A port of a host's own, reached through SSH where nothing else gets there.

It has a connection of its own, since those of the pool are used for one operation at a time. What has moved as much as
they may is left to its open streams, and what comes next gets a new one.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, Protocol

import paramiko

from tasks.cluster.spec import Host
from tasks.errors import AccessDenied, HostUnreachable
from tasks.hosts.connect import Link, login_of
from tasks.hosts.pool import RENEW_AFTER

_PIECE = 64 << 10


class _Stream(Protocol):
    def recv(self, size: int, /) -> bytes: ...

    def sendall(self, data: bytes, /) -> Any: ...

    def shutdown(self, how: int, /) -> Any: ...


@contextlib.contextmanager
def tunnel(host: Host, address: str, port: int) -> Iterator[int]:
    """A port on this machine's loopback that leads to one that the host reaches.

    Args:
        address: As the host calls it.

    Yields:
        The port here.

    Raises:
        HostUnreachable: No connection to the host, or it does not get to that port.
        AccessDenied: The host does not forward, or does not let us in.
    """
    way = _Way(host, address, port)
    with socket.create_server(("127.0.0.1", 0)) as server:
        try:
            way.open().close()  # whether it leads anywhere is known before anybody relies on it
            threading.Thread(target=way.serve, args=(server,), name=f"tunnel-{host.name}", daemon=True).start()
            yield int(server.getsockname()[1])
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # ends the wait for the next one
            way.close()


class _Way:
    def __init__(self, host: Host, address: str, port: int) -> None:
        self._host = host
        self._to = (address, port)
        self._links: list[Link] = []
        self._moved = 0
        self._lock = threading.Lock()

    def open(self) -> paramiko.Channel:
        link = self._link()
        try:
            return link.transport.open_channel("direct-tcpip", self._to, ("127.0.0.1", 0), timeout=30)
        except paramiko.ChannelException as error:
            denied = error.code == 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED (RFC 4254, 5.1)
            build = AccessDenied if denied else HostUnreachable
            raise build(
                f"it does not forward to {self._to[0]}:{self._to[1]} ({error.text})",
                host=self._host.name,
                state="nothing was run on the host",
                remedy="set AllowTcpForwarding yes in its sshd_config" if denied else "see that etcd runs there",
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise HostUnreachable(
                f"the connection broke: {error}",
                host=self._host.name,
                remedy="run it again; if it breaks again, look at the network and at sshd on the host",
            ) from error

    def _link(self) -> Link:
        with self._lock:
            if not self._links or not self._links[-1].alive or self._moved > RENEW_AFTER:
                made = Link(login_of(self._host))
                made.open()
                self._links.append(made)
                self._moved = 0
            return self._links[-1]

    def serve(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return  # it is closed
            threading.Thread(target=self._lead, args=(near,), daemon=True).start()

    def _lead(self, near: socket.socket) -> None:
        # Whoever came sees that it ends, where there is no way.
        with near, contextlib.suppress(HostUnreachable, AccessDenied), self.open() as far:
            back = threading.Thread(target=self._pass, args=(far, near), daemon=True)
            back.start()
            self._pass(near, far)
            back.join()

    def _pass(self, source: _Stream, target: _Stream) -> None:
        with contextlib.suppress(OSError, EOFError):
            while piece := source.recv(_PIECE):
                target.sendall(piece)
                self._moved += len(piece)
        with contextlib.suppress(OSError, EOFError):
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for link in self._links:
            link.close()
