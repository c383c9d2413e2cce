"""The lock of a cluster, kept on its hosts: what is there, what it means, what to do next. Pure; scripts as text.

A run that changes hosts first makes a directory of its own, ``<record_dir>/lock/<session>``, on every host and then
looks whether there are others. It holds the lock if, on all hosts, its own was there before it looked and nobody else's
was. Of two runs at least the later one on a host sees the other (each writes before it reads), so never do both hold.
Nobody sees half a lock: the directory is renamed into its place with all of its content.

Every run has a name of its own, rather than all sharing one name, for the sake of dead holders: whoever takes over
removes exactly the dead one's directory. With one shared name, two runs that both found a dead holder could remove each
other's new lock, because a shell has no compare-and-swap.

Figures: a lock says until when its holder need not be heard of (the *lease*), as an uptime of the host. Each command
renews it: for :data:`LEASE` seconds, or as long as the command may run and :data:`MARGIN` more. A silent run renews it
every :data:`BEAT` seconds. A holder is dead

* at once, if it ran on this machine and its process is gone,
* if it ran elsewhere, when its leases on all hosts have ended: the host itself ends every command by its deadline, so
  by then nothing of it runs there. Seven beats may get lost before that.

Each command of the holder first sees whether its lock is still there (:func:`prelude`), so a run whose lock was taken
away, rightly or not, changes nothing more.
"""

from __future__ import annotations

import base64
import importlib.resources
import json
import posixpath
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tasks.cluster.spec import Host
from tasks.errors import CommandFailed

LEASE = 120  # seconds that a holder may be silent
BEAT = 15.0  # seconds of silence after which it says that it is there
MARGIN = 60  # seconds that a lease goes beyond the deadline of a command
SETTLED = 10  # seconds after which a claim has won or was withdrawn: an older one is held
PATIENCE = 3.0  # seconds that runs which begin at the same moment try for, all but the one that the others give way to:
FIRST_PATIENCE = 30.0  # were they equal, then on slow hosts each would give up for the other
BUSY_PATIENCE = 30.0  # seconds to wait for the last command of a dead holder

LOST = 98  # exit code of a command whose run no longer holds the lock
LOST_WORDS = "etcd-flows: this run no longer holds the lock"

Life = Literal["alive", "dead", "unknown"]


@dataclass(frozen=True)
class Owner:
    """Who holds a lock.

    Args:
        run: Prefect's flow run id, or one of our own without Prefect.
        boot: Boot id of the machine that the run's process is on; with ``pid_namespace`` and ``machine`` it says
            whether ``pid`` means anything here.
        started: Start of the process in ticks since boot, so that a reused pid is not taken for it.
        since: When it was taken, ISO 8601, by that machine's clock.
        url: Of the flow run in Prefect's UI, empty if there is none.
    """

    run: str
    flow: str
    cluster: str
    user: str
    machine: str
    pid: int
    started: int
    boot: str
    pid_namespace: str
    since: str
    url: str = ""

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: bytes) -> Owner | None:
        """Read it back; None if it is damaged (a power cut may do that)."""
        try:
            fields = json.loads(text)
            texts = {name: str(fields.get(name, "")) for name in cls.__dataclass_fields__}
            numbers = {"pid": int(fields["pid"]), "started": int(fields["started"])}
            merged: dict[str, Any] = texts | numbers
            return cls(**merged)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    @property
    def words(self) -> str:
        """For people: which flow of whom."""
        return f"{self.flow} of {self.user}@{self.machine} (pid {self.pid}, run {self.run})"


@dataclass(frozen=True)
class Entry:
    """A lock as seen on one host.

    Args:
        lease_left: Seconds, negative when it has ended.
        heard: Seconds since the holder was last heard of by this host, None if not since the host was started.
        age: Seconds since it was made, at least; None if not known.
        busy: A command of the holder still runs on the host.
    """

    session: str
    owner: Owner | None
    lease_left: float
    heard: float | None
    age: float | None
    busy: bool


