"""Waiting for a new member that takes over what the others have: as long as it gets on, however large that is.

First the leader sends it a whole database; of that only the bytes on its disk are seen, its status tells of nothing.
Then it applies what was written meanwhile. It is given up when neither has moved for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tasks.cluster.spec import Host
from tasks.errors import CommandFailed, EtcdFlowsError, GateFailed
from tasks.etcd.gate import log_command, reason_from_log
from tasks.etcd.members import MemberStatus, member_status, parse_status
from tasks.hosts.services import where_it_logs
from tasks.hosts.shell import Shell, open_shell
from tasks.members.actions import CatchUp
from tasks.members.scripts import look_at_joined
from tasks.reporting.human import size
from tasks.reporting.progress import emit

#: Entries that it may be behind; etcd itself demands nine tenths before it gives a vote.
NEAR = 500
_POLL, _TELL = 0.3, 10.0


@dataclass(frozen=True)
class Seen:
    """The new member at one moment.

    Args:
        active: systemd's word.
        kib: Its data dir's size.
        status: None if it does not answer yet.
    """

    active: str
    pid: int
    restarts: int
    kib: int
    status: MemberStatus | None

    @property
    def mark(self) -> tuple[int, int]:
        """Changes as long as it gets on."""
        return self.kib, self.status.raft_applied if self.status else 0


def parse_seen(host: Host, text: str) -> Seen:
    """Read what :func:`tasks.members.scripts.look_at_joined` printed.

    Raises:
        CommandFailed: It can't be understood.
    """
    first, _, status = text.partition("\n")
    try:
        active, pid, restarts, kib = first.split(" ")
        answered = parse_status(host.name, status) if status.strip() else None
        return Seen(active, int(pid), int(restarts or 0), int(kib or 0), answered)
    except ValueError as error:
        raise CommandFailed(
            f"what the host told can't be understood: {text[:200]!r}",
            host=host.name,
            remedy="run it again; if that does not help, look at etcd on the host",
        ) from error


def caught_up(seen: Seen, ahead: MemberStatus) -> bool:
    """Whether it has what the member that it is compared with has.

    Args:
        ahead: Of that member, asked before.
    """
    status = seen.status
    if status is None or status.cluster_id != ahead.cluster_id or status.leader_id == "0":
        return False
    return status.raft_applied + NEAR >= ahead.raft_index


def catch_up(shell: Shell, action: CatchUp, ask: Callable[[], MemberStatus]) -> None:
    """Wait.

    Args:
        ask: Asks the member that it is compared with.

    Raises:
        GateFailed: It does not stay up, or does not get on.
    """
    host = shell.host
    mark, moved, told = (-1, -1), time.monotonic(), time.monotonic()
    while True:
        ahead = _asked(ask)
        out = shell.run(look_at_joined(host, action.data_dir), timeout=30, what="looking at the new member")
        seen = parse_seen(host, out.stdout.decode())
        if ahead is not None and caught_up(seen, ahead):
            return
        if seen.active == "failed" or seen.restarts >= 3:
            raise _gave_up(shell, "etcd does not stay up")
        now = time.monotonic()
        if seen.mark != mark:
            mark, moved = seen.mark, now
        if now - moved > action.idle:
            raise _gave_up(shell, f"it does not get on: nothing has moved for {action.idle:.0f} s")
        if now - told > _TELL:
            told = now
            emit("info", _progress(seen, ahead), host=host.name)
        time.sleep(_POLL)


def _asked(ask: Callable[[], MemberStatus]) -> MemberStatus | None:
    try:
        return ask()
    except EtcdFlowsError as error:
        emit("info", f"waiting for the others: {error.message}")
        return None


def _progress(seen: Seen, ahead: MemberStatus | None) -> str:
    of = f" of {size(ahead.db_bytes)}" if ahead else ""
    if seen.status is None:
        return f"it takes over the data: {size(seen.kib * 1024)} on its disk{of}"
    behind = f", {ahead.raft_index - seen.status.raft_applied} entries behind" if ahead else ""
    return f"it catches up: entry {seen.status.raft_applied}{behind}"


def _gave_up(shell: Shell, what: str) -> GateFailed:
    log = shell.run(log_command(shell.host) + "\n", check=False, what="reading the log").text
    reason = reason_from_log(log)
    return GateFailed(
        f"{what}{f': {reason}' if reason else ''}",
        host=shell.host.name,
        state="it is no voting member yet; the other members go on",
        remedy=f"{where_it_logs(shell.host)} show the rest; when the cause is gone, run it again: it goes on from here",
    )


def ask(host: Host) -> MemberStatus:
    """Ask the member that another one is compared with."""
    with open_shell(host) as shell:
        return member_status(shell)
