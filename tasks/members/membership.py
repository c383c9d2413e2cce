"""Telling the cluster who is a member: asked and told on one member's host, with the etcdctl that is there.

The member list is looked at before each call and after one that failed: a call that got no answer may have been carried
out. etcd refuses by itself what would cost the quorum (strict reconfiguration), also for a few seconds after a member
has come or gone; that passes, and is waited for.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable

from tasks.errors import CommandFailed, GateFailed
from tasks.etcd.members import Membership, etcdctl, last_line, parse_members
from tasks.hosts.shell import Shell
from tasks.members.actions import AddLearner, Disarm, Promote, RemoveMember
from tasks.members.standing import parse_alarms

#: Seconds that etcd's refusals of a change of members are waited for. Its own rule looks 5 s back (HealthInterval).
PATIENCE = 60.0
_POLL = 0.5
#: What passes by itself: etcd's rpctypes, and etcdctl's own words for no answer.
_PASSING = (
    "unhealthy cluster",
    "not enough started members",
    "in sync with leader",
    "too many requests",
    "leader changed",
    "no leader",
    "request timed out",
    "deadline exceeded",
)


def remove_member(shell: Shell, action: RemoveMember) -> None:
    """Take the member out.

    Raises:
        CommandFailed: etcd refuses.
    """

    def done(members: tuple[Membership, ...]) -> bool:
        return all(member.member_id != action.member_id for member in members)

    _until(shell, done, lambda _: f"member remove {action.member_id}", "removing the member")


def add_learner(shell: Shell, action: AddLearner) -> None:
    """Add the learner.

    Raises:
        CommandFailed: etcd refuses.
    """

    def done(members: tuple[Membership, ...]) -> bool:
        return any(action.peer_url in member.peer_urls for member in members)

    command = shlex.join(["member", "add", action.name, f"--peer-urls={action.peer_url}", "--learner"])
    _until(shell, done, lambda _: command, "adding the learner")


def promote(shell: Shell, action: Promote) -> None:
    """Give the learner its vote.

    Raises:
        CommandFailed: It is no member, or etcd refuses.
    """

    def entry(members: tuple[Membership, ...]) -> Membership:
        found = next((member for member in members if action.peer_url in member.peer_urls), None)
        if found is None:
            raise CommandFailed(
                f"{action.name} is no member any more: somebody has removed it meanwhile",
                host=action.name,
                remedy="run it again: it is added anew",
            )
        return found

    def command(members: tuple[Membership, ...]) -> str:
        return f"member promote {entry(members).member_id}"

    _until(shell, lambda members: not entry(members).learner, command, f"promoting {action.name}")


def members_of(shell: Shell) -> tuple[Membership, ...]:
    """The member list, linearizable.

    Raises:
        CommandFailed: There is no quorum, or no answer.
    """
    ctl = etcdctl(shell.host)
    out = shell.run(f"{ctl} member list -w json\n", timeout=15, check=False, what="asking for the members")
    if out.code != 0:
        raise CommandFailed(
            f"the member does not tell who the members are (no quorum?): {last_line(out.stderr)}",
            host=shell.host.name,
            state="members stay as they are",
            remedy="run it again: it looks first",
        )
    return parse_members(out.text)


def _until(
    shell: Shell,
    done: Callable[[tuple[Membership, ...]], bool],
    command: Callable[[tuple[Membership, ...]], str],
    what: str,
) -> None:
    end = time.monotonic() + PATIENCE
    said = ""
    while not done(members := members_of(shell)):
        if time.monotonic() > end:
            raise _refused(shell, what, said)
        out = shell.run(f"{etcdctl(shell.host)} {command(members)}\n", timeout=30, check=False, what=what)
        said = last_line(out.stderr)
        if out.code != 0 and not any(passing in out.stderr for passing in _PASSING):
            if done(members_of(shell)):
                return
            raise _refused(shell, what, said)
        if out.code != 0:
            time.sleep(_POLL)


def _refused(shell: Shell, what: str, said: str) -> CommandFailed:
    return CommandFailed(
        f"{what} was refused by etcd: {said or 'no reason given'}",
        host=shell.host.name,
        state="the other members go on; nothing is lost",
        remedy="see whether they are healthy (check-cluster); then run it again: it goes on from here",
    )


def disarm(shell: Shell, action: Disarm) -> None:
    """Take the alarms back, if they all are those; etcdctl can only take all back at once.

    Raises:
        GateFailed: There are others.
    """
    ctl = etcdctl(shell.host)
    lines = tuple(shell.run(f"{ctl} alarm list\n", what="asking for the alarms").text.splitlines())
    alarms = parse_alarms(lines)
    others = [f"{kind} of member {who}" for kind, who in alarms if kind != "CORRUPT" or who not in action.member_ids]
    if others:
        raise GateFailed(
            f"the alarm CORRUPT is not taken back, since there are others: {', '.join(others)}",
            host=shell.host.name,
            state="the members hold one and the same data, and refuse clients as long as the alarm CORRUPT is there",
            remedy="see to the others; then run `etcdctl alarm disarm` on that host, and this again",
        )
    if alarms:
        shell.run(f"{ctl} alarm disarm\n", what="taking the alarm back")
