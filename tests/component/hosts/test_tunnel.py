"""A port of a host's own, through a real sshd."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tasks.errors import AccessDenied, HostUnreachable
from tasks.hosts import tunnel as module
from tasks.hosts.tunnel import tunnel
from tests.component.hosts.sshd import Sshd, free_port

pytestmark = pytest.mark.component
DATA = os.urandom(3 << 20)


@contextlib.contextmanager
def digests() -> Iterator[int]:
    """Answers everybody with the SHA-256 of what was sent, once the other side has said that it is all."""

    def answer(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            digest = hashlib.sha256()
            while piece := client.recv(1 << 16):
                digest.update(piece)
            client.sendall(digest.hexdigest().encode())

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def ask(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(DATA)
        client.shutdown(socket.SHUT_WR)
        return client.makefile().read()


def test_bytes_pass_both_ways_and_a_broken_connection_is_made_anew(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = hashlib.sha256(DATA).hexdigest()
    with digests() as there, tunnel(sshd.host(), "127.0.0.1", there) as port:
        assert port != there
        assert ask(port) == wanted
        sshd.cut()
        with contextlib.suppress(OSError):  # it may not have been noticed yet
            ask(port)
        assert ask(port) == wanted
        monkeypatch.setattr(module, "RENEW_AFTER", 1 << 20)
        before = len(sshd.children())
        assert ask(port) == wanted
        assert len(sshd.children()) > before, "what has moved much gets no new streams"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_where_it_leads_nowhere_is_said_at_once(sshd: Sshd, make_sshd: Callable[..., Sshd]) -> None:
    with pytest.raises(HostUnreachable, match="does not forward to"), tunnel(sshd.host(), "127.0.0.1", free_port()):
        pass
    strict = make_sshd("strict", options=("AllowTcpForwarding no",))
    strict.trust()
    with digests() as there, pytest.raises(AccessDenied) as caught, tunnel(strict.host(), "127.0.0.1", there):
        pass
    assert "AllowTcpForwarding" in (caught.value.remedy or "")
