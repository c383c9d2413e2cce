"""Writing what the flows know to where a node_exporter reads it: what is there is read, changed, and put back whole."""

from __future__ import annotations

import fcntl
import hashlib
import os
import posixpath
import shlex
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tasks.cluster.spec import Cluster, Host
from tasks.cluster.spec_monitoring import TEXTFILE_DIRECTORY
from tasks.errors import CommandFailed, EtcdFlowsError
from tasks.hosts.files import FileWrite, data_of, script_for
from tasks.hosts.shell import open_shell
from tasks.monitoring.own_families import Update, merged
from tasks.monitoring.textfile import file_name, parse, render

Tell = Callable[[str], None]

#: How often a file on a host is read again because another run has changed it; and the exit code that says so.
_TRIES, _CHANGED = 5, 75


def publish(cluster: Cluster, updates: Iterable[Update], tell: Tell) -> None:
    """Bring a cluster's file up to date; nothing where the cluster file names no place for it.

    Args:
        updates: What was found out; all else that the file says stays.
        tell: Told of what is odd, in words.

    Raises:
        EtcdFlowsError: The file can't be written; it is as it was.
    """
    found = tuple(updates)
    if cluster.monitoring is not None and cluster.monitoring.textfile_directory is not None:
        folder = cluster.monitoring.textfile_directory
        change_file(folder / file_name(cluster.name), lambda text: edited(cluster, text, found, tell))
    if cluster.monitoring is not None and cluster.monitoring.host is not None:
        path = f"{TEXTFILE_DIRECTORY}/{file_name(cluster.name)}"
        change_on_host(cluster.monitoring.host, path, lambda text: edited(cluster, text, found, tell))


def edited(cluster: Cluster, text: str, updates: tuple[Update, ...], tell: Tell) -> str:
    """The file's new text.

    Args:
        text: As it is now; empty if there is none.
    """
    try:
        old = parse(text)
    except ValueError as error:
        tell(f"what was told Prometheus before can't be read and is forgotten: {error}")
        old = ()
    subjects = {store.name for store in cluster.snapshots.stores} | {host.name for host in cluster.hosts}
    return render(cluster.name, merged(old, updates, subjects))


def change_file(path: Path, edit: Callable[[str], str]) -> None:
    """Change a file, one process after the other; readers see it whole at any time.

    Args:
        edit: From its text to the new one; the text of a file that is not there is empty.

    Raises:
        EtcdFlowsError: It can't be read or written.
    """
    try:
        # Not made if it is missing: nobody would read what is in it.
        with (path.parent / f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            text = path.read_text(errors="replace") if path.exists() else ""
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            try:
                with os.fdopen(handle, "w") as file:
                    file.write(edit(text))
                Path(temporary).chmod(0o644)  # node_exporter runs as another user
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise EtcdFlowsError(
            f"{path} can't be written: {error.strerror or error}",
            state="Prometheus goes on seeing what was written before",
            remedy="give monitoring.textfile_directory a directory that node_exporter reads and this user can write to",
        ) from error


def change_on_host(host: Host, path: str, edit: Callable[[str], str]) -> None:
    """Change a file on a host; one that another run has changed meanwhile is read again.

    Args:
        path: Absolute. Its directory is not made: without it there is no node_exporter.
        edit: From its text to the new one; the text of a file that is not there is empty.

    Raises:
        EtcdFlowsError: The host can't be reached, or the file not be written.
    """
    where, folder = shlex.quote(path), shlex.quote(posixpath.dirname(path))
    read = f"if [ -e {where} ]; then cat {where}; fi"
    with open_shell(host) as shell:
        for _ in range(_TRIES):
            old = shell.run(f"test -d {folder}\n{read}", what="reading what Prometheus is told").stdout
            new = [FileWrite(path, edit(old.decode(errors="replace")).encode(), 0o644)]
            same = f'[ "$({{ {read}; }} | sha256sum)" = "{hashlib.sha256(old).hexdigest()}  -" ] || exit {_CHANGED}\n'
            done = shell.run(same + script_for(new), stdin=data_of(new), check=False, what="telling Prometheus")
            if done.ok:
                return
            if done.code != _CHANGED:
                raise CommandFailed(
                    f"{path} can't be written: {done.stderr.strip()[-300:]}",
                    host=host.name,
                    remedy="see the directory's permissions and the disk of the host",
                )
    raise CommandFailed(
        f"{path} changes all the time",
        host=host.name,
        state="it has what other runs wrote",
        remedy="run it again when no other run is under way",
    )
