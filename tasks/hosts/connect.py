"""Building a Fabric connection that checks whom it talks to.

The cluster file is the only source of settings: ~/.ssh/config and Fabric's and invoke's own configuration files are not
read. Jump hosts are Fabric gateways, verified like any other host.
"""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import fabric
import paramiko

from tasks.cluster.spec import Host, Jump, SecretRef, Ssh, bracket
from tasks.errors import AccessDenied, EtcdFlowsError, HostUnreachable, InputError
from tasks.hosts import hostkeys
from tasks.hosts.classify import Target, classify
from tasks.hosts.runner import BytesLocal, BytesRemote

# Without any handler Python prints paramiko's tracebacks to stderr; the errors raised here say it better.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

KEEPALIVE = 15  # seconds; also keeps NAT entries alive
DEAD_PEER_MS = 30_000  # unacknowledged data for so long means that the connection is dead (tcp(7), TCP_USER_TIMEOUT)
JUMP = "the jump host "  # before its address in messages; errors are about the host that can't be reached without it
SESSION_RETRIES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # sshd frees a session a little after its channel has closed


@dataclass(frozen=True)
class Login:
    """One hop: where, as whom, with what, and whom to expect there."""

    target: Target
    address: str
    port: int
    user: str
    key: Path | None
    passphrase: SecretRef | None
    agent: bool
    password: SecretRef | None
    timeout: float
    trust: hostkeys.Trust
    via: Login | None


def login_of(host: Host) -> Login:
    """How to log in to a host, jump hosts included."""
    ssh = host.ssh
    return Login(
        target=_target(host.name, ssh.address, ssh.port, ssh.user, _methods(ssh.key, ssh.agent, ssh.password)),
        address=ssh.address,
        port=ssh.port,
        user=ssh.user,
        key=ssh.key,
        passphrase=ssh.key_passphrase,
        agent=ssh.agent,
        password=ssh.password,
        timeout=ssh.connect_timeout,
        trust=_trust(host.name, ssh, ssh.address, ssh.port, ssh.host_key),
        via=_jump(host.name, ssh, ssh.jump),
    )


def _jump(name: str, ssh: Ssh, jump: Jump | None) -> Login | None:
    if jump is None:
        return None
    methods = _methods(jump.key, ssh.agent, jump.password)
    return Login(
        target=_target(name, jump.address, jump.port, jump.user, methods, role=JUMP),
        address=jump.address,
        port=jump.port,
        user=jump.user,
        key=jump.key,
        passphrase=ssh.key_passphrase,
        agent=ssh.agent,
        password=jump.password,
        timeout=ssh.connect_timeout,
        trust=_trust(name, ssh, jump.address, jump.port, jump.host_key, role=JUMP),
        via=_jump(name, ssh, jump.jump),
    )


def _target(name: str, address: str, port: int, user: str, methods: tuple[str, ...], role: str = "") -> Target:
    return Target(host=name, endpoint=f"{role}{bracket(address)}:{port}", user=user, methods=methods)


def _methods(key: Path | None, agent: bool, password: SecretRef | None) -> tuple[str, ...]:
    found = [f"key {key}"] if key else []
    if agent:
        found.append("agent" if key else "agent and default keys")
    return (*found, "password") if password else tuple(found)


def _trust(name: str, ssh: Ssh, address: str, port: int, pinned: str | None, role: str = "") -> hostkeys.Trust:
    return hostkeys.Trust(name, address, port, pinned, ssh.known_hosts, ssh.host_keys == "accept-new", role)


