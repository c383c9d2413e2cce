"""Why a script never started: sudo, the login shell, or a tool that is missing."""

from __future__ import annotations

import re

from tasks.cluster.spec import Host
from tasks.errors import AccessDenied, CommandFailed, EtcdFlowsError, TransientHostError
from tasks.hosts.wire import INCOMPLETE

# Messages of sudo 1.8 to 1.9 and of sudo-rs, in the C locale.
_SUDO: tuple[tuple[str, str, str], ...] = (
    (
        r"incorrect password|sorry, try again|authentication failed|incorrect authentication|no password was provided",
        "sudo refused the password of {user}",
        "correct the secret behind ssh.sudo_password; it is {user}'s own password, not root's",
    ),
    (
        r"not in the sudoers|is not allowed to (run|execute)|may not run sudo|i'm afraid i can't do that",
        "{user} may not run commands as root by sudo",
        "on the host, as root: (umask 337; echo '{user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{user}); "
        "or log in as root",
    ),
    (
        r"must have a tty|no tty present",
        "sudo on the host insists on a terminal (requiretty)",
        "on the host, as root: (umask 337; echo 'Defaults:{user} !requiretty' > /etc/sudoers.d/{user}-tty)",
    ),
    (
        r"password is required|authentication is required|terminal is required",
        "sudo wants a password for {user} and none is configured",
        "set ssh.sudo_password to a reference (env:NAME, file:/path), or give {user} NOPASSWD in /etc/sudoers.d",
    ),
    (
        r"(env|sh|shell):.*sudo.*(no such file|not found)",
        "there is no sudo on the host",
        "install sudo, or log in as root (ssh.user: root)",
    ),
    (
        r"account .*(expired|locked|validation failure)|password has expired|account or password is expired",
        "sudo refused {user}: the account or its password has expired",
        "renew {user}'s password or account on the host (chage)",
    ),
)


def not_started(host: Host, code: int, stderr: str, *, sudo: bool, password: bool) -> EtcdFlowsError:
    """The error for a command line that ended before its script began.

    Args:
        host: Where.
        code: Exit code of the command line.
        stderr: What was said.
        sudo: Whether sudo stood before the script.
        password: Whether it was given one.
    """
    user = host.ssh.user if host.connection == "ssh" else "this user"
    text = stderr.lower()
    said = " | ".join(line for line in stderr.splitlines() if line.strip())[-500:] or "no message"
    if sudo:
        for pattern, message, remedy in _SUDO:
            if re.search(pattern, text):
                return AccessDenied(
                    f"{message.format(user=user)} ({said})",
                    host=host.name,
                    state="nothing was run on the host",
                    remedy=remedy.format(user=user),
                )
    if code in (INCOMPLETE, -1, 255):
        return TransientHostError(
            "the script did not arrive whole",
            host=host.name,
            state="nothing of it was run",
            remedy="run again; if it happens again see sshd's log on the host",
        )
    if sudo and "sudo" in text:
        return AccessDenied(
            f"sudo refused: {said}",
            host=host.name,
            state="nothing was run on the host",
            remedy=f"make `sudo -n true` work for {user}" if not password else f"make `sudo -v` work for {user}",
        )
    return CommandFailed(
        f"the host could not start a script (exit code {code}: {said})",
        host=host.name,
        state="nothing was run on the host",
        remedy="the login shell must run commands, and coreutils (env, timeout, head) must be installed",
    )
