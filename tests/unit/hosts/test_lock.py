"""The lock's decisions: what a look at the hosts means, and that never two runs hold it however they interleave."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import CommandFailed
from tasks.hosts import lock
from tasks.hosts.lock import Entry, Owner, decide, holders, parse
from tasks.hosts.lock_holder import is_alive, new_owner, set_active

OWNER = Owner("run-x", "bootstrap-cluster", "prod-a", "ada", "laptop", 7, 70, "boot", "pid:[1]", "2026-01-01T00:00:00Z")
HOSTS = ("h1", "h2", "h3")


def entry(session: str = "x", left: float = 60.0, age: float | None = 100.0, **changes: object) -> Entry:
    plain = Entry(session, replace(OWNER, run=f"run-{session}"), left, 3.0, age, False)
    return replace(plain, **changes)  # type: ignore[arg-type]


def unknown(_session: str, _owner: Owner) -> bool | None:
    return None


def test_a_lock_elsewhere_is_judged_by_its_lease_on_all_hosts() -> None:
    (holder,) = holders({"h1": [entry(left=-5)], "h2": [entry(left=-100)]}, unknown)
    assert (holder.life, holder.hosts) == ("dead", ("h1", "h2"))
    (holder,) = holders({"h1": [entry(left=-5)], "h2": [entry(left=1)]}, unknown)
    assert holder.life == "alive", "a sign of life on one host counts for all"
    (holder,) = holders({"h1": [entry(left=100, heard=None)]}, unknown)
    assert holder.life == "unknown", "the host was just started: the holder may not have been able to say anything"


def test_a_lock_of_this_machine_is_judged_by_its_process() -> None:
    assert holders({"h1": [entry(left=100)]}, lambda *_: False)[0].life == "dead"
    assert holders({"h1": [entry(left=-100)]}, lambda *_: True)[0].life == "alive"


def test_a_damaged_owner_is_waited_for() -> None:
    assert holders({"h1": [entry(owner=None)]}, unknown)[0].life == "unknown"
    assert holders({"h1": [entry(owner=None, left=0)]}, unknown)[0].life == "dead"


MINE = {host: [entry("m", age=0.0)] for host in HOSTS}


def on_h1(*others: Entry, mine: bool = True) -> dict[str, list[Entry]]:
    return MINE | {"h1": [*(MINE["h1"] if mine else []), *others]}


def test_decisions() -> None:
    def kind(seen: dict[str, list[Entry]], elapsed: float = 0.0) -> str:
        return decide("m", "run-m", seen, unknown, elapsed).kind

    assert kind(MINE) == "held"
    assert kind(on_h1(mine=False)) == "again"
    assert kind(on_h1(entry("x"), mine=False)) == "refuse"
    assert kind(on_h1(entry("x", age=None))) == "refuse", "who can't be judged is not in a hurry either"
    assert kind(on_h1(entry("a", age=0.0))) == "withdraw"
    assert kind(on_h1(entry("x", age=0.0))) == "wait"
    assert kind(on_h1(entry("a", age=0.0)), lock.PATIENCE + 1) == "refuse"
    assert kind(on_h1(entry("x", age=0.0)), lock.PATIENCE + 1) == "wait", "one of the two has to win"
    assert kind(on_h1(entry("x", age=0.0)), lock.FIRST_PATIENCE + 1) == "refuse"
    elsewhere = {host: [entry("x", age=0.0)] for host in HOSTS}
    assert kind(elsewhere, lock.PATIENCE + 1) == "refuse", "that one has won"
    decision = decide("m", "run-m", on_h1(entry("x", left=-1), mine=False), unknown, 0.0)
    assert (decision.kind, [holder.session for holder in decision.remove]) == ("again", ["x"])
    busy = on_h1(entry("x", left=-1, busy=True), mine=False)
    assert kind(busy) == "wait", "a command of the dead run still works on the host"
    assert kind(busy, lock.BUSY_PATIENCE + 1) == "refuse"


def test_the_same_run_enters_its_own_lock_again_unless_its_first_process_lives() -> None:
    mine = on_h1(entry("x"), mine=False)
    assert decide("m", "run-x", mine, unknown, 0.0).kind == "again"
    assert decide("m", "run-x", mine, lambda *_: True, 0.0).kind == "refuse"


def test_an_owner_survives_the_way() -> None:
    assert Owner.read(OWNER.as_json().encode()) == OWNER
    for damaged in (b"", b"{}", b"[1]", b"\0\0", OWNER.as_json().encode()[:-9]):
        assert Owner.read(damaged) is None


@given(st.binary(max_size=60))
def test_damaged_output_is_an_error_or_nothing(noise: bytes) -> None:
    with pytest.raises(CommandFailed):
        parse("h1", b"lock\t" + noise)


# --- who lives --------------------------------------------------------------------------------------------------------


def test_processes_of_this_machine() -> None:
    me = new_owner("run", "flow", "prod-a")
    set_active("mine", True)
    assert is_alive("mine", me) is True
    set_active("mine", False)
    assert is_alive("mine", me) is False, "the process lives, its run has ended"
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        pid = other.pid
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        assert is_alive("s", replace(me, pid=pid, started=ticks)) is True
        assert is_alive("s", replace(me, pid=pid, started=ticks + 1)) is False, "the pid was given to somebody else"
        other.kill()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert is_alive("s", replace(me, pid=pid, started=ticks)) is False, "a zombie does nothing any more"
    finally:
        other.communicate()
    assert is_alive("s", replace(me, pid=pid, started=ticks)) is False
    for elsewhere in (replace(me, boot="b"), replace(me, machine="m"), replace(me, pid_namespace="pid:[2]")):
        assert is_alive("s", elsewhere) is None


# --- runs at the same moment ------------------------------------------------------------------------------------------


@dataclass
class World:
    """Hosts as sets of lock names, with a clock that only moves when told."""

    hosts: dict[str, dict[str, float]]
    dead: set[str] = field(default_factory=lambda: {"x"})
    now: float = 0.0

    def alive(self, session: str, _owner: Owner) -> bool | None:
        return False if session in self.dead else None

    def listed(self, host: str) -> list[Entry]:
        return [entry(name, 60.0, self.now - made) for name, made in self.hosts[host].items()]


def contender(world: World, me: str) -> Iterator[str]:
    """One run: yields after every atomic operation on one host; says "held" and "refused" at the end."""
    remove: list[str] = []
    began, withdrawn = world.now, False
    while True:
        seen: dict[str, list[Entry]] = {}
        for host in world.hosts:
            for name in remove:
                world.hosts[host].pop(name, None)
                yield "working"
            others = set(world.hosts[host]) - {me}
            yield "working"
            if not others and not withdrawn:
                world.hosts[host].setdefault(me, world.now)
                yield "working"
            seen[host] = world.listed(host)
            yield "working"
        decision = (
            decide(me, f"run-{me}", seen, world.alive, world.now - began) if not withdrawn else lock.Decision("again")
        )
        withdrawn, remove = False, [holder.session for holder in decision.remove]
        if decision.kind == "held":
            yield "held"
            return
        if decision.kind == "refuse":
            for host in world.hosts:
                world.hosts[host].pop(me, None)
                yield "working"
            yield "refused"
            return
        if decision.kind == "withdraw":
            remove, withdrawn = [me], True
        yield "waiting"


SLOW = 0.1  # seconds


@settings(max_examples=120)
@given(
    data=st.data(),
    names=st.permutations(["a", "b", "c"]),
    count=st.integers(2, 3),
    left_behind=st.lists(st.booleans(), min_size=1, max_size=3),
    kill=st.integers(0, 60),
    slow=st.sampled_from([0.001, SLOW]),
)
def test_never_both_never_neither(
    data: st.DataObject, names: list[str], count: int, left_behind: list[bool], kill: int, slow: float
) -> None:
    """Any interleaving, with what a killed run left on some hosts, and one more run killed on the way.

    A slow host takes half a second for all that one attempt does there: then a run's patience ends while others try.
    There nobody is killed: all may have given way to that one before.
    """
    world = World({f"h{number}": {"x": -100.0} if left else {} for number, left in enumerate(left_behind)})
    runs = {name: contender(world, name) for name in names[:count]}
    states = dict.fromkeys(runs, "working")
    killed = ""
    for step in range(3000):
        if step == kill and slow < SLOW and "held" not in states.values():
            killed = next(iter(runs), "")
            world.dead.add(killed)
            del runs[killed]
            states[killed] = "killed"
        if not runs:
            break
        # Freely chosen at first; then fair, as real time is: a waiting run lets the others go on.
        name = data.draw(st.sampled_from(sorted(runs))) if step < 120 else sorted(runs)[step % len(runs)]
        states[name] = next(runs[name], states[name])
        world.now += slow if states[name] == "working" else 0.05
        if states[name] in ("held", "refused"):
            del runs[name]
        assert list(states.values()).count("held") <= 1
    assert not runs
    assert "held" in states.values(), states
    (winner,) = [name for name, state in states.items() if state == "held"]
    for host in world.hosts:
        assert set(world.hosts[host]) - world.dead == {winner}, "nobody else left anything behind"
