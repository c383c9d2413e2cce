"""A new cluster that begins with a snapshot's data: where that may be begun, and whether it has been done. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.cluster.spec import Cluster
from tasks.errors import Refused
from tasks.etcd.restored import current_data_dir, last_path, record_path
from tasks.hosts.facts import HostFacts
from tasks.restore.record import BOOTSTRAP, Record, from_json

_UNTOUCHED = "nothing was changed on any host"


def made_from(cluster: Cluster, facts: Mapping[str, HostFacts]) -> Record | None:
    """What this cluster was made from, if it was made from a snapshot and serves that data still; None otherwise.

    A host without it may be a new member, or one that lost its data: that is the ordinary bootstrap's to judge.
    """
    for host in cluster.hosts:
        content = facts[host.name].file(last_path(host)).content
        try:
            record = from_json(content or b"")
        except ValueError:
            continue
        if record.flow == BOOTSTRAP and facts[host.name].data_dir.path == record.data_dir(host):
            return record
    return None


def data_refusals(cluster: Cluster, facts: Mapping[str, HostFacts]) -> tuple[Refused, ...]:
    """Hosts on which something is in the data dir already: only bare ones can be begun with.

    What a run of this kind has begun, whose record is there, does not count.
    """
    return tuple(
        Refused(
            f"{current_data_dir(host, seen)} is not empty ({', '.join(seen.data_dir.entries)}), so this host "
            "can't begin with a snapshot's data",
            host=host.name,
            state=_UNTOUCHED,
            remedy="disaster-restore brings a snapshot to a cluster that has data, and keeps what is there; or name "
            "another host, or another data_dir",
        )
        for host in cluster.hosts
        if (seen := facts[host.name]).data_dir.kind in ("etcd", "foreign") and not seen.file(record_path(host)).present
    )


def other_members(cluster: Cluster, record: Record) -> tuple[Refused, ...]:
    """Whether the cluster file still has the members that a restore was begun for.

    Args:
        cluster: Without those that are declared dead.
    """
    now = tuple((host.name, host.peer_url) for host in cluster.hosts)
    if set(now) == set(record.members):
        return ()
    return (
        Refused(
            f"the restore that is under way is for {_words(record.members)}; the cluster file has {_words(now)}",
            state=_UNTOUCHED,
            remedy="members are fixed in its record: put the cluster file right, or begin anew with --start-over, as "
            "long as no restored member can have been serving",
        ),
    )


def _words(members: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name} ({url})" for name, url in members)


def other_request(record: Record, *, clone: bool) -> tuple[Refused, ...]:
    """Whether what was begun is what is asked for now, as far as that shows in more than the snapshot."""
    if record.flow != BOOTSTRAP:
        why, remedy = f"a restore of {record.cluster} is under way on these hosts", f"let it end first: {record.again}"
    elif record.clone != clone:
        kind = "a clone" if record.clone else "no clone"
        why, remedy = f"what was begun on these hosts is {kind}", f"go on with it: {record.again}"
    else:
        return ()
    return (Refused(why, state=_UNTOUCHED, remedy=remedy),)
