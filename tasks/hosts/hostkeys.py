"""Host keys: which keys a host may show, and remembering one on explicit first use.

paramiko's own known_hosts knows neither patterns nor ``@revoked`` nor several keys of one type, and asks the server
for the first known type only, which gives false mismatches; Fabric switches verification off. So the decision is made
here, from the file format of sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import fnmatch
import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from tasks.cluster.spec import bracket
from tasks.errors import AccessDenied, EtcdFlowsError, InputError


@dataclass(frozen=True)
class PublicKey:
    """A public key as it travels: type and blob."""

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` prints it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        return f"{self.type} SHA256:{digest}"

    @property
    def line(self) -> str:
        """As a public key file and the cluster file have it."""
        return f"{self.type} {base64.b64encode(self.blob).decode()}"


@dataclass(frozen=True)
class Trust:
    """What is believed about one host's key.

    Args:
        host: Name of the host in the cluster file, for messages.
        address: Where sshd listens.
        pinned: The only key allowed, or None to look at ``known_hosts``.
        first_use: Whether an unknown host's key is accepted and remembered.
        role: What stands before its address in messages, for a host on the way to the one that is meant.
    """

    host: str
    address: str
    port: int
    pinned: str | None
    known_hosts: Path
    first_use: bool
    role: str = ""

    @property
    def setting(self) -> str:
        """Where the cluster file pins its key."""
        return "ssh.jump.host_key" if self.role else "ssh.host_key"

    @property
    def entry(self) -> str:
        """The host's name in known_hosts: other ports than 22 go ``[address]:port``."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"


@dataclass(frozen=True)
class Known:
    """The keys that known_hosts has for one host."""

    trusted: tuple[PublicKey, ...]
    revoked: tuple[PublicKey, ...]


def parse_key(text: str) -> PublicKey:
    """Read ``ssh-ed25519 AAAA... comment``.

    Raises:
        ValueError: It is no public key.
    """
    fields = text.split()
    if len(fields) < 2:
        raise ValueError("a public key is a type and a base64 text: 'ssh-ed25519 AAAA...'")
    try:
        blob = base64.b64decode(fields[1], validate=True)
    except binascii.Error as error:
        raise ValueError("the key's base64 text is damaged") from error
    kind = fields[0].encode()
    if blob[: 4 + len(kind)] != len(kind).to_bytes(4, "big") + kind:
        raise ValueError(f"the key's content is not of the type {fields[0]}")
    return PublicKey(fields[0], blob)


def find(text: str, entry: str) -> Known:
    """The keys for ``entry`` in the text of a known_hosts file. Lines that cannot be read are skipped, as ssh does."""
    trusted: list[PublicKey] = []
    revoked: list[PublicKey] = []
    for line in text.splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        if len(fields) < 3 or marker == "@cert-authority" or not _matches(fields[0], entry):
            continue
        try:
            key = parse_key(" ".join(fields[1:3]))
        except ValueError:
            continue
        (revoked if marker == "@revoked" else trusted).append(key)
    return Known(tuple(trusted), tuple(revoked))


def _matches(names: str, entry: str) -> bool:
    if names.startswith("|1|"):
        return _matches_hash(names, entry)
    found = False
    for name in names.lower().split(","):
        # '[' is literal in known_hosts, but opens a set for fnmatch
        pattern = name.removeprefix("!").replace("[", "[[]")
        if fnmatch.fnmatchcase(entry.lower(), pattern):
            if name.startswith("!"):
                return False
            found = True
    return found


def _matches_hash(names: str, entry: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part) for part in names[3:].split("|"))
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.new(salt, entry.encode(), hashlib.sha1).digest(), digest)


def known(trust: Trust) -> Known:
    """The keys that the host may show.

    Raises:
        InputError: The pinned key or the known_hosts file cannot be read.
    """
    if trust.pinned is not None:
        try:
            return Known((parse_key(trust.pinned),), ())
        except ValueError as error:
            raise InputError(f"ssh.host_key: {error}", host=trust.host, remedy=how_to_know(trust)) from error
    try:
        return find(trust.known_hosts.read_text(errors="replace"), trust.entry)
    except FileNotFoundError:
        return Known((), ())
    except OSError as error:
        raise InputError(
            f"{trust.known_hosts} cannot be read: {error.strerror}",
            host=trust.host,
            remedy="make it readable, or name another file with ssh.known_hosts",
        ) from error


