"""The one place that says what an exception on the way to a host means: may it pass by itself, and what to do.

Everything below comes out as an error of :mod:`tasks.errors`: :class:`~tasks.errors.TransientHostError` and
:class:`~tasks.errors.HostUnreachable` are worth a retry, all others are not.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import paramiko
import tenacity
from invoke.exceptions import CommandTimedOut

from tasks.errors import (
    AccessDenied,
    EtcdFlowsError,
    HostError,
    HostUnreachable,
    Several,
    TransientHostError,
)
from tasks.hosts.runner import ConnectionLost, unwrap

T = TypeVar("T")

_UNTOUCHED = "nothing was run on the host"
_UNKNOWN_STATE = "the command may have been carried out in whole, in part or not at all"


@dataclass(frozen=True)
class Target:
    """Who was being reached.

    Args:
        host: Name in the cluster file.
        endpoint: ``address:port``, with brackets for IPv6.
        user: Login name.
        methods: What was to be tried for authentication, in words.
    """

    host: str
    endpoint: str
    user: str = ""
    methods: tuple[str, ...] = ()


def classify(error: BaseException, target: Target, *, running: bool = False) -> EtcdFlowsError:
    """Turn any exception met on the way to a host, or on it, into one of ours.

    Args:
        error: paramiko's, the socket's, invoke's, Fabric's or already one of ours (returned as it is).
        target: Who was being reached.
        running: Whether a command may already have begun.
    """
    error = unwrap(error)
    if isinstance(error, EtcdFlowsError):
        return error
    for kinds, build in _TABLE:
        if isinstance(error, kinds):
            found = build(error, target)
            break
    else:
        found = HostError(
            f"{target.endpoint}: {type(error).__name__}: {error}",
            host=target.host,
            remedy="this is not a known failure of a connection; please report it",
        )
    if running:
        found.state = _UNKNOWN_STATE
    elif found.state is None:
        found.state = _UNTOUCHED
    return found


def is_transient(error: BaseException) -> bool:
    """Whether it is worth trying again. Of several errors all must be."""
    error = unwrap(error)
    if isinstance(error, Several):
        return all(is_transient(one) for one in error.errors)
    return isinstance(error, TransientHostError)


def retrying(
    function: Callable[[], T],
    attempts: int = 4,
    base_seconds: float = 0.5,
    jitter: bool = True,
    cap_seconds: float = 30.0,
) -> T:
    """Call a function again while it fails with something that may pass; for code outside Prefect's tasks.

    Args:
        function: Must be safe to repeat.
        attempts: Calls in total.
        base_seconds: The longest first wait; it doubles each time.
        jitter: Wait a random time up to that ("full jitter"), so that many callers do not come back at once.
        cap_seconds: No wait is longer.

    Raises:
        EtcdFlowsError: What the last call raised.
    """
    wait = tenacity.wait_random_exponential if jitter else tenacity.wait_exponential
    retry = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(attempts),
        wait=wait(multiplier=base_seconds, max=cap_seconds),
        retry=tenacity.retry_if_exception(is_transient),
        reraise=True,
    )
    return retry(function)


def _unreachable(why: str, remedy: str) -> Callable[[BaseException, Target], EtcdFlowsError]:
    def build(error: BaseException, target: Target) -> EtcdFlowsError:
        return HostUnreachable(f"{target.endpoint}: {why}", host=target.host, remedy=remedy)

    return build


_IS_IT_UP = "check that the host is up and that address, port and firewall are right, then run again"
_NETWORK = {
    errno.ECONNREFUSED: ("connection refused, nothing listens there", "start sshd on the host, or set ssh.port"),
    errno.EHOSTUNREACH: ("no route to the host", _IS_IT_UP),
    errno.ENETUNREACH: ("the network cannot be reached from here", "check this machine's network and routes"),
    errno.ETIMEDOUT: ("no answer in time", _IS_IT_UP),
    errno.ECONNRESET: ("the connection was reset", "see sshd's log on the host (MaxStartups, fail2ban, TCP wrappers)"),
    errno.EPIPE: ("the connection was closed", "see sshd's log on the host"),
}


def _os_error(error: BaseException, target: Target) -> EtcdFlowsError:
    inner = getattr(error, "errors", None)
    number = error.errno if isinstance(error, OSError) else None
    if number is None and isinstance(inner, dict) and inner:
        number = next(iter(inner.values())).errno
    why, remedy = _NETWORK.get(number or 0, (str(error) or type(error).__name__, _IS_IT_UP))
    return _unreachable(why, remedy)(error, target)


def _dns(error: BaseException, target: Target) -> EtcdFlowsError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return _unreachable(f"the name cannot be resolved ({why})", "correct the address, or repair DNS on this machine")(
        error, target
    )


def _timed_out(error: BaseException, target: Target) -> EtcdFlowsError:
    seconds = getattr(error, "timeout", 0)
    return TransientHostError(
        f"{target.endpoint}: no end of the command within {seconds:g} s",
        host=target.host,
        state=_UNKNOWN_STATE,
        remedy="the host ends it by itself; look at its load and disks, then run again",
    )


def _lost(error: BaseException, target: Target) -> EtcdFlowsError:
    detail = f" ({error})" if str(error) else ""
    return TransientHostError(
        f"{target.endpoint}: the connection ended{detail}",
        host=target.host,
        remedy="run again; if it happens again see sshd's log on the host",
    )


def _methods(target: Target, error: BaseException) -> str:
    tried = ", ".join(target.methods) or "nothing (no key, agent or password is configured)"
    offered = getattr(error, "allowed_types", None)
    return f"tried {tried}" + (f"; the host offers {', '.join(offered)}" if offered else "")


def _refused_login(error: BaseException, target: Target) -> EtcdFlowsError:
    # paramiko wraps network trouble during authentication in AuthenticationException too
    text = str(error).lower()
    if "timeout" in text or "timed out" in text:
        return _unreachable("no answer during authentication", "see sshd's log on the host; then run again")(
            error, target
        )
    if "transport shut down" in text or "saw eof" in text:
        return _unreachable("the host closed the connection during authentication", "see sshd's log on the host")(
            error, target
        )
    return AccessDenied(
        f"{target.endpoint}: login as {target.user} was refused; {_methods(target, error)}",
        host=target.host,
        remedy=f"check ssh.user and put the public key in {target.user}'s ~/.ssh/authorized_keys, or set ssh.key, "
        "ssh.agent or ssh.password; sshd's log says why",
    )


def _channel_refused(error: BaseException, target: Target) -> EtcdFlowsError:
    return TransientHostError(
        f"{target.endpoint}: the host refused another session on the connection ({error})",
        host=target.host,
        remedy="run again; MaxSessions in sshd_config must be at least 1",
    )


def _kex(error: BaseException, target: Target) -> EtcdFlowsError:
    return AccessDenied(
        f"{target.endpoint}: no common algorithm for the connection ({error})",
        host=target.host,
        remedy="allow a current key exchange, cipher and host key type in the host's sshd_config (ed25519 or rsa-sha2)",
    )


def _ssh(error: BaseException, target: Target) -> EtcdFlowsError:
    text = str(error).lower()
    if "banner" in text:
        return _unreachable(
            "something listens, but it does not greet as sshd does",
            "check ssh.port; the host may be overloaded (MaxStartups)",
        )(error, target)
    if "no authentication methods" in text:
        return _refused_login(error, target)
    if "key-exchange" in text or "key exchange" in text or "negotiation" in text:
        return _unreachable(f"the key exchange did not finish ({error})", "run again; see sshd's log on the host")(
            error, target
        )
    if "no existing session" in text:  # paramiko's words for a key exchange that did not end in time
        return _unreachable("the connection was not set up in time", _IS_IT_UP)(error, target)
    return _lost(error, target)


_TABLE: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Callable[..., EtcdFlowsError]], ...] = (
    (CommandTimedOut, _timed_out),
    (ConnectionLost, _lost),
    (paramiko.AuthenticationException, _refused_login),
    (paramiko.ChannelException, _channel_refused),
    (paramiko.ssh_exception.IncompatiblePeer, _kex),
    (paramiko.SSHException, _ssh),
    (socket.gaierror, _dns),
    (TimeoutError, _unreachable("no answer in time", _IS_IT_UP)),
    (OSError, _os_error),
    (EOFError, _lost),
)
