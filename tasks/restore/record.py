"""The record of a restore: what must be the same on all members and in every run, fixed before the first stop.

It is written to every host before any member is stopped. A run that was cut off is carried on by one that reads it and
never makes new values: member and cluster ids hash peer URLs and token, so another token would be another cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.cluster.spec import Cluster, Host
from tasks.errors import Refused
from tasks.etcd.restored import kept_restores, record_path, restore_dir
from tasks.hosts.facts import HostFacts
from tasks.hosts.records import RecordFormat

RESTORE = "disaster-restore"
BOOTSTRAP = "bootstrap-cluster"


@dataclass(frozen=True)
class Record:
    """One restore.

    Args:
        id: Of this restore, 16 hex digits.
        cluster: Name of the cluster.
        uuid: Our own identity of the cluster; stays as it was.
        snapshot: The snapshot's id, or ``file:NAME``.
        taken: When it was taken, Unix time.
        sha256: Of the database file, trailer included.
        bytes: Its size.
        trailer: Whether it ends in etcd's own checksum; a copy of ``member/snap/db`` does not.
        revision: Its newest revision.
        keys: Live keys in it, None if nobody counted.
        version: etcd's, that restores it and runs then.
        token: The initial-cluster token of the restored cluster.
        bump: Added to the revision, see :mod:`tasks.restore.bump`; 0 where etcdutl can't and that was accepted.
        members: Name and peer URL of all members of the restored cluster.
        dead: Members of the cluster file that were declared dead; they are no members any more.
        had_quorum: Whether the old cluster could still decide; without that there is no way back.
        began: Unix time at which the values were fixed.
        plan: Digest of the plan that was shown, empty while that is being made.
        requested_by: As claimed.
        reason: As claimed.
        first: The only member that is restored, whose data the others take over by joining it; empty to restore all.
        flow: Which began it: a restore of the members' cluster, or the making of a new one.
        of_cluster: Name of the cluster whose snapshot it is, as that says; empty if it does not.
        of_uuid: That cluster's own identity, likewise.
        clone: Whether the cluster is a copy with an identity of its own, which no client remembers.
    """

    id: str
    cluster: str
    uuid: str
    snapshot: str
    taken: float
    sha256: str
    bytes: int
    trailer: bool
    revision: int
    keys: int | None
    version: str
    token: str
    bump: int
    members: tuple[tuple[str, str], ...]
    dead: tuple[str, ...]
    had_quorum: bool
    began: float
    plan: str = ""
    requested_by: str = ""
    reason: str = ""
    first: str = ""
    flow: str = RESTORE
    of_cluster: str = ""
    of_uuid: str = ""
    clone: bool = False

    @property
    def again(self) -> str:
        """The command that goes on with it."""
        if self.flow == BOOTSTRAP:
            what = self.snapshot.removeprefix("file:")
            options = f"--from-snapshot {what}" + (" --clone" if self.clone else "")
            if self.of_cluster not in ("", self.cluster):
                options += f" --from-cluster {self.of_cluster}"
            return f"etcd-flows bootstrap-cluster {self.cluster} {options}"
        return f"etcd-flows disaster-restore {self.cluster} --confirm {self.cluster}"

    @property
    def base_revision(self) -> int:
        """The revision at which the restored cluster begins; everything before it is compacted."""
        return self.revision + self.bump

    @property
    def initial_cluster(self) -> str:
        """As etcdutl and etcd want it: of the members that are restored."""
        return ",".join(f"{name}={url}" for name, url in self.members if self.first in ("", name))

    @property
    def quorum(self) -> int:
        """Members that must agree in the restored cluster, as long as nobody has joined it."""
        return 1 if self.first else len(self.members) // 2 + 1

    def restores(self, name: str) -> bool:
        """Whether this member's data is made from the snapshot; the others' is what they take over by joining."""
        return self.first in ("", name)

    def data_dir(self, host: Host) -> str:
        """The new data dir: on the same filesystem as the old one, and within the unit's writable paths."""
        return f"{host.paths.data_dir}/restored-{self.id[:8]}"

    def file(self, host: Host) -> str:
        """Where the snapshot is put on the host, until it is unpacked."""
        return f"{host.paths.data_dir}/restore-{self.id[:8]}.db"

    def kept_in(self, host: Host) -> str:
        """Where the record and the former settings are kept once the restore has ended."""
        return f"{kept_restores(host)}/{self.id}"


#: How it is written to hosts.
FORMAT = RecordFormat("etcd-flows-restore/1", Record)
to_json, from_json = FORMAT.to_json, FORMAT.from_json


def record_on(host: Host, facts: HostFacts) -> Record | None:
    """The record of the restore that is under way, as this host has it; None if it has none.

    Raises:
        Refused: It is there and can't be read.
    """
    fact = facts.file(record_path(host))
    if not fact.present:
        return None
    try:
        return from_json(fact.content or b"")
    except ValueError as error:
        raise Refused(
            f"{record_path(host)} is damaged ({error}), so the restore that is under way can't be carried on from it",
            host=host.name,
            state="nothing was changed",
            remedy=f"copy it from another member (it is the same on all); {restore_dir(host)} must not be removed",
        ) from None


def find_record(cluster: Cluster, facts: Mapping[str, HostFacts]) -> Record | None:
    """The record of the restore that is under way; None if none is.

    Hosts without one are where a run was cut off while it wrote or ended; the others tell.

    Raises:
        Refused: Hosts have different ones, or one of another cluster.
    """
    found = {
        host.name: record
        for host in cluster.hosts
        if host.name in facts and (record := record_on(host, facts[host.name])) is not None
    }
    if not found:
        return None
    if len({record.id for record in found.values()}) > 1 or len(set(found.values())) > 1:
        said = ", ".join(f"{name}: restore {record.id[:8]} of {record.snapshot}" for name, record in found.items())
        raise Refused(
            f"the hosts have records of different restores ({said})",
            state="nothing was changed",
            remedy="find out which one is meant; --start-over makes a new one on all hosts, as long as none of them "
            "can have been serving",
        )
    record = next(iter(found.values()))
    if record.cluster != cluster.name:
        raise Refused(
            f"a restore of the cluster {record.cluster!r} is under way on these hosts, not of {cluster.name!r}",
            state="nothing was changed",
            remedy="name that cluster's file, or finish its restore first",
        )
    return record
