"""What the steps of a replacement and of joining do, as data: frozen, without secrets, shown in the plan."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.etcd.bootstrap import WriteConfig, fingerprint
from tasks.members.record import Replacement
from tasks.restore.actions import LiftAndStart, Switch


class ChangesMembership:
    """Mark of an action before which it is looked again whether the others have a quorum."""


@dataclass(frozen=True)
class WriteReplacement:
    """Write the record of the replacement to the member's host."""

    record: Replacement

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        record = self.record
        return fingerprint("replacement", record.id, record.token, record.old_id, record.corrupt)


@dataclass(frozen=True)
class RemoveMember(ChangesMembership):
    """Take a member out of the cluster, by its id; done if there is none of that id.

    Args:
        member_id: Hexadecimal.
    """

    member_id: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("remove member", self.member_id)


@dataclass(frozen=True)
class AddLearner(ChangesMembership):
    """Make room for a member that has no vote yet; done if there is one with that peer URL.

    Args:
        name: Of the member.
    """

    name: str
    peer_url: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("add learner", self.name, self.peer_url)


@dataclass(frozen=True)
class SwitchToJoin:
    """Point the settings of a held member to a new, empty data dir with which it joins; the former ones are kept.

    Args:
        config: The files; the env file is the last, and its replacement is the switch.
        keep: Directory in which the former env file is kept.
        stale: A directory that an earlier, abandoned restore has left here, which is put aside; empty if there is none.
    """

    config: WriteConfig
    keep: str
    stale: str = ""

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("switch to join", self.config.fingerprint(), self.keep, self.stale)


@dataclass(frozen=True)
class StartJoined:
    """Lift the hold of a member and start it on its new data dir; waiting is the next step's part.

    Args:
        data_dir: Which has to be in its settings, else it is not started.
        marker: File that says that it was started, with ``said`` in it.
    """

    data_dir: str
    marker: str
    said: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("start joined", self.data_dir, self.marker, self.said)


@dataclass(frozen=True)
class SwitchToRejoin(Switch):
    """Point the settings of a held member to a new, empty data dir with which it joins the restored cluster."""


@dataclass(frozen=True)
class StartRejoined(LiftAndStart):
    """Lift the hold of a member and start it, so that it joins the restored cluster."""


@dataclass(frozen=True)
class CatchUp:
    """Wait until a new member has what the others have, as long as it gets on.

    Args:
        data_dir: Of the new member, whose growth shows that it gets on.
        via: Name of the host whose member it is compared with.
        idle: Seconds without any progress after which it is given up.
    """

    data_dir: str
    via: str
    idle: float

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("catch up", self.data_dir, self.via, self.idle)


@dataclass(frozen=True)
class Promote(ChangesMembership):
    """Give a learner its vote; done if it has one."""

    name: str
    peer_url: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("promote", self.name, self.peer_url)


@dataclass(frozen=True)
class Compare:
    """Ask the member for the hash of all its data at one revision; the answers of all are compared."""

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("compare")


@dataclass(frozen=True)
class Disarm:
    """Take the alarm CORRUPT back, which kept the cluster from serving.

    Args:
        member_ids: Hexadecimal; whose alarms they may be. If there is any other alarm, none is taken back.
    """

    member_ids: tuple[str, ...]

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("disarm", self.member_ids)


@dataclass(frozen=True)
class EndReplacement:
    """Put the record and the former settings away."""

    record: Replacement

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("end replacement", self.record.id)