def preferred(types: Sequence[str], keys: Sequence[PublicKey]) -> list[str]:
    """Key algorithms in the order to offer: those of known keys first, so that the host shows a key we can check.

    Args:
        types: What this side supports, in its own order of preference.
        keys: Known keys of the host.
    """
    names = {key.type for key in keys}
    wanted = {name for name in types if name in names or (name.startswith("rsa-sha2-") and "ssh-rsa" in names)}
    return [name for name in types if name in wanted] + [name for name in types if name not in wanted]


def check(trust: Trust, shown: PublicKey) -> None:
    """Decide on the key a host has shown; remember it if that is wanted and the host is new.

    Raises:
        AccessDenied: Unknown, changed or revoked.
    """
    keys = known(trust)
    if shown in keys.revoked:
        raise AccessDenied(
            f"the host key {shown.fingerprint} of {_where(trust)} is marked @revoked in {trust.known_hosts}",
            host=trust.host,
            state="nothing was sent to the host",
            remedy="find out who answers at this address; give the host a new key",
        )
    if shown in keys.trusted:
        return
    if keys.trusted:
        raise _changed(trust, shown, keys.trusted)
    if not trust.first_use:
        raise _unknown(trust, shown)
    _remember(trust, shown)


def _where(trust: Trust) -> str:
    return f"{trust.role}{bracket(trust.address)}:{trust.port}"


def _scan(trust: Trust) -> str:
    return f"ssh-keyscan -p {trust.port} {trust.address}"


def _into(trust: Trust) -> str:
    """The command that appends the keys; a user who never used ssh has no directory for them yet."""
    folder = trust.known_hosts.parent
    return f"{'' if folder.is_dir() else f'mkdir -p -m 700 {folder} && '}{_scan(trust)} >> {trust.known_hosts}"


def how_to_know(trust: Trust) -> str:
    """What to do about a host whose key is not known."""
    return (
        f"`{_scan(trust)}` prints the keys; compare them on the host's console, then pin one as {trust.setting}, "
        f"or add it to {trust.known_hosts}"
    )


def _unknown(trust: Trust, shown: PublicKey) -> EtcdFlowsError:
    return AccessDenied(
        f"the host key of {_where(trust)} is not known: it showed {shown.fingerprint}, {trust.known_hosts} has none",
        host=trust.host,
        state="nothing was sent to the host",
        remedy=(
            "compare the fingerprint with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host's console; "
            f"if it is right: `{_into(trust)}`, or pin it: {trust.setting}: '{shown.line}', "
            "or trust first use: ssh.host_keys: accept-new"
        ),
    )


def _changed(trust: Trust, shown: PublicKey, expected: Sequence[PublicKey]) -> EtcdFlowsError:
    source = trust.setting if trust.pinned is not None else str(trust.known_hosts)
    wanted = ", ".join(key.fingerprint for key in expected)
    if trust.pinned is not None:
        fix = f"replace {trust.setting} in the cluster file"
    else:
        fix = f"remove the old one with `ssh-keygen -R '{trust.entry}' -f {trust.known_hosts}` and add the new one"
    return AccessDenied(
        f"the host key of {_where(trust)} is not the expected one: received {shown.fingerprint}, expected {wanted} "
        f"({source}); another machine may be answering",
        host=trust.host,
        state="nothing was sent to the host",
        remedy=f"if the host was reinstalled, check the new key on its console, then {fix}",
    )


def _remember(trust: Trust, shown: PublicKey) -> None:
    """Append one line under a lock; two workers that meet a host at once agree on its key."""
    path = trust.known_hosts
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}",
            host=trust.host,
            state="nothing was sent to the host",
            remedy="accept-new has to remember the key: make the file writable, or name another with ssh.known_hosts",
        ) from error
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        now = find(text.decode(errors="replace"), trust.entry)
        if shown in now.trusted:
            return
        if now.trusted or now.revoked:
            raise _changed(trust, shown, now.trusted)
        gap = b"" if not text or text.endswith(b"\n") else b"\n"
        file.write(gap + f"{trust.entry} {shown.line}\n".encode())
        os.fsync(file.fileno())


class Verify(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """paramiko asks this about every host key, as its own list of keys is kept empty."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        """Called by paramiko before anything is sent to the host.

        Raises:
            AccessDenied: As :func:`check`.
        """
        check(self._trust, PublicKey(key.get_name(), key.asbytes()))
