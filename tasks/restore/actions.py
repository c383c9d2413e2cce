"""What the steps of a restore do, as data: frozen, without secrets, shown in the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tasks.cluster.spec import Hook
from tasks.etcd.bootstrap import WriteConfig, fingerprint
from tasks.restore.record import Record


@dataclass(frozen=True)
class WriteRecord:
    """Write the record of the restore to the host."""

    record: Record

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`; the plan's digest is part of the record, not the other way round."""
        record = self.record
        return fingerprint(
            "record", record.id, record.sha256, record.token, record.bump, record.members, record.dead, record.first
        )


@dataclass(frozen=True)
class PushSnapshot:
    """Bring the verified bytes to the host.

    Args:
        local: The file on the worker.
        remote: Where it goes.
        user: Owner of the cluster file's data dir; empty for whoever runs the commands there.
    """

    local: str
    remote: str
    sha256: str
    user: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("push", self.remote, self.sha256)


@dataclass(frozen=True)
class Unpack:
    """Make the new data dir from the bytes, with etcdutl; nothing that is there is touched.

    Args:
        user: Owner of the new data dir; empty for whoever runs the commands there.
    """

    record: Record
    user: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        record = self.record
        return fingerprint("unpack", record.id, record.sha256, record.token, record.bump, record.members, self.user)


@dataclass(frozen=True)
class RunHook:
    """Run a command of the cluster file's for the clients; may be run again.

    Args:
        when: ``before`` the members are stopped, or ``after`` they are proven (or are back on their former data).
    """

    hook: Hook
    when: Literal["before", "after"]

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        hook = self.hook
        secrets = [(name, str(ref)) for name, ref in hook.secrets]
        return fingerprint("hook", self.when, hook.name, hook.host.ssh.address, hook.command, hook.timeout, secrets)


@dataclass(frozen=True)
class Hold:
    """Stop the member, and see to it that nothing starts it until its hold is lifted."""

    restore: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("hold", self.restore)


@dataclass(frozen=True)
class Switch:
    """Point the settings of a held member to the restored data; the former ones are kept.

    Args:
        config: The files; the env file is the last, and its replacement is the switch.
        former: Where the data is before.
    """

    record: Record
    config: WriteConfig
    former: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("switch", self.record.id, self.config.fingerprint(), self.former)


@dataclass(frozen=True)
class LiftAndStart:
    """Lift the member's hold and start it on the data that is wanted now; waiting is the gate's part.

    Args:
        data_dir: Which has to be in its settings, else it is not started.
        restore: The restore's id.
    """

    data_dir: str
    restore: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("lift", self.data_dir, self.restore)


@dataclass(frozen=True)
class StayUp:
    """Wait until the member serves its peers and its process stays; it can't serve clients before there is a quorum."""

    seconds: float

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("stay", self.seconds)


@dataclass(frozen=True)
class Prove:
    """Ask the member what it holds; the answers of all are compared."""

    base_revision: int
    keys: int | None

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("prove", self.base_revision, self.keys)


@dataclass(frozen=True)
class Finish:
    """Put the record and the former settings away; the restore has ended."""

    record: Record

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("finish", self.record.id)


@dataclass(frozen=True)
class TurnBack:
    """Note that the restore is being taken back; from here on only that is carried on."""

    record: Record

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("turn back", self.record.id)


@dataclass(frozen=True)
class SwitchBack:
    """Put a held member's former settings back."""

    record: Record

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("switch back", self.record.id)


@dataclass(frozen=True)
class FinishBack:
    """Put the record away; everything is as it was before the restore."""

    record: Record

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("finish back", self.record.id)
