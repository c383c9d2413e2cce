from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.hosts.shell import close_all
from tests.component.hosts.sshd import BINARY, Sshd


@pytest.fixture
def make_sshd(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    if not BINARY:
        pytest.fail("openssh-server is needed for these tests: apt-get install openssh-server")
    started: list[Sshd] = []

    def make(name: str = "sshd", **settings: object) -> Sshd:
        server = Sshd(tmp_path / name, **settings)  # type: ignore[arg-type]
        started.append(server)
        return server.start()

    yield make
    close_all()
    for server in started:
        server.stop()


@pytest.fixture
def sshd(make_sshd: Callable[..., Sshd]) -> Sshd:
    server = make_sshd()
    server.trust()
    return server
