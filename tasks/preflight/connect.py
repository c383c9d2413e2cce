"""Whether members reach each other, and how long it takes: connections from each host to all others."""

from __future__ import annotations

import importlib.resources
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tasks.cluster.spec import Cluster, Host, bracket
from tasks.hosts.facts import HostFacts
from tasks.hosts.shell import Shell
from tasks.preflight.lines import Lines
from tasks.preflight.seen import KINDS, HostProbe, Kind

Outcome = Literal["connected", "refused", "timeout", "no-route", "unresolved", "failed", "unknown"]

#: Seconds for all tries of one connection: the first retransmission of a lost SYN comes after one (RFC 6298).
KNOCK_SECONDS = 3
#: Connections to one port, of which the quickest counts; a running member logs each of them, so it gets one.
TRIES = 3


@dataclass(frozen=True)
class Target:
    """A port of another member that is open now, so that a connection has to succeed."""

    host: str
    kind: Kind
    address: str
    port: int
    tries: int

    @property
    def where(self) -> str:
        """For people."""
        return f"{bracket(self.address)}:{self.port}"


@dataclass(frozen=True)
class Knock:
    """One try to reach another member.

    Args:
        source: The host it was tried from.
        ms: Milliseconds until the connection stood: one round trip; None if unknown.
        said: What the program there complained of.
    """

    source: str
    target: Target
    outcome: Outcome
    ms: float | None = None
    said: str = ""


def targets(cluster: Cluster, facts: Mapping[str, HostFacts], probes: Mapping[str, HostProbe]) -> tuple[Target, ...]:
    """What can be connected to: running members, and doors that were opened for this."""
    found = []
    for host in cluster.hosts:
        if host.name not in probes:
            continue
        running = facts[host.name].service.running
        for kind in KINDS:
            if running or kind in probes[host.name].doors:
                address = host.peer_address if kind == "peer" else host.address
                port = host.peer_port if kind == "peer" else host.client_port
                found.append(Target(host.name, kind, address, port, 1 if running else TRIES))
    return tuple(found)


def without_gone(
    knocks: Mapping[str, tuple[Knock, ...]], gone: Mapping[str, frozenset[Kind]]
) -> dict[str, tuple[Knock, ...]]:
    """What was seen, less the failures at doors that another run's preflight had closed meanwhile.

    Args:
        knocks: By the host they were tried from.
        gone: Kinds of doors, by the host that had opened them.
    """

    def judged(knock: Knock) -> Knock:
        in_vain = knock.outcome != "connected" and knock.target.kind in gone.get(knock.target.host, ())
        return replace(knock, outcome="unknown", said="") if in_vain else knock

    return {name: tuple(judged(knock) for knock in tried) for name, tried in knocks.items()}


def script_for(wanted: tuple[Target, ...]) -> str:
    """The script that connects to all of them at once."""
    script = importlib.resources.files("tasks.preflight").joinpath("connect.sh").read_text()
    calls = []
    for number, target in enumerate(wanted):
        words = [number, target.address, bracket(target.address), target.port, target.tries, KNOCK_SECONDS]
        calls.append(f"knock {shlex.join(str(word) for word in words)} &")
    return "\n".join([script, *calls, "wait", ""])


def connect(shell: Shell, wanted: tuple[Target, ...]) -> tuple[Knock, ...]:
    """Try to reach other members from one host.

    Raises:
        HostError: The host could not be asked.
    """
    output = shell.run(script_for(wanted), root=False, timeout=30.0, what="connecting to the other members")
    return parse(shell.host, wanted, output.stdout)


def parse(host: Host, wanted: tuple[Target, ...], stdout: bytes) -> tuple[Knock, ...]:
    """Read what the script printed."""
    lines = Lines(host.name, stdout)
    way = lines.first("way")
    found = {lines.number(row[0]): (lines.number(row[1]), lines.text(row[2])) for row in lines.rows("knock", 3)}
    judge = judge_bash if way == "bash" else judge_curl
    return tuple(
        judge(host.name, target, *found[number]) if number in found else Knock(host.name, target, "unknown")
        for number, target in enumerate(wanted)
    )


def judge_bash(source: str, target: Target, code: int, said: str) -> Knock:
    """What bash's ``/dev/tcp`` says, in the words of strerror(3) and gai_strerror(3)."""
    last = said.strip().splitlines()[-1:] or [""]
    key, _, figure = last[0].partition(" ")
    if code == 0 and key == "microseconds" and figure.isdigit():
        return Knock(source, target, "connected", int(figure) / 1000)
    words: tuple[tuple[str, Outcome], ...] = (
        ("connection refused", "refused"),
        ("connection timed out", "timeout"),
        ("no route to host", "no-route"),
        ("network is unreachable", "no-route"),
        ("name resolution", "unresolved"),
        ("not known", "unresolved"),
        ("no address associated", "unresolved"),
    )
    outcome: Outcome = next((outcome for text, outcome in words if text in said.lower()), "failed")
    return Knock(source, target, "timeout" if code in (124, 137) else outcome, None, said.strip())


def judge_curl(source: str, target: Target, code: int, said: str) -> Knock:
    """What curl says: its times if a connection stood (whatever it made of the answer), else its exit code."""
    complaint, _, figures = said.partition("seconds ")  # -w's line and stderr come in either order
    connected, _, rest = figures.partition(" ")
    looked_up = rest.partition("\n")[0]
    try:
        took = float(connected) - float(looked_up) if float(connected) > 0 else None
    except ValueError:
        took = None
    if took is not None:
        return Knock(source, target, "connected", took * 1000)
    text = said.lower()
    outcome: Outcome = "failed"
    if code == 6:
        outcome = "unresolved"
    elif code == 28 or code == 124:
        outcome = "timeout"
    elif "no route" in text or "unreachable" in text:
        outcome = "no-route"
    elif code == 7:
        outcome = "refused"
    return Knock(source, target, outcome, None, complaint.strip() or rest.partition("\n")[2].strip())
