"""Addresses, ports, names, and whether the members reach each other. Pure."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterator, Mapping, Sequence

from tasks.cluster.spec import Cluster, Host, bracket, is_ip
from tasks.findings import Finding
from tasks.hosts.facts import HostFacts
from tasks.hosts.services import SYSTEMD_UNIT
from tasks.preflight.connect import Knock
from tasks.preflight.probe import listening_on
from tasks.preflight.seen import KINDS, HostProbe, Socket

#: etcd refuses a longer election timeout (50 s, etcd's tuning guide).
ELECTION_MAX_MS = 50_000
_KIND = {"peer": "peers", "client": "clients"}
_KEY = {"peer": "peer_listen_address", "client": "listen_address"}
_WHY = {
    "refused": "refused: nothing listens there, or a firewall rejects it",
    "timeout": "no answer: a firewall or a route drops it",
    "no-route": "no route to it, or a firewall rejects it",
    "unresolved": "the name does not resolve there",
    "failed": "failed",
}


def check_network(cluster: Cluster, host: Host, facts: HostFacts, probe: HostProbe) -> Iterator[Finding]:
    """What one host can say without the others."""
    yield from _ports(host, facts, probe)
    yield from _addresses(host, probe)


def _conflict(bound: str, port: int, socket: Socket) -> bool:
    if socket.port != port:
        return False
    one, other = ipaddress.ip_address(bound), ipaddress.ip_address(socket.address.partition("%")[0])
    # A socket on :: takes IPv4 too, unless told otherwise (ipv6(7), IPV6_V6ONLY).
    return one == other or one.is_unspecified or other.is_unspecified


def _bound(host: Host) -> list[tuple[str, str, int]]:
    """Everything that etcd will listen on: what for, address, port."""
    found = [(_KIND[kind], *listening_on(host, kind)) for kind in KINDS]
    metrics = dict.fromkeys((host.loopback, host.metrics_address or host.loopback))
    return [
        *found,
        ("clients on the host", host.loopback, host.client_port),
        *(("metrics", address, host.metrics_port) for address in metrics),
    ]


def _ports(host: Host, facts: HostFacts, probe: HostProbe) -> Iterator[Finding]:
    if probe.sockets is None:
        yield Finding("warning", "ports", "/proc/net/tcp can't be read, so ports in use could not be seen", host.name)
        return
    taken: dict[Socket, list[str]] = {}
    for what, address, port in _bound(host):
        for socket in probe.sockets:
            if _conflict(address, port, socket) and not _etcds(facts, socket):
                taken.setdefault(socket, []).append(what)
    if not taken:
        ports = ", ".join(str(port) for port in (host.client_port, host.peer_port, host.metrics_port))
        state = "held by the member" if facts.service.running else "free"
        yield Finding("ok", "ports", f"{ports}: {state}", host.name)
    for socket in taken:
        where = f"{bracket(socket.address)}:{socket.port}"
        if socket.ours:
            text = f"{where} is held by another preflight just now"
            yield Finding("warning", "ports", text, host.name, "is somebody else at work? It ends within a minute")
            continue
        holder = f"{socket.program} (pid {socket.pid}{', ' + socket.unit if socket.unit else ''})"
        text = f"{where} is taken by {holder if socket.pid else 'somebody who could not be seen'}"
        stop = f"systemctl disable --now {socket.unit}" if socket.unit.endswith(".service") else "end it"
        yield Finding(
            "error", "ports", text, host.name, f"{stop}, or set {_port_key(host, socket.port)} for {host.name}"
        )


def _etcds(facts: HostFacts, socket: Socket) -> bool:
    """Whether it is the member's own; one that hides its owner is taken for that where a member runs.

    A member that systemd was about to start again when the host was looked at may run by now, as another process.
    """
    if facts.service.active == "activating" and socket.unit == SYSTEMD_UNIT:
        return True
    return facts.service.running and socket.pid in (facts.service.main_pid, 0)


def _port_key(host: Host, port: int) -> str:
    return {host.client_port: "client_port", host.peer_port: "peer_port"}.get(port, "metrics_port")


def _addresses(host: Host, probe: HostProbe) -> Iterator[Finding]:
    if probe.addresses is None:
        yield Finding("warning", "addresses", "the host's own addresses could not be seen", host.name)
        return
    own = {ipaddress.ip_address(address) for address in probe.addresses}
    wrong: dict[str, list[str]] = {}
    bound = [(_KEY[kind], listening_on(host, kind)[0]) for kind in KINDS]
    if host.metrics_address:
        bound.append(("metrics_address", host.metrics_address))
    for key, text in bound:
        address = ipaddress.ip_address(text)
        if not (address.is_unspecified or address.is_loopback or address in own):
            wrong.setdefault(str(address), []).append(key)
    for text, keys in wrong.items():
        has = ", ".join(sorted(probe.addresses - {"127.0.0.1", "::1"})[:6]) or "none"
        remedy = f"correct address, or set {' and '.join(keys)}, for {host.name}"
        yield Finding("error", "addresses", f"{text} is not an address of this host (it has {has})", host.name, remedy)
    if not wrong:
        yield Finding("ok", "addresses", "all are on the host", host.name)


def check_names(cluster: Cluster, probes: Mapping[str, HostProbe]) -> Iterator[Finding]:
    """Whether every host finds every member by name, and the right one."""
    for name, probe in probes.items():
        found = [finding for host in cluster.hosts for finding in _names_of(host, name, probe, probes)]
        used = {a for host in cluster.hosts for a in (host.address, host.peer_address) if not is_ip(a)}
        if used and not found:
            found.append(Finding("ok", "names", f"{', '.join(sorted(used))}: as they should", name))
        yield from found


def _names_of(host: Host, source: str, probe: HostProbe, probes: Mapping[str, HostProbe]) -> Iterator[Finding]:
    for name in dict.fromkeys((host.peer_address, host.address)):
        if is_ip(name):
            continue
        lookup = probe.names.get(name)
        remedy = f"a record for {name} in DNS or in /etc/hosts of {source}, or an IP address in the cluster file"
        if lookup is None:
            text = f"there is no getent, so what {name} resolves to could not be seen"
            yield Finding("warning", "names", text, source, "")
        elif not lookup.addresses:
            why = "the resolver did not answer in time" if lookup.code in (124, 137) else "unknown there"
            yield Finding("error", "names", f"{name} ({host.name}) does not resolve: {why}", source, remedy)
        else:
            yield from _wrong(host, name, lookup.addresses, source, probes, remedy)


def _wrong(
    host: Host, name: str, addresses: Sequence[str], source: str, probes: Mapping[str, HostProbe], remedy: str
) -> Iterator[Finding]:
    found = [ipaddress.ip_address(address.partition("%")[0]) for address in addresses]
    said = f"{name} resolves to {', '.join(addresses)}"
    if any(address.is_loopback for address in found):
        if source != host.name:
            text = f"{said}: that is this host itself, not {host.name}"
            yield Finding("error", "names", text, source, remedy)
        elif host.service == "systemd":
            text = f"{said}: other hosts will be told another address"
            yield Finding("warning", "names", text, source, f"remove {name} from the 127.0.1.1 line of /etc/hosts")
        return
    there = probes[host.name].addresses if host.name in probes else None
    if there is not None and not {str(address) for address in found} & there:
        text = f"{said}, which is not an address of {host.name} (NAT, or the wrong machine)"
        yield Finding("warning", "names", text, source, remedy)


def check_connectivity(
    cluster: Cluster, probes: Mapping[str, HostProbe], knocks: Mapping[str, Sequence[Knock]]
) -> Iterator[Finding]:
    """Who reaches whom. Peers have to; that a member can't reach another's client port may be meant so."""
    if len(cluster.hosts) < 2:
        return
    for host in cluster.hosts:
        if host.name in probes and host.name in knocks:
            yield from _from(cluster, host, knocks[host.name])
    yield from _round_trips(cluster, [knock for tried in knocks.values() for knock in tried])


def _from(cluster: Cluster, host: Host, knocks: Sequence[Knock]) -> Iterator[Finding]:
    # Members on the worker itself are on one machine: there is no way between them that could be closed.
    others = [o for o in cluster.hosts if o != host and not (o.connection == host.connection == "local")]
    found = []
    for other in others:
        tried = [knock for knock in knocks if knock.target.host == other.name]
        failed = [knock for knock in tried if knock.outcome not in ("connected", "unknown")]
        unknown = [kind for kind in KINDS if kind not in {k.target.kind for k in tried if k.outcome != "unknown"}]
        if failed:
            found.append(_unreached(host, other, failed))
        if unknown:
            ports = " and ".join(_KIND[kind] for kind in unknown)
            text = f"whether it reaches {other.name}'s port for {ports} could not be seen"
            remedy = "bash or curl here, systemd-socket-activate there and a free port make it visible"
            found.append(Finding("warning", "connectivity", text, host.name, remedy))
    if others and not found:
        slowest = max((knock.ms for knock in knocks if knock.ms is not None), default=None)
        took = f", in {slowest:.1f} ms at most" if slowest is not None else ""
        found.append(Finding("ok", "connectivity", f"reaches {len(others)} other members{took}", host.name))
    yield from found


def _unreached(host: Host, other: Host, failed: Sequence[Knock]) -> Finding:
    reasons = dict.fromkeys(_WHY[knock.outcome] for knock in failed)
    where = " and ".join(f"{knock.target.where} ({_KIND[knock.target.kind]})" for knock in failed)
    text = f"does not reach {other.name} at {where}: {'; '.join(reasons)}"
    if any(knock.outcome == "failed" for knock in failed):
        text += f" ({failed[-1].said[:120]})"
    peer = any(knock.target.kind == "peer" for knock in failed)
    ports = ", ".join(str(knock.target.port) for knock in failed)
    remedy = f"let TCP port {ports} through from {host.name} to {other.name}, or correct the addresses of {other.name}"
    return Finding("error" if peer else "warning", "connectivity", text, host.name, remedy)


def _round_trips(cluster: Cluster, knocks: Sequence[Knock]) -> Iterator[Finding]:
    """The slowest way between peers against the timings (etcd's tuning guide: heartbeat about the round trip, election
    at least ten times it).
    """
    timed = [(knock.ms, knock) for knock in knocks if knock.ms is not None and knock.target.kind == "peer"]
    if not timed:
        return
    ms, knock = max(timed, key=lambda pair: pair[0])
    heartbeat, election = cluster.etcd.heartbeat_ms, cluster.etcd.election_ms
    if ms <= heartbeat and 10 * ms <= election:
        return
    wanted = max(heartbeat, math.ceil(ms / 50) * 50)
    text = (
        f"a round trip from {knock.source} to {knock.target.host} takes {ms:.0f} ms; etcd.heartbeat_ms is {heartbeat}, "
        f"etcd.election_ms {election}: leaders would be lost without a fault"
    )
    remedy = f"etcd.heartbeat_ms: {wanted}, etcd.election_ms: {min(10 * wanted, ELECTION_MAX_MS)}"
    yield Finding("warning", "connectivity", text, None, remedy)
