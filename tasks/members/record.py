"""The record of a replacement: what is fixed on the member's host before anything is changed there.

Who is a member is told by the cluster itself, and never by this record; it only says which id was the broken member's,
and where the new data goes. A run that was cut off is carried on from both. If the record is lost with the host, the
next run makes another one, and the cluster tells how far the membership has come.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.cluster.spec import Host
from tasks.etcd.restored import joined_path, replacement_path
from tasks.hosts.facts import HostFacts
from tasks.hosts.records import RecordFormat


@dataclass(frozen=True)
class Replacement:
    """One member, rebuilt in its place.

    Args:
        id: Hexadecimal; names the new data dir.
        cluster: Name of the cluster.
        uuid: Our own identity of the cluster.
        token: Its initial-cluster token now; after a restore the record is of no use any more.
        member: Name of the member.
        old_id: etcd's id of the broken member, which has to go; empty if it is a member no more.
        corrupt: Ids about which an alarm CORRUPT is raised that has to be taken back when all members hold the same
            again: the broken one's, those of nobody, ``0`` where etcd could not tell.
        began: Unix time.
        requested_by: As claimed.
        reason: As claimed.
    """

    id: str
    cluster: str
    uuid: str
    token: str
    member: str
    old_id: str
    corrupt: tuple[str, ...]
    began: float
    requested_by: str = ""
    reason: str = ""

    def data_dir(self, host: Host) -> str:
        """The new data dir: on the same filesystem as the old one, and within the unit's writable paths."""
        return f"{host.paths.data_dir}/joined-{self.id[:8]}"

    def kept_in(self, host: Host) -> str:
        """Where the record and the former settings are kept when all is done."""
        return f"{host.paths.record_dir}/replacements/{self.id}"


#: How it is written to hosts.
FORMAT = RecordFormat("etcd-flows replacement 1", Replacement)
to_json, from_json = FORMAT.to_json, FORMAT.from_json


def record_on(host: Host, facts: HostFacts) -> Replacement | None:
    """The record of the replacement that is under way; one that can't be read is as good as none (see the module)."""
    try:
        return from_json(facts.file(replacement_path(host)).content or b"")
    except ValueError:
        return None


def has_started(host: Host, facts: HostFacts, record: Replacement) -> bool:
    """Whether the new member was started on its new data dir, now or before."""
    said = (facts.file(joined_path(host)).content or b"").decode(errors="replace").strip()
    return said == record.id and facts.data_dir.path == record.data_dir(host)
