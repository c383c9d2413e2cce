"""The last look before a member is started: no other one may run, or be able to start, on other data.

The plan's order makes that so (:func:`tasks.restore.plan.check_order`); this sees that it is so, on the hosts, at that
moment: somebody may have removed a hold or started etcd by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.cluster.spec import Cluster, Host
from tasks.errors import CommandFailed, Refused
from tasks.hosts.shell import Shell
from tasks.restore.record import Record
from tasks.restore.scripts_start import look_at


@dataclass(frozen=True)
class Seen:
    """One host at one moment.

    Args:
        held: Whether its member can't be started.
        pid: Of the running etcd, 0 for none.
        data: The data dir that it was started with, empty if that can't be told.
        next: The data dir that it would be started with.
    """

    host: str
    held: bool
    pid: int
    data: str
    next: str


def look(shell: Shell) -> Seen:
    """Look at one host.

    Raises:
        CommandFailed: Its answer can't be understood.
    """
    host = shell.host
    fields = shell.run(look_at(host), what="looking at the member").stdout.decode(errors="replace").split("\t")
    try:
        state, pid, data, following = (field.strip() for field in fields)
        return Seen(host.name, state == "held", int(pid), data, following.strip("'\""))
    except ValueError as error:
        raise CommandFailed(
            "what the host told about its member can't be understood",
            host=host.name,
            remedy="run it again; if that does not help, look at etcd on the host",
        ) from error


def on_other_data(host: Host, record: Record, seen: Seen) -> str:
    """Why this member may run the old data, or be started on it by a reboot; empty if it can't."""
    new = record.data_dir(host)
    if seen.pid and seen.data != new:
        return f"etcd runs on {seen.data or 'unknown data'} (process {seen.pid})"
    if not seen.pid and not seen.held and seen.next != new:
        return f"nothing holds it, and it would start on {seen.next or 'unknown data'}"
    return ""


def refuse_restored_data(cluster: Cluster, record: Record, seen: Mapping[str, Seen]) -> None:
    """Go on with the way back only if no member may run the restored data.

    Raises:
        Refused: One may.
    """
    new = {host.name: record.data_dir(host) for host in cluster.hosts}
    wrong = [name for name, one in seen.items() if one.data == new[name] or (not one.held and one.next == new[name])]
    if wrong:
        raise Refused(
            f"no member is started on its former data while another may run the restored one ({', '.join(wrong)})",
            state="members stay as they are",
            remedy="run it again: it stops and holds them first",
        )


def refuse_other_data(cluster: Cluster, record: Record, seen: Mapping[str, Seen]) -> None:
    """Go on only if no member may run the old data.

    Raises:
        Refused: One may.
    """
    found = {host.name: on_other_data(host, record, seen[host.name]) for host in cluster.hosts}
    wrong = [f"{name}: {why}" for name, why in found.items() if why]
    if wrong:
        raise Refused(
            f"no member is started while another may run the old data ({'; '.join(wrong)})",
            state="members stay as they are",
            remedy=f"find out who started it; then run `{record.again}`: it stops and holds it first",
        )