Seen = Mapping[str, Sequence[Entry]]
#: Whether the process of a session lives, None if that can't be told from here.
Alive = Callable[[str, Owner], "bool | None"]


@dataclass(frozen=True)
class Holder:
    """A session, put together from all hosts.

    Args:
        hosts: Where its lock is.
        life: ``unknown`` if it has not been heard of since a host was started, and not for long enough to say.
    """

    session: str
    owner: Owner | None
    hosts: tuple[str, ...]
    life: Life
    heard: float | None
    age: float | None
    busy: tuple[str, ...]

    def is_called(self, name: str) -> bool:
        """Whether this is the run or session meant by ``name``."""
        return name == self.session or (self.owner is not None and name == self.owner.run)


@dataclass(frozen=True)
class Decision:
    """What to do after a look at all hosts.

    Args:
        kind: ``held``: the lock is ours. ``again``: try at once. ``wait``: keep what we have, try a little later.
            ``withdraw``: remove ours, try a little later. ``refuse``: remove ours and give up.
        remove: Sessions of dead holders, to be removed with the next try.
        blocking: Who is in the way.
    """

    kind: Literal["held", "again", "wait", "withdraw", "refuse"]
    remove: tuple[Holder, ...] = ()
    blocking: tuple[Holder, ...] = ()


def holders(seen: Seen, alive: Alive) -> tuple[Holder, ...]:
    """All sessions that have a lock on any host, and whether they live.

    A sign of life on one host counts for all: the others may just be busy with a long command, or be cut off.
    """
    by_session: dict[str, list[tuple[str, Entry]]] = {}
    for host, entries in seen.items():
        for entry in entries:
            by_session.setdefault(entry.session, []).append((host, entry))
    found = []
    for session, places in sorted(by_session.items()):
        owner = next((entry.owner for _, entry in places if entry.owner), None)
        heard = min((entry.heard for _, entry in places if entry.heard is not None), default=None)
        living = alive(session, owner) if owner else None
        if living is not None:
            life: Life = "alive" if living else "dead"
        elif all(entry.lease_left <= 0 for _, entry in places):
            life = "dead"
        else:
            life = "alive" if heard is not None and owner else "unknown"
        ages = [entry.age for _, entry in places if entry.age is not None]
        busy = tuple(host for host, entry in places if entry.busy)
        hosts = tuple(host for host, _ in places)
        found.append(Holder(session, owner, hosts, life, heard, max(ages, default=None), busy))
    return tuple(found)


def decide(mine: str, run: str, seen: Seen, alive: Alive, elapsed: float) -> Decision:
    """What to do after a look at all hosts.

    Args:
        mine: Our session.
        run: Our run. An earlier session of it is taken over, unless its process is known to live: a run that is
            tried again, here or on another worker, enters its own lock.
        seen: Every host of the cluster with what is on it.
        elapsed: Seconds since our first try.
    """
    others = [holder for holder in holders(seen, alive) if holder.session != mine]
    living = [holder for holder in others if not _superseded(holder, run, alive)]
    dead = [holder for holder in others if holder not in living]
    busy = tuple(holder for holder in dead if holder.busy)
    if any(holder.age is None or holder.age > SETTLED for holder in living):
        return Decision("refuse", blocking=tuple(living))
    if living:
        first = min(holder.session for holder in living) > mine
        nowhere = not any(entry.session == mine for entries in seen.values() for entry in entries)
        won = nowhere and any(len(holder.hosts) == len(seen) for holder in living)
        if elapsed > (FIRST_PATIENCE if first and not won else PATIENCE):
            return Decision("refuse", blocking=tuple(living))
        return Decision("wait" if first else "withdraw", blocking=tuple(living))
    if busy:
        return Decision("refuse" if elapsed > BUSY_PATIENCE else "wait", blocking=busy)
    claimed = all(any(entry.session == mine for entry in entries) for entries in seen.values())
    if dead or not claimed:
        return Decision("again", remove=tuple(dead))
    return Decision("held")


