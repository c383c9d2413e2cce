"""Members that get in each other's way, or that nobody could log in to or reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Hashable
from itertools import combinations

from tasks.cluster.checked import Checked
from tasks.cluster.spec import Host, Jump, is_ip


def check_members(checked: Checked) -> None:
    """Note what is wrong with the hosts as a set."""
    _count(checked)
    _same(checked, "name", lambda host: host.name.lower(), "the same name (case aside) as")
    twins = _same(
        checked, "address", lambda host: (host.address, host.client_port), "the same address and client port as"
    )
    # A repeated address brings its peer address, login and ports along; one finding is enough.
    _same(checked, "peer_address", lambda host: (host.peer_address, host.peer_port), "the same peer address as", twins)
    _machines(checked, twins)
    for index, host in checked.hosts:
        _own_ports(checked, index, host)
        _login(checked, index, host)
        _reachable(checked, index, host)


def _count(checked: Checked) -> None:
    count = len(checked.hosts)
    if count == 0:
        checked.note(("hosts",), "a cluster needs at least one host", "three tolerate the loss of one, five of two")
    elif count == 2:
        checked.note(
            ("hosts",),
            "two members: both must run, so that any one failure stops the cluster; that is less safe than one",
            "use three, which tolerate the loss of one",
            "warning",
        )
    elif count % 2 == 0:
        checked.note(
            ("hosts",),
            f"{count} members tolerate the loss of {(count - 1) // 2}, no more than {count - 1} would, while "
            f"every write waits for {count // 2 + 1} instead of {count // 2} and one more host can fail",
            f"use {count - 1} or {count + 1}",
            "warning",
        )
    if count > 7:
        checked.note(
            ("hosts",),
            f"{count} members: every write waits for {count // 2 + 1} of them",
            "etcd advises 7 at most",
            "warning",
        )


def _same(
    checked: Checked,
    key: str,
    identity: Callable[[Host], Hashable],
    words: str,
    known: frozenset[int] = frozenset(),
) -> frozenset[int]:
    """Note hosts that share an identity, but for those in ``known``; returns which they are."""
    seen: dict[Hashable, int] = {}
    repeated = set()
    for index, host in checked.hosts:
        first = seen.setdefault(identity(host), index)
        if first != index and index not in known:
            repeated.add(index)
            where = f"hosts[{first}] on line {checked.line(first)}"
            checked.note(("hosts", index, key), f"{words} {where}", "each needs its own")
    return frozenset(repeated)


def _machine(host: Host) -> Hashable:
    """Hosts with the same result are the same machine."""
    if host.connection == "local":
        return "local"
    route: list[tuple[str, int]] = [(host.ssh.address, host.ssh.port)]
    jump: Jump | None = host.ssh.jump
    while jump:
        route.append((jump.address, jump.port))
        jump = jump.jump
    return tuple(route)


def _machines(checked: Checked, twins: frozenset[int]) -> None:
    groups: dict[Hashable, list[tuple[int, Host]]] = {}
    for index, host in checked.hosts:
        groups.setdefault(_machine(host), []).append((index, host))
    if len(checked.hosts) > 1 and checked.model.ssh.address:
        checked.note(("ssh", "address"), "one login address for all hosts", "put it under the `ssh` of each host")
        return
    for group in groups.values():
        for (first, one), (second, other) in combinations(group, 2):
            if second in twins:
                continue
            _neighbours(checked, first, one, second, other)


def _neighbours(checked: Checked, first: int, one: Host, second: int, other: Host) -> None:
    """Two members on one machine need their own directories and listeners."""
    where = f"hosts[{first}] on line {checked.line(first)}"
    if one.paths.prefix == other.paths.prefix:
        reason = "connection local" if other.connection == "local" else "the same ssh address"
        checked.note(
            ("hosts", second, "prefix"),
            f"on the same machine ({reason}) as {where}, and with the same directories",
            "give each member there its own `prefix`, or each its own machine",
        )
    for key, mine in _listeners(other):
        for _, theirs in _listeners(one):
            if _collide(mine, theirs):
                checked.note(
                    ("hosts", second, key), f"port {mine[1]} is taken by {where}", "use another port or listen address"
                )
                break


def _listeners(host: Host) -> list[tuple[str, tuple[str, int]]]:
    listeners = [
        ("client_port", (host.listen_address, host.client_port)),
        ("peer_port", (host.peer_listen_address, host.peer_port)),
        ("metrics_port", (host.loopback, host.metrics_port)),
    ]
    if host.metrics_address and host.metrics_address != host.loopback:
        listeners.append(("metrics_port", (host.metrics_address, host.metrics_port)))
    return listeners


def _collide(one: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether two listeners cannot be bound together; an unspecified address takes the port on all addresses."""
    if one[1] != other[1]:
        return False
    return one[0] == other[0] or any(ipaddress.ip_address(address).is_unspecified for address in (one[0], other[0]))


def _own_ports(checked: Checked, index: int, host: Host) -> None:
    for (_, one), (key, other) in combinations(_listeners(host), 2):
        if _collide(one, other):
            checked.note(
                ("hosts", index, key),
                f"port {other[1]} is used twice on this host",
                "clients, peers and metrics differ",
            )


def _login(checked: Checked, index: int, host: Host) -> None:
    if host.paths.prefix and host.service == "systemd":
        checked.note(
            ("hosts", index, "prefix"),
            "systemd reads no units below a prefix",
            "add `service: supervisor`, or drop the prefix",
        )
    if host.connection == "local":
        return
    ssh = host.ssh
    if not ssh.agent and ssh.key is None and ssh.password is None:
        checked.note(
            ("hosts", index), "no way to log in: no agent, no key, no password", "give ssh.key or ssh.password"
        )
    if ssh.sudo == "none" and ssh.user != "root" and host.service == "systemd":
        checked.note(
            ("hosts", index), "installing needs root, and ssh.user is not root with sudo off", "ssh.sudo: auto"
        )


def _reachable(checked: Checked, index: int, host: Host) -> None:
    others = [other for position, other in checked.hosts if position != index]
    for key, text in (("address", host.address), ("peer_address", host.peer_address)):
        loopback = is_ip(text) and ipaddress.ip_address(text).is_loopback
        if loopback and any(_machine(other) != _machine(host) for other in others):
            checked.note(
                ("hosts", index, key),
                "a loopback address, which the other hosts cannot reach",
                "use the host's own address",
            )
            return
