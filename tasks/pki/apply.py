"""Carry out a :class:`tasks.pki.plan.WritePki` on its host."""

from __future__ import annotations

import shlex
from datetime import datetime

from tasks.errors import PkiError
from tasks.hosts.shell import FileWrite, Shell
from tasks.pki.authority import Authority, IssuedLeaf
from tasks.pki.judge import MARKER, render_marker
from tasks.pki.leaves import LeafSpec
from tasks.pki.plan import WritePki


def write_pki(shell: Shell, action: WritePki, authority: Authority, *, now: datetime) -> None:
    """Issue and write; may be cut off anywhere and run again.

    One round trip: files in the order marker, keys, certificates (each is on the disk before the next begins), then
    modes and the end of the marker.

    Raises:
        PkiError: The CA is not the one the plan was made with, or its key is needed and not here.
        HostError: The host could not be reached or refused.
    """
    if action.ca not in (None, authority.fingerprint):
        raise PkiError(
            "the CA is not the one that the plan was made with",
            host=action.host,
            state="nothing was changed on this host",
            remedy="run again: the plan is made anew",
        )
    issued = [(leaf, authority.issue(leaf, now)) for leaf in action.leaves]
    shell.write_files(files_of(action, authority, issued), after=finish_script(action))


def files_of(action: WritePki, authority: Authority, issued: list[tuple[LeafSpec, IssuedLeaf]]) -> list[FileWrite]:
    """What is written, in order."""
    directory = action.pki_dir
    files = []
    if issued:
        marker = render_marker({leaf.name: made.cert_pem for leaf, made in issued})
        files.append(FileWrite(f"{directory}/{MARKER}", marker, 0o644))
    if action.copy_ca_key:
        files.append(FileWrite(f"{directory}/ca.key", authority.key_pem(), 0o600))
    if action.write_ca:
        files.append(FileWrite(f"{directory}/ca.crt", authority.cert_pem, 0o644))
    for leaf, made in issued:
        files.append(FileWrite(f"{directory}/{leaf.name}.key", made.key_pem, leaf.key_mode, "root", leaf.key_group))
    for leaf, made in issued:
        files.append(FileWrite(f"{directory}/{leaf.name}.crt", made.cert_pem, 0o644))
    return files


def finish_script(action: WritePki) -> str:
    """Corrects owners and modes and ends the marker; empty if there is nothing of that to do."""
    lines = []
    for wanted in action.modes:
        path = shlex.quote(wanted.path)
        # etcd reads its key at each handshake. In this order the right group can read it all the while, no other ever.
        user, _, group = (wanted.owner or "").partition(":")
        lines += [f"chown -- :{shlex.quote(group)} {path}"] if group else []
        lines.append(f"chmod {wanted.mode:04o} -- {path}")
        lines += [f"chown -- {shlex.quote(user)} {path}"] if user else []
    if action.leaves or action.clear_marker:
        directory = shlex.quote(action.pki_dir)
        lines += [f"rm -f -- {directory}/{MARKER}", f"sync -- {directory}"]
    return "\n".join(lines)