def _superseded(holder: Holder, run: str, alive: Alive) -> bool:
    if holder.life == "dead":
        return True
    return holder.owner is not None and holder.owner.run == run and not alive(holder.session, holder.owner)


# --- scripts ----------------------------------------------------------------------------------------------------------


def lock_dir(host: Host) -> str:
    """Where the locks of a host are."""
    return posixpath.join(host.paths.record_dir, "lock")


def attempt_script(
    host: Host, session: str, owner: Owner, *, claim: bool = True, remove: Iterable[str] = (), then: str = ""
) -> str:
    """Remove some locks, make our own if there are no others, list what is there.

    Args:
        claim: Whether to make one.
        then: Script to run in the same round trip if our lock is there and no other.
    """
    directory, name = shlex.quote(lock_dir(host)), shlex.quote(session)
    lines = [_functions(), *(f"lock_remove {directory} {shlex.quote(other)}" for other in remove)]
    if claim:
        lines += [
            f"lock_list {directory} {name} {LEASE} >/dev/null",
            f'[ "$others" -ne 0 ] || lock_claim {directory} {name} {LEASE} {shlex.quote(owner.as_json())}',
        ]
    lines.append(f"lock_list {directory} {name} {LEASE}")
    if then:
        lines += [f'if [ "$others" -eq 0 ] && [ -d {directory}/{name} ]; then', then, "fi"]
    return "\n".join([*lines, ""])


def list_script(host: Host) -> str:
    """List the locks of a host; changes nothing."""
    return f"{_functions()}\nlock_list {shlex.quote(lock_dir(host))} '' {LEASE}\n"


def release_script(host: Host, sessions: Iterable[str]) -> str:
    """Remove locks, and the directories that are empty afterwards."""
    directory = shlex.quote(lock_dir(host))
    lines = [f"lock_remove {directory} {shlex.quote(session)}" for session in sessions]
    return "\n".join([_functions(), *lines, f"lock_tidy {directory}", ""])


def prelude(host: Host, session: str, timeout: float) -> str:
    """What stands before each command of a holder: stop if the lock is gone; else renew the lease.

    Args:
        timeout: Seconds after which the host ends the command.
    """
    mine = shlex.quote(posixpath.join(lock_dir(host), session))
    lease = max(LEASE, int(timeout) + MARGIN)
    return (
        f"_l={mine}\n"
        f"[ -d \"$_l\" ] || {{ echo '{LOST_WORDS}' >&2; exit {LOST}; }}\n"
        "read -r _u _ </proc/uptime; read -r _b </proc/sys/kernel/random/boot_id || _b=none\n"
        f'touch -d "@$((${{_u%%.*}} + {lease}))" -- "$_l/lease.$_b" 2>/dev/null || :\n'
        '{ echo "$$ $1" >"$_l/cmd"; } 2>/dev/null || :\n'
    )


def parse(host: str, stdout: bytes) -> tuple[Entry, ...]:
    """Read what ``lock_list`` printed; other lines are not looked at.

    Raises:
        CommandFailed: It is damaged or incomplete.
    """
    entries, complete = [], False
    try:
        for line in stdout.decode("ascii", errors="replace").splitlines():
            key, *fields = line.split("\t")
            complete = complete or key == "locks"
            if key == "lock":
                name, left, heard, age, busy, owner = fields
                content = Owner.read(base64.b64decode(owner, validate=True))
                entries.append(Entry(name, content, float(left), _seconds(heard), _seconds(age), busy == "yes"))
    except ValueError:
        complete = False
    if not complete:
        raise CommandFailed(
            "what the host told about its locks is damaged or incomplete", host=host, remedy="run again"
        )
    return tuple(entries)


def _seconds(text: str) -> float | None:
    return None if text == "-" else max(0.0, float(text))


def _functions() -> str:
    return importlib.resources.files("tasks.hosts").joinpath("lock.sh").read_text()
