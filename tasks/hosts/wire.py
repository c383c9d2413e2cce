"""How a script travels to a host: a small fixed command line, everything else through standard input.

The remote command line is the same for every script, so nothing of a script, its data or its secrets shows up in
``ps``, in sshd's or sudo's log. Standard input carries, in this order: the sudo password and a newline (only if one
is configured), a mark, the script's length, the script, the data that the script reads with ``head -c``.

Sudo may take the password or may not need it (NOPASSWD); the loop that looks for the mark throws away what sudo left.
The script runs only if all of it has arrived: a connection that breaks half way never runs half a script. Standard
output begins with the mark twice, when the shell is there and when the script starts, so that noise of a login shell
is told apart from output, and "never started" from "ran and failed". ``timeout`` on the host ends the command if this
side vanishes.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from tasks.errors import InputError

CHUNK = 128 * 1024
INCOMPLETE = 97  # exit code of the bootstrap when the script did not arrive whole
KILL_AFTER = 5.0  # seconds between SIGTERM and SIGKILL once the deadline has passed

# No backslashes and no single quotes: any login shell (sh, csh, fish) passes it on unchanged inside single quotes.
_BOOTSTRAP = (
    'echo "$1"; while IFS= read -r l; do [ "$l" = "$1" ] && break; done; '
    'IFS= read -r n || exit 97; s=$(head -c "$n"; echo x); [ "${#s}" -eq "$((n + 1))" ] || exit 97; '
    'echo "$1"; eval "${s%x}"'
)
#: What a login's profile may export, and would change what programs read and print. etcdctl and etcd refuse to start
#: where a variable says what a flag says too (seen; etcd's pkg/flags), and those of etcdctl are in many a .bashrc.
#: With POSIXLY_CORRECT no option is one after the first operand (getopt_long(3)).
_FOREIGN = (
    *(
        f"ETCDCTL_{name}"
        for name in (
            *("API", "ENDPOINTS", "CACERT", "CERT", "KEY", "USER", "PASSWORD", "AUTH_JWT_TOKEN", "WRITE_OUT", "HEX"),
            *("DEBUG", "INSECURE_TRANSPORT", "INSECURE_SKIP_TLS_VERIFY", "INSECURE_DISCOVERY", "DISCOVERY_SRV"),
            *("DISCOVERY_SRV_NAME", "DIAL_TIMEOUT", "COMMAND_TIMEOUT", "KEEPALIVE_TIME", "KEEPALIVE_TIMEOUT"),
            *("MAX_REQUEST_BYTES", "MAX_RECV_BYTES"),
        )
    ),
    *("POSIXLY_CORRECT", "BLOCK_SIZE", "BLOCKSIZE", "DF_BLOCK_SIZE", "DU_BLOCK_SIZE", "LS_BLOCK_SIZE"),
    *("QUOTING_STYLE", "TIME_STYLE", "GREP_OPTIONS", "TAR_OPTIONS", "CDPATH"),
    *("SYSTEMD_COLORS", "SYSTEMD_LOG_LEVEL", "SYSTEMD_LOG_TARGET"),
)
_PRELUDE = (
    f"unset {' '.join(_FOREIGN)}; "
    "set -eu; umask 077; export LC_ALL=C; "
    'PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin"; export PATH\n'
)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Hold(bytes):
    """A piece that is not sent: what follows waits until this has been seen on standard output.

    Sudo that refuses a password reads the next line as the next try; three tries of which two are ours would lock
    accounts (pam_faillock) for one mistake.
    """


class Readable(Protocol):
    """A binary file, or anything that is read like one."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes, empty at the end."""
        ...


Data = Iterable["bytes | bytearray | Readable"]


def new_mark() -> str:
    """A line that no password and no login banner will ever be. It is not a secret."""
    return f"etcd-flows-{secrets.token_hex(8)}"


def command_line(mark: str, timeout: float, *, sudo: bool, sudo_password: bool) -> str:
    """The fixed command that the host's login shell is given.

    Args:
        mark: From :func:`new_mark`.
        timeout: Seconds after which the host itself ends the command.
        sudo: Whether to become root by sudo.
        sudo_password: Whether the input starts with sudo's password.
    """
    become = ""
    if sudo:
        become = "sudo -k -S -p '' -- " if sudo_password else "sudo -n -- "
    deadline = f"timeout -k {KILL_AFTER:g} {timeout:.3f}"
    return f"env LC_ALL=C {become}{deadline} env LC_ALL=C sh -c '{_BOOTSTRAP}' etcd-flows {mark}"


def payload(mark: str, script: str, data: Data, env: Mapping[str, str], sudo_password: bytes | None) -> Iterator[bytes]:
    """What standard input carries, in pieces that are cheap to send.

    Raises:
        InputError: The script holds a NUL, or a variable's name is none.
    """
    exports = "".join(f"export {_checked_name(name)}={shlex.quote(value)}\n" for name, value in env.items())
    text = f"{_PRELUDE}{exports}{script}".encode()
    if b"\0" in text:
        raise InputError("a script cannot hold a NUL byte")
    head = f"{mark}\n{len(text)}\n".encode() + text
    return _pieces(head, data, sudo_password, f"{mark}\n".encode())


def _checked_name(name: str) -> str:
    if not _ENV_NAME.match(name):
        raise InputError(f"{name!r} is not the name of an environment variable")
    return name


def _pieces(head: bytes, data: Data, sudo_password: bytes | None, hello: bytes) -> Iterator[bytes]:
    if sudo_password is not None:
        yield sudo_password + b"\n"
        yield Hold(hello)
    yield from _cut(head)
    for item in data:
        if isinstance(item, (bytes, bytearray)):
            yield from _cut(item)
        else:
            while piece := item.read(CHUNK):
                yield piece


def _cut(block: bytes | bytearray) -> Iterator[bytes]:
    # paramiko's sendall copies the rest of its argument after each packet: large blocks would cost quadratic time.
    view = memoryview(block)
    for start in range(0, len(view), CHUNK):
        yield bytes(view[start : start + CHUNK])


def split_output(mark: str, stdout: bytes) -> bytes | None:
    """What the script wrote, or None if it never started."""
    line = f"{mark}\n".encode()
    parts = stdout.split(line, 2)
    return parts[2] if len(parts) == 3 else None
