"""Grafana's password: made by us, on the host for Grafana to read, and with the operator.

Grafana takes it from its file when it makes its database, and never again. What is on the host counts, as clusters of
several operators may share one: whoever may log in there as root could set another password anyway.
"""

from __future__ import annotations

import secrets
import shlex
from pathlib import Path

from tasks.cluster.spec import Cluster
from tasks.hosts.files import FileWrite
from tasks.hosts.shell import Shell
from tasks.monitoring.actions import KeepPassword
from tasks.pki import store

_BYTES = 24  # of chance; 32 characters, none of which Grafana or a shell takes for something else


def password_file(cluster: Cluster) -> Path:
    """Where it is kept with the operator."""
    return cluster.pki.state_dir / "grafana.password"


def kept_password(cluster: Cluster) -> bytes:
    """What is kept there; empty if nothing is.

    Raises:
        PkiError: Others may read it.
    """
    return (store.read(password_file(cluster), private=True) or b"").strip()


def keep_password(shell: Shell, action: KeepPassword, cluster: Cluster) -> None:
    """Make or fetch the password, and make Grafana's key; what is on the host stays as it is.

    Raises:
        PkiError: It can't be kept here; nothing was changed there.
        HostError: The host could not be reached or refused.
    """
    path, key = shlex.quote(action.path), shlex.quote(action.secret_key)
    there = shell.run(f"[ ! -s {path} ] || cat -- {path}\n", what="looking for Grafana's password").stdout.strip()
    directory = cluster.pki.state_dir
    store.prepare_directory(directory)
    with store.locked(directory):
        kept = kept_password(cluster)
        wanted = there or kept or secrets.token_urlsafe(_BYTES).encode()
        if wanted != kept:
            store.write(password_file(cluster), wanted, 0o600)  # before the host has it: it is never lost
    closed = f"chown root:{action.group} -- {path} {key}\nchmod 0640 -- {path} {key}\n"
    shell.write_files(
        [] if there else [FileWrite(action.path, wanted, 0o640, "root", action.group)],
        after=f"umask 077\n[ -s {key} ] || head -c 32 /dev/urandom | base64 -w0 >{key}\nsync -- {key}\n{closed}",
    )
