"""Looking at hosts ahead of time: while Prefect is imported and sets up its run, the hosts are asked already.

That is most of what a short command takes. What is found is handed to the first task of the run that wants just that,
once, as if it had been found then; so is what failed, so that a host sees no more logins than without this. Threads, no
Prefect.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from tasks.cluster.spec import Host, SecretRef
from tasks.hosts.shell import Shell, open_shell

#: Seconds after which what was seen is not good any more: a local Prefect may take long to start.
FRESH = 5.0


@dataclass(frozen=True)
class Look:
    """Something to be looked at on one host. It must change nothing.

    Args:
        query: What is wanted; whoever asks for an equal one gets the answer.
        ask: Asks the host.
        then: What to look at next, by the answer; None for nothing.
    """

    query: Hashable
    ask: Callable[[Shell], Any]
    then: Callable[[Any], Look | None] = lambda answer: None


_Answer = Future[tuple[Any, float]]
_begun: dict[tuple[Host, Hashable], _Answer] = {}


def begin(host: Host, look: Look) -> None:
    """Begin to look, in a thread that does not keep the process alive.

    A host whose login needs a Prefect block is left out: those can be read only within a flow run.
    """
    if not any(secret.kind == "block" for secret in _secrets(host)):
        answer = _register(host, look)
        threading.Thread(target=_run, args=(host, look, answer), name=f"ahead-{host.name}", daemon=True).start()


def take(host: Host, query: Hashable) -> Any:
    """The answer to this query, once it is there; None if it was not asked ahead, was taken, or is old.

    Raises:
        EtcdFlowsError: What that look failed with.
    """
    answer = _begun.pop((host, query), None)
    if answer is None:
        return None
    found, at = answer.result()
    return found if time.monotonic() - at < FRESH else None


def _register(host: Host, look: Look) -> _Answer:
    answer: _Answer = Future()
    _begun[host, look.query] = answer
    return answer


def _run(host: Host, look: Look | None, answer: _Answer) -> None:
    while look:
        try:
            with open_shell(host) as shell:
                found = look.ask(shell)
            look = look.then(found)
            following = _register(host, look) if look else answer  # before the answer is out: it may be asked for then
        except BaseException as error:  # noqa: BLE001 - raised where it is taken
            answer.set_exception(error)
            return
        answer.set_result((found, time.monotonic()))
        answer = following


def _secrets(host: Host) -> list[SecretRef]:
    """What is needed to log in to a host and to become root there."""
    refs = [host.ssh.password, host.ssh.sudo_password, host.ssh.key_passphrase]
    jump = host.ssh.jump
    while jump:
        refs.append(jump.password)
        jump = jump.jump
    return [ref for ref in refs if ref]
