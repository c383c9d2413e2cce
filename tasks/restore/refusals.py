"""Why a restore must not be begun. Pure; everything here is decided before anything stops."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError, HostUnreachable, Refused
from tasks.etcd.identity import found_on
from tasks.etcd.members import MemberStatus
from tasks.etcd.takeover import not_ours
from tasks.etcd.versions import parse_version, traits
from tasks.hosts.facts import HostFacts
from tasks.reporting.human import size
from tasks.restore.record import Record
from tasks.restore.source import Source
from tasks.restore.stand import stands

#: What etcd's log takes on top of the data: etcd makes two segments of 64 MB at once; and room to breathe.
SPARE = 256 << 20
_UNTOUCHED = "nothing was changed"

#: What a person may say yes to, one by one.
CONSENTS = {
    "untrusted": "the snapshot's manifest is not signed by the trusted key",
    "other-cluster": "the snapshot is of another cluster",
    "no-checksum": "the file has no checksum of its own (a copy of member/snap/db)",
    "other-version": "the snapshot is of the minor version before the one that will run",
    "no-bump": "etcdutl before 3.5.10 can't raise revisions: clients that remember them are silently damaged",
    "has-quorum": "the cluster goes on without the member that is broken, and could get it rebuilt",
    "no-hooks": "the cluster file's hooks for clients are not run",
    "no-safety-snapshot": "what the members hold now is not stored before",
    "old-members-off": "the members that the cluster had can't be seen, but are off and stay off",
}
#: Of these, the ones that are asked for by disaster-restore, and by bootstrap-cluster of a snapshot.
OF_RESTORE = tuple(word for word in CONSENTS if word != "old-members-off")
OF_BOOTSTRAP = ("untrusted", "other-cluster", "no-checksum", "other-version", "no-bump", "old-members-off")


def _no(message: str, remedy: str, host: str | None = None) -> Refused:
    return Refused(message, host=host, state=_UNTOUCHED, remedy=remedy)


def or_leave_out(error: EtcdFlowsError, name: str, more: str = "") -> EtcdFlowsError:
    """Why a host can't be asked; where it may be off, also how to do without it.

    Args:
        more: Options that this takes besides.
    """
    return error.or_else(f"leave it out: --dead {name}{more}") if isinstance(error, HostUnreachable) else error


def dead_members(
    cluster: Cluster,
    dead: Collection[str],
    fenced: Collection[str],
    errors: Mapping[str, EtcdFlowsError],
) -> tuple[EtcdFlowsError, ...]:
    """Who may be left out, and who not.

    Args:
        cluster: All members of the cluster file.
        dead: Declared dead.
        fenced: Of these, typed to be surely off and to stay off.
        errors: Why hosts could not be asked.
    """
    names = [host.name for host in cluster.hosts]
    found: list[EtcdFlowsError] = [
        _no(f"{name!r} is declared dead, but the cluster file has no such member", f"members are {', '.join(names)}")
        for name in (*dead, *fenced)
        if name not in names
    ]
    found += [or_leave_out(error, name) for name, error in errors.items() if name not in dead]
    found += [
        _no("it is declared dead, but it answers", f"leave --dead {name} out, or switch the host off", name)
        for name in dead
        if name in names and name not in errors
    ]
    if set(dead) >= set(names):
        found.append(_no("all members are declared dead", "describe the new hosts in the cluster file"))
    quorum = len(names) // 2 + 1
    if len(set(dead)) >= quorum and not set(dead) <= set(fenced):
        found.append(
            _no(
                f"{len(set(dead))} of {len(names)} members can't be seen ({', '.join(dead)}): together they could "
                "still be serving as the old cluster, and clients would be split between the two",
                "switch them off, or cut their network for good; then say so for each: "
                + " ".join(f"--fenced {name}" for name in dead),
            )
        )
    return tuple(found)


def source_refusals(cluster: Cluster, source: Source, uuid: str, accept: Collection[str]) -> tuple[Refused, ...]:
    """Whether these bytes may be put into this cluster.

    Args:
        uuid: Of the cluster as its hosts know it; empty if they don't.
        accept: Of :data:`CONSENTS`.
    """
    found = []
    if source.untrusted and "untrusted" not in accept:
        found.append(
            _no(
                f"snapshot {source.name} is {source.untrusted}: anyone who can write to the store may have made it",
                "choose one that is signed; only if you know where it comes from: --accept untrusted",
            )
        )
    if not source.trailer and "no-checksum" not in accept:
        found.append(
            _no(
                f"{source.name} does not end in etcd's own checksum, so that damage can't be seen",
                "use a snapshot made by etcdctl or by snapshot-backup; if there is none: --accept no-checksum",
            )
        )
    if source.cluster and (source.cluster != cluster.name or _differ(source.uuid, uuid)):
        whose = f"{source.cluster!r}" + (f" ({source.uuid})" if source.uuid else "")
        if "other-cluster" not in accept:
            found.append(
                _no(
                    f"snapshot {source.name} is of the cluster {whose}, this is {cluster.name!r} ({uuid or 'unknown'})",
                    "if this cluster shall really get the other's data: --accept other-cluster",
                )
            )
    return (*found, *_version(cluster, source, accept), *_quota(cluster, source))


def _differ(one: str, other: str) -> bool:
    return bool(one and other and one != other)


def _version(cluster: Cluster, source: Source, accept: Collection[str]) -> list[Refused]:
    wanted = cluster.release.version
    found = []
    if not traits(wanted).bump_revision and "no-bump" not in accept:
        found.append(
            _no(
                f"etcdutl {wanted} can't raise revisions (3.5.10 and later can), which would silently damage the "
                "caches of clients such as Kubernetes",
                "set a later version of the same line in the cluster file; only if no client remembers revisions: "
                "--accept no-bump",
            )
        )
    if not source.version:
        return found
    mine, its = parse_version(wanted)[:2], parse_version(source.version)[:2]
    if its > mine:
        found.append(
            _no(
                f"the snapshot is of etcd {source.version}, the cluster file says {wanted}, which can't read it",
                f"set version to {its[0]}.{its[1]} in the cluster file",
            )
        )
    elif its != mine and (mine != (its[0], its[1] + 1) or "other-version" not in accept):
        found.append(
            _no(
                f"the snapshot is of etcd {source.version}, the cluster file says {wanted}",
                f"restore it with {its[0]}.{its[1]} and upgrade afterwards; the next minor version can read it too: "
                "--accept other-version",
            )
        )
    return found


def _quota(cluster: Cluster, source: Source) -> list[Refused]:
    if source.bytes <= cluster.etcd.quota_bytes:
        return []
    return [
        _no(
            f"the snapshot has {size(source.bytes)}, the database's quota is {size(cluster.etcd.quota_bytes)}: the "
            "restored cluster would refuse every write",
            "raise etcd.quota in the cluster file",
        )
    ]


def refuse_overtaken(record: Record, statuses: Mapping[str, MemberStatus]) -> None:
    """Go on with a restore that was begun long ago only if its bump is still enough.

    Args:
        statuses: Of the old members, which went on meanwhile.

    Raises:
        Refused: They have given out revisions that would come again.
    """
    newest = max((status.revision for status in statuses.values()), default=0)
    if newest >= record.base_revision:
        raise Refused(
            f"the old members are at revision {newest} by now, the restore that was begun would go on from "
            f"{record.base_revision}: revisions that clients have seen would come again",
            state="nothing was changed",
            remedy="begin anew: --start-over",
        )


def host_refusals(cluster: Cluster, facts: Mapping[str, HostFacts], record: Record) -> tuple[EtcdFlowsError, ...]:
    """What speaks against it on the hosts: whose they are, and whether there is room."""
    seen = stands(cluster, facts, record)
    found: list[EtcdFlowsError] = []
    for host in cluster.hosts:
        found += whose(cluster, host, facts[host.name])
        if seen[host.name].place != "turned" and not seen[host.name].unpacked:
            found += _room(host, facts[host.name], record)
    return tuple(found)


def whose(cluster: Cluster, host: Host, facts: HostFacts) -> list[EtcdFlowsError]:
    """Why this host is not ours to work on; empty if it is."""
    try:
        known = found_on(host, facts)
    except Refused as error:
        return [error]
    if known is not None and known.cluster not in (None, cluster.name):
        return [
            _no(
                f"this host belongs to the cluster {known.cluster!r}, not to {cluster.name!r}",
                "check the addresses in the cluster file",
                host.name,
            )
        ]
    if known is not None and known.cluster and known.member != host.name and facts.data_dir.kind == "etcd":
        return [
            _no(
                f"this host is the member {known.member!r}, the cluster file calls it {host.name!r}",
                "check names and addresses in the cluster file: two may be exchanged; put the old name back",
                host.name,
            )
        ]
    if not_ours(host, facts):
        return [
            _no(
                "etcd is at work here, and was not put there by this tool, so where its data is is not surely known",
                "bootstrap-cluster takes it over; if it can't any more, move its data and its unit away first",
                host.name,
            )
        ]
    return []


def needed(record: Record) -> int:
    """Bytes of room that a member's filesystem has to have: the snapshot, what is made of it, and etcd's log."""
    return 2 * record.bytes + SPARE


def _room(host: Host, facts: HostFacts, record: Record) -> list[EtcdFlowsError]:
    need, free = needed(record), facts.data_dir.free_bytes
    if free is None or free >= need:
        return []
    return [
        _no(
            f"the filesystem of {host.paths.data_dir} has {size(free)} free, {size(need)} are needed (the snapshot, "
            "what is made of it beside the present data, and etcd's log)",
            "make room there; old data dirs of earlier restores are what may go first",
            host.name,
        )
    ]
