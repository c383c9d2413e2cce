"""The cluster file of the demo: a real one, only that all members are on this machine."""

from __future__ import annotations

import json
import re
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from tasks.errors import InputError

NAME = "demo"
_MARKED = "127.0.0.5"
MEMBERS = {"etcd-01": "127.0.0.2", "etcd-02": "127.0.0.3", "etcd-03": "127.0.0.4"}

#: What the demo's own file has more than those of tests that are made like it.
WATCHED = "monitoring: {alerts: {patience: 0.03}}  # alerts fire within seconds, for the demo\n"

_FIRST, _LAST, _STEP = 12379, 32000, 10  # below the ports that the kernel gives to outgoing connections
_HELD: list[socket.socket] = []


def render(root: Path, version: str, first_port: int) -> str:
    """The file.

    Args:
        root: The demo's directory.
        version: Of the etcd in ``root/release``.
        first_port: Client port; the next two are for peers and metrics.
    """
    hosts = "".join(
        f"  - {{name: {name}, address: {address}, prefix: {_scalar(root / name)},\n"
        f"     client_port: {first_port}, peer_port: {first_port + 1}, metrics_port: {first_port + 2},\n"
        "     connection: local, service: supervisor}\n"
        for name, address in MEMBERS.items()
    )
    return f"""\
name: {NAME}
hosts:                                # of real hosts, name and address are enough
{hosts}ssh: {{sudo: none}}                     # no root in this demo
etcd:
  version: {version}                      # what PyPI has: FOR THE DEMO ONLY (the plan says why)
  release: {{source: ./release, cache: ./cache}}
pki: {{state_dir: ./operator}}          # the CA and its key; members never see that key
snapshots:
  stores: [{{name: local, directory: ./backups}}]
"""


def _scalar(path: Path) -> str:
    """A path in YAML, in quotes only where it needs them."""
    text = str(path)
    return text if re.fullmatch(r"[\w./-]+", text) else json.dumps(text)


def free_ports() -> int:
    """The first of three ports in a row that are free on all members' addresses, so that no real etcd is in the way.

    As long as this process lives it holds that port on an address where no member listens: members are killed in the
    demo, and to another demo on this machine their ports would look free.

    Raises:
        InputError: There are none, or this machine has no such loopback addresses.
    """
    for first in range(_FIRST, _LAST, _STEP):
        if _free(first):
            mark = socket.socket()
            with suppress(OSError):
                mark.bind((_MARKED, first))
                _HELD.append(mark)
                return first
            mark.close()
    raise InputError(
        "there are no three free ports in a row on the loopback addresses 127.0.0.2 to 127.0.0.4",
        remedy="end what listens there, or wait",
    )


def _free(first: int) -> bool:
    with ExitStack() as held:
        for address in MEMBERS.values():
            for port in range(first, first + 3):
                try:
                    held.enter_context(socket.socket()).bind((address, port))
                except OSError:
                    return False
    return True
