"""Taking, holding and releasing the lock of a cluster: all its hosts or none. Threads, no Prefect."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tasks.cluster.spec import Host
from tasks.errors import EtcdFlowsError, LockHeld, LockLost, Several
from tasks.hosts import lock
from tasks.hosts.classify import Target, classify, retrying
from tasks.hosts.lock import Entry, Holder, Owner
from tasks.hosts.lock_holder import is_alive, set_active
from tasks.hosts.shell import Output, Shell

T = TypeVar("T")

_GUARDED = "seeing that the lock is held"
_TIMEOUT = 60.0  # seconds for any script of this module


def on_hosts(hosts: Sequence[Host], work: Callable[[Host], T]) -> tuple[dict[str, T], list[EtcdFlowsError]]:
    """Do something on all hosts at once; results by host, and what failed."""
    results: dict[str, T] = {}
    errors: list[EtcdFlowsError] = []
    with ThreadPoolExecutor(max(1, len(hosts)), thread_name_prefix="lock") as pool:
        for host, future in [(host, pool.submit(work, host)) for host in hosts]:
            try:
                results[host.name] = future.result()
            except Exception as error:  # noqa: BLE001 - classified
                errors.append(classify(error, Target(host.name, host.name)))
    return results, errors


def look(hosts: Sequence[Host]) -> tuple[dict[str, tuple[Entry, ...]], list[EtcdFlowsError]]:
    """The locks on all hosts that can be reached, and errors for the others."""

    def one(host: Host) -> tuple[Entry, ...]:
        return lock.parse(host.name, _run(host, lock.list_script(host), "looking at the locks").stdout)

    return on_hosts(hosts, one)


def remove(
    hosts: Sequence[Host], sessions: Iterable[str], *, attempts: int = 2
) -> tuple[list[str], list[EtcdFlowsError]]:
    """Remove locks wherever they are; names of the hosts where that is done, and errors for the others."""
    names = tuple(sessions)

    def one(host: Host) -> Output:
        return _run(host, lock.release_script(host, names), "releasing the lock", attempts=attempts)

    done, errors = on_hosts(hosts, one)
    return list(done), errors


class HeldLock:
    """The lock of a cluster, held by this process.

    Args:
        hosts: Which it is held on.
        session: The name of the lock.
    """

    def __init__(self, hosts: Sequence[Host], session: str, owner: Owner) -> None:
        self.hosts = tuple(hosts)
        self.session = session
        self.owner = owner
        self._closed = threading.Event()
        self._lost: LockLost | None = None
        self._guards = {host.name: _Guard(self, host) for host in hosts}

    def guard(self, host: Host) -> _Guard:
        """For the shell of everything that changes a host: see :func:`tasks.hosts.shell.open_shell`.

        Raises:
            KeyError: The lock is not held on that host.
        """
        return self._guards[host.name]

    def host(self, name: str) -> Host:
        """The host of that name.

        Raises:
            KeyError: The lock is not held on it.
        """
        return self._guards[name].host

    def check(self) -> None:
        """See that nobody has taken the lock away, as far as is known here.

        Raises:
            LockLost: Somebody has, or it is released.
        """
        if self._lost:
            raise self._lost
        if self._closed.is_set():
            raise _lost(None, "this run has ended, and its lock is released")

    def lose(self, error: LockLost) -> None:
        """Note that it is lost: no command is begun on any host any more."""
        self._lost = self._lost or error

    def beat(self) -> None:
        """Say from now on, on every host, that we are there whenever nothing else says it."""
        for guard in self._guards.values():
            threading.Thread(target=self._beating, args=(guard,), name="lock-beat", daemon=True).start()

    def _beating(self, guard: _Guard) -> None:
        while not self._closed.wait(max(0.1, guard.last + lock.BEAT - time.monotonic())):
            if time.monotonic() - guard.last < lock.BEAT:
                continue
            try:
                Shell(guard.host, guard).run(":", timeout=30.0, what=_GUARDED)
            except LockLost:
                return
            except EtcdFlowsError:
                # Whatever works on that host meets the same, and says it; the lease outlasts several beats.
                self._closed.wait(lock.BEAT / 3)

    def release(self, *, attempts: int = 2) -> list[EtcdFlowsError]:
        """Let go of it, also on hosts that are busy (after their command). What could not be done is returned.

        Commands that come later, of threads that have not noticed yet, are refused.
        """
        self._closed.set()
        try:
            return remove(self.hosts, [self.session], attempts=attempts)[1]
        finally:
            set_active(self.session, False)


class _Guard:
    """Sees to it that a command runs only while the lock is held, and that the host hears of us with each."""

    def __init__(self, held: HeldLock, host: Host) -> None:
        self.host = host
        self.last = time.monotonic()
        self._held = held

    def prelude(self, timeout: float) -> str:
        """See :class:`tasks.hosts.shell.Guard`."""
        self._held.check()
        return lock.prelude(self.host, self._held.session, timeout)

    def judge(self, output: Output) -> None:
        """See :class:`tasks.hosts.shell.Guard`."""
        if output.code == lock.LOST and lock.LOST_WORDS in output.stderr:
            error = _lost(self.host.name, "this run's lock is no longer there: it was released by force or taken over")
            self._held.lose(error)
            raise error
        self.last = time.monotonic()


def acquire(
    hosts: Sequence[Host],
    owner: Owner,
    *,
    then: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[HeldLock, dict[str, Output]]:
    """Take the lock on all hosts, or on none.

    Args:
        hosts: All hosts of the cluster.
        owner: From :func:`tasks.hosts.lock_holder.new_owner`.
        then: By host, a script to be run in the same round trip once the lock is ours; it must change nothing.
        tell: Told about dead holders whose lock is taken over.

    Returns:
        The lock, and by host the output of the script (behind the lock's own lines).

    Raises:
        LockHeld: A living run holds it.
        EtcdFlowsError: A host could not be reached, or the lock not be made there; no lock of ours is left on any host
            that can be reached.
        Several: That, on more than one host.
    """
    held = HeldLock(hosts, uuid.uuid4().hex, owner)
    set_active(held.session, True)
    try:
        outputs = _contend(held, then or {}, tell)
    except BaseException:
        held.release(attempts=1)
        raise
    held.beat()
    return held, outputs


def _contend(held: HeldLock, then: Mapping[str, str], tell: Callable[[str], None]) -> dict[str, Output]:
    began = time.monotonic()
    dead: tuple[Holder, ...] = ()
    while True:
        outputs = _attempt(held, [holder.session for holder in dead], then, claim=True)
        seen = {name: lock.parse(name, output.stdout) for name, output in outputs.items()}
        decision = lock.decide(held.session, held.owner.run, seen, is_alive, time.monotonic() - began)
        dead = decision.remove
        for holder in dead:
            tell(took_over(holder))
        match decision.kind:
            case "held":
                return outputs
            case "refuse":
                raise held_error(decision.blocking, [host.name for host in held.hosts])
            case "withdraw":
                _attempt(held, [held.session], {}, claim=False)
        if decision.kind != "again":
            time.sleep(random.uniform(0.1, 0.4))  # noqa: S311 - so that two do not meet for ever


def _attempt(held: HeldLock, sessions: list[str], then: Mapping[str, str], *, claim: bool) -> dict[str, Output]:
    def one(host: Host) -> Output:
        script = lock.attempt_script(
            host, held.session, held.owner, claim=claim, remove=sessions, then=then.get(host.name, "")
        )
        return _run(host, script, "taking the lock")

    outputs, errors = on_hosts(held.hosts, one)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise Several(f"the lock could not be taken on {len(errors)} of {len(held.hosts)} hosts", errors)
    return outputs


def _run(host: Host, script: str, what: str, attempts: int = 4) -> Output:
    return retrying(lambda: Shell(host).run(script, timeout=_TIMEOUT, what=what), attempts=attempts)


# --- words ------------------------------------------------------------------------------------------------------------


def took_over(holder: Holder) -> str:
    """That a dead holder's lock is removed, in one line."""
    who = holder.owner.words if holder.owner else "a run that can't be told any more"
    if holder.owner and is_alive(holder.session, holder.owner) is False:
        how = "its process is gone"
    elif holder.life == "dead":
        how = f"nothing was heard of it for {lock.LEASE} s or more"
    else:
        how = "it is this run, begun again"
    return f"the lock of {who} on {', '.join(holder.hosts)} is taken over: {how}"


def sign_of_life(holder: Holder) -> str:
    """When it was last heard of, and what that means."""
    heard = "not heard of since the host was started" if holder.heard is None else f"heard of {holder.heard:.0f} s ago"
    if holder.life == "dead":
        return f"it is dead ({heard})"
    if holder.owner and is_alive(holder.session, holder.owner):
        return f"its process lives on this machine, {heard}"
    return heard


def held_error(blocking: Sequence[Holder], hosts: Sequence[str]) -> LockHeld:
    """The refusal that says who holds the lock."""
    holder = blocking[0]
    where = ", ".join(holder.hosts)
    more = f" (and {len(blocking) - 1} more)" if len(blocking) > 1 else ""
    if holder.life == "dead":
        busy = ", ".join(holder.busy)
        message = f"the last run is dead, but a command of it still runs on {busy}"
        remedy = "run again in a minute: the host ends the command by its deadline"
    else:
        message = "the cluster is locked"
        remedy = (
            "wait until that run has ended; `etcd-flows locks list CLUSTER` shows whether it lives. Only if it is "
            f"surely gone: `etcd-flows locks release CLUSTER --run {_run_of(holder)}`"
        )
    owner = holder.owner
    if owner is None:
        who = f"the owner of {holder.session} can't be read"
    else:
        who = f"{owner.words}, since {owner.since}" + (f", {owner.url}" if owner.url else "")
    return LockHeld(
        f"{message}: {who}{more}; on {where}; {sign_of_life(holder)}",
        state="nothing was changed on any host by this run",
        remedy=remedy,
    )


def _run_of(holder: Holder) -> str:
    return holder.owner.run if holder.owner else holder.session


def _lost(host: str | None, message: str) -> LockLost:
    return LockLost(
        message,
        host=host,
        state="this run changed nothing more from then on; what it had done stays",
        remedy="`etcd-flows locks list CLUSTER` shows who holds it now; when nobody does, run again: it carries on",
    )
