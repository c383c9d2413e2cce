from __future__ import annotations

import errno
import pickle
import socket

import paramiko
import pytest
from fabric.exceptions import GroupException
from fabric.group import GroupResult
from invoke.exceptions import CommandTimedOut, ThreadException
from invoke.runners import Result
from invoke.util import ExceptionWrapper
from paramiko.ssh_exception import NoValidConnectionsError

from tasks.errors import (
    AccessDenied,
    CommandFailed,
    EtcdFlowsError,
    HostError,
    HostUnreachable,
    InputError,
    Several,
    TransientHostError,
)
from tasks.hosts.classify import Target, classify, is_transient, retrying
from tasks.hosts.refusals import not_started
from tasks.hosts.runner import ConnectionLost
from tests.component.hosts.sshd import local_host

TARGET = Target("etcd-02", "10.0.0.2:22", "ops", ("key /k", "password"))


def os_error(number: int) -> OSError:
    return OSError(number, "x")


CASES: list[tuple[BaseException, type[EtcdFlowsError], str]] = [
    (NoValidConnectionsError({("10.0.0.2", 22): os_error(errno.ECONNREFUSED)}), HostUnreachable, "connection refused"),
    (NoValidConnectionsError({("10.0.0.2", 22): os_error(errno.EHOSTUNREACH)}), HostUnreachable, "no route"),
    (os_error(errno.ENETUNREACH), HostUnreachable, "network cannot be reached"),
    (os_error(errno.ETIMEDOUT), HostUnreachable, "no answer in time"),
    (TimeoutError("timed out"), HostUnreachable, "no answer in time"),
    (ConnectionResetError(errno.ECONNRESET, "reset"), HostUnreachable, "reset"),
    (socket.gaierror(-2, "Name or service not known"), HostUnreachable, "Name or service not known"),
    (paramiko.SSHException("Error reading SSH protocol banner"), HostUnreachable, "greet"),
    (paramiko.SSHException("No existing session"), HostUnreachable, "not set up in time"),
    (paramiko.SSHException("Key-exchange timed out waiting for key negotiation"), HostUnreachable, "key exchange"),
    (paramiko.AuthenticationException("Authentication timeout."), HostUnreachable, "during authentication"),
    (
        paramiko.AuthenticationException("Authentication failed: transport shut down or saw EOF"),
        HostUnreachable,
        "during authentication",
    ),
    (paramiko.AuthenticationException("Authentication failed."), AccessDenied, "tried key /k, password"),
    (paramiko.BadAuthenticationType("Bad type", ["publickey"]), AccessDenied, "offers publickey"),
    (paramiko.SSHException("No authentication methods available"), AccessDenied, "login as ops was refused"),
    (paramiko.ssh_exception.IncompatiblePeer("no acceptable ciphers"), AccessDenied, "no acceptable ciphers"),
    (paramiko.ChannelException(1, "Administratively prohibited"), TransientHostError, "another session"),
    (paramiko.SSHException("SSH session not active"), TransientHostError, "connection ended"),
    (ConnectionLost("x"), TransientHostError, "connection ended"),
    (EOFError(), TransientHostError, "connection ended"),
    (CommandTimedOut(Result(), timeout=60), TransientHostError, "within 60 s"),
    (RuntimeError("surprise"), HostError, "RuntimeError: surprise"),
]


@pytest.mark.parametrize(("error", "kind", "words"), CASES, ids=lambda value: str(value)[:40])
def test_table(error: BaseException, kind: type[EtcdFlowsError], words: str) -> None:
    found = classify(error, TARGET)
    assert type(found) is kind
    assert words in found.message
    assert "10.0.0.2:22" in found.message
    assert (found.host, bool(found.remedy), bool(found.state)) == ("etcd-02", True, True)
    assert is_transient(found) is issubclass(kind, TransientHostError)
    assert str(pickle.loads(pickle.dumps(found))) == str(found)  # noqa: S301 - made one line up


def test_state_says_whether_anything_may_have_run() -> None:
    assert "may have been carried out" in str(classify(EOFError(), TARGET, running=True).state)
    assert classify(EOFError(), TARGET).state == "nothing was run on the host"


def test_ours_pass_through_even_out_of_a_thread() -> None:
    mine = InputError("x")
    wrapped = ThreadException([ExceptionWrapper({"target": print}, InputError, mine, None)])
    assert classify(wrapped, TARGET) is mine


def test_a_groups_exception_is_its_first_failure() -> None:
    result = GroupResult()
    result["a"] = EOFError()
    assert type(classify(GroupException(result), TARGET)) is TransientHostError


def test_several_are_transient_only_if_all_are() -> None:
    passing, lasting = HostUnreachable("a"), AccessDenied("b")
    assert is_transient(Several("x", [passing, passing]))
    assert not is_transient(Several("x", [passing, lasting]))
    assert not is_transient(ValueError("bug"))


def test_retrying() -> None:
    calls: list[int] = []

    def flaky() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise HostUnreachable("down")
        return "up"

    assert retrying(flaky, attempts=4, base_seconds=0.001) == "up"
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("error", "expected"), [(HostUnreachable("down"), 3), (AccessDenied("no"), 1), (KeyError(), 1)]
)
def test_retrying_gives_up(error: Exception, expected: int) -> None:
    calls: list[int] = []

    def failing() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)) as caught:
        retrying(failing, attempts=3, base_seconds=0.001)
    assert caught.value is error
    assert len(calls) == expected


SUDO_SAYS = [
    ("sudo: 1 incorrect password attempt", AccessDenied, "sudo_password"),
    ("sudo: no password was provided\nsudo: 1 incorrect password attempt", AccessDenied, "sudo_password"),
    ("sudo: Authentication failed, try again.", AccessDenied, "sudo_password"),
    ("ops is not in the sudoers file.  This incident will be reported.", AccessDenied, "/etc/sudoers.d"),
    ("Sorry, user ops is not allowed to execute '/bin/x' as root on h.", AccessDenied, "/etc/sudoers.d"),
    ("sudo: sorry, you must have a tty to run sudo", AccessDenied, "requiretty"),
    ("sudo: a password is required", AccessDenied, "ssh.sudo_password"),
    ("sudo: interactive authentication is required", AccessDenied, "ssh.sudo_password"),
    ("env: 'sudo': No such file or directory", AccessDenied, "install sudo"),
    ("env: sudo: No such file or directory", AccessDenied, "install sudo"),
    ("sudo: account validation failure, is your account locked?", AccessDenied, "chage"),
    ("sudo: unknown trouble", AccessDenied, "sudo -n true"),
]


@pytest.mark.parametrize(("said", "kind", "remedy"), SUDO_SAYS)
def test_sudo(said: str, kind: type[EtcdFlowsError], remedy: str) -> None:
    found = not_started(local_host(), 1, said + "\n", sudo=True, password=False)
    assert type(found) is kind
    assert remedy in str(found.remedy)
    assert said.splitlines()[0] in found.message
    assert not is_transient(found)


def test_not_started_without_sudo() -> None:
    assert is_transient(not_started(local_host(), 97, "", sudo=False, password=False))
    assert type(not_started(local_host(), 127, "sh: timeout: not found", sudo=False, password=False)) is CommandFailed