def load_key(path: Path, passphrase: SecretRef | None, host: str) -> paramiko.PKey:
    """Read a private key; the passphrase is resolved only if the file is encrypted.

    Raises:
        InputError: The file is missing, unreadable, no key, or the passphrase is missing or wrong.
    """

    def refuse(why: str, remedy: str, cause: BaseException) -> NoReturn:
        raise InputError(
            f"the SSH key {path} {why}", host=host, state="no connection was made", remedy=remedy
        ) from cause

    try:
        return paramiko.PKey.from_path(path)
    except FileNotFoundError as error:
        refuse("does not exist", "set ssh.key to the private key's file", error)
    except OSError as error:
        refuse(f"cannot be read: {error.strerror}", "make it readable for the user that runs this", error)
    except (TypeError, paramiko.PasswordRequiredException) as error:
        if passphrase is None:
            refuse("is protected by a passphrase", "set ssh.key_passphrase to a reference, or use the agent", error)
    except (ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        refuse(f"is not a usable private key ({type(error).__name__})", "give an OpenSSH or PEM private key", error)
    try:
        return paramiko.PKey.from_path(path, reveal(passphrase).encode())
    except (TypeError, ValueError, paramiko.SSHException) as error:
        # the cause is left out of the message: it could name details of the passphrase
        raise InputError(
            f"the passphrase {passphrase} does not open the SSH key {path}",
            host=host,
            state="no connection was made",
            remedy="correct the secret behind ssh.key_passphrase",
        ) from error


def reveal(reference: SecretRef | None) -> str:
    """The value of a secret, fetched now.

    Raises:
        InputError: It cannot be had.
    """
    from tasks.cluster.secrets import resolve

    if reference is None:
        raise InputError("no secret is configured", remedy="set it in the cluster file, as the key's description says")
    value: str = resolve(reference).reveal()
    return value


def local_config() -> fabric.Config:
    """Settings of Fabric and invoke, from no file at all."""
    return fabric.Config(
        lazy=True,
        overrides={
            "load_ssh_configs": False,
            "run": {"shell": "/bin/sh", "hide": True, "warn": True, "in_stream": False, "pty": False, "echo": False},
            "runners": {"remote": BytesRemote, "local": BytesLocal},
        },
    )


class Link(fabric.Connection):  # type: ignore[misc]
    """A Fabric connection that verifies the host's key, waits for nothing forever and explains its failures."""

    def __init__(self, login: Login) -> None:
        self._set(login=login)
        super().__init__(
            host=login.address,
            user=login.user,
            port=login.port,
            config=local_config(),
            gateway=Link(login.via) if login.via else False,
            connect_timeout=max(1, math.ceil(login.timeout)),
        )
        self.client.set_missing_host_key_policy(hostkeys.Verify(login.trust))

    @property
    def alive(self) -> bool:
        """Whether the connection and all it goes through are up, as far as is known."""
        return bool(self.transport and self.transport.is_active() and (not self.gateway or self.gateway.alive))

    def open(self) -> None:
        """Connect, check the host's key, log in.

        Raises:
            HostUnreachable: No connection: worth a retry.
            AccessDenied: The host's key or our login was refused.
            InputError: A key file or a secret cannot be used.
        """
        if self.is_connected:
            return
        try:
            self.connect_kwargs = self._credentials()
            super().open()
            self.transport.set_keepalive(KEEPALIVE)
            _notice_dead_peer(self.transport.sock)
        except Exception as error:
            with contextlib.suppress(Exception):
                self.client.close()  # paramiko leaves its thread and socket behind
            raise classify(error, self.login.target) from error

    def _credentials(self) -> dict[str, Any]:
        login = self.login
        timeout = max(1.0, login.timeout)
        known = hostkeys.known(login.trust).trusted

        def transport(sock: Any, **options: Any) -> paramiko.Transport:
            made = paramiko.Transport(sock, **options)
            security = made.get_security_options()
            security.key_types = hostkeys.preferred(security.key_types, known)
            # AES-GCM first where both can: half the CPU of AES-CTR with its separate checksum. Stable otherwise.
            security.ciphers = sorted(security.ciphers, key=lambda name: "gcm" not in name)
            return made

        return {
            "pkey": load_key(login.key, login.passphrase, login.target.host) if login.key else None,
            "password": reveal(login.password) if login.password else None,
            "allow_agent": login.agent,
            "look_for_keys": login.agent and login.key is None,
            # a little less than the connection's, which is not reported as clearly when it passes first
            "banner_timeout": timeout - 0.5,
            "auth_timeout": max(timeout, 20.0),  # PAM delays after a wrong password, slow name services
            "channel_timeout": timeout,
            "transport_factory": transport,
        }

    def open_gateway(self) -> paramiko.Channel:
        """A way through the jump host.

        Raises:
            HostUnreachable: The jump host cannot reach the host.
            AccessDenied: The jump host does not forward.
        """
        self.gateway.open()
        try:
            return self.gateway.transport.open_channel(
                kind="direct-tcpip",
                dest_addr=(self.host, int(self.port)),
                src_addr=("127.0.0.1", 0),
                timeout=self.login.timeout,
            )
        except paramiko.ChannelException as error:
            raise _not_forwarded(error, self.login) from error

    def create_session(self) -> paramiko.Channel:
        """A session on the connection; nothing runs on the host yet.

        Raises:
            TransientHostError: The host allows none now, or the connection is gone.
        """
        for pause in (*SESSION_RETRIES, None):
            try:
                return super().create_session()
            except paramiko.ChannelException:
                if pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close this connection and those it goes through."""
        with contextlib.suppress(Exception):
            super().close()
        with contextlib.suppress(Exception):
            self.client.close()
        if self.gateway:
            self.gateway.close()


def _notice_dead_peer(sock: Any) -> None:
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_MS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _not_forwarded(error: paramiko.ChannelException, login: Login) -> EtcdFlowsError:
    jump = login.via.target.endpoint if login.via else "the jump host"
    build: Callable[..., EtcdFlowsError]
    if error.code == 1:  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED (RFC 4254, 5.1)
        build, remedy = AccessDenied, "set AllowTcpForwarding yes (or PermitOpen) in the jump host's sshd_config"
    else:
        build, remedy = HostUnreachable, "check that the host is up and reachable from the jump host"
    return build(
        f"{login.target.endpoint}: {jump} does not get through ({error.text})",
        host=login.target.host,
        state="nothing was run on the host",
        remedy=remedy,
    )
