"""From what flows know to what Prometheus is told. Pure: no clock, no store, no host."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tasks.cluster.spec import Cluster, Host
from tasks.hosts.facts import HostFacts
from tasks.monitoring.own_families import Sample, Update, said
from tasks.pki.expiry import expiries
from tasks.snapshots.catalog import Catalog, candidate
from tasks.snapshots.marks import LEVELS
from tasks.snapshots.schedule import allowed

#: How old the newest backup may be where no schedule says: one a day, and half a day of patience.
UNSCHEDULED = 1.5 * 86400


def backup_age(cluster: Cluster) -> float:
    """Seconds that the newest listed backup may be old.

    Raises:
        InputError: The schedule is none.
    """
    if cluster.monitoring and cluster.monitoring.backup_age is not None:
        return cluster.monitoring.backup_age
    schedule = cluster.snapshots.schedule
    return allowed(schedule).total_seconds() if schedule else UNSCHEDULED


def store_update(catalog: Catalog, now: datetime) -> Update:
    """What a store lists (rule 22: not what a run said of itself)."""
    regular = [entry for entry in catalog.entries if candidate(entry).regular]
    values: dict[str, float | None] = {
        "store_readable": 1,
        "store_read_timestamp_seconds": now.timestamp(),
        "snapshots": len(regular),
        "snapshots_unsound": len(catalog.damaged) + sum(bool(entry.unsound) for entry in catalog.entries),
    }
    if newest := catalog.newest:
        manifest = newest.manifest
        values |= {
            "snapshot_taken_timestamp_seconds": newest.taken.timestamp(),
            "snapshot_revision": manifest.revision_min,
            "snapshot_database_bytes": manifest.db_bytes,
            "snapshot_stored_bytes": manifest.object_bytes,
            "snapshot_level": LEVELS.index(newest.level),
        }
    verified = next((entry for entry in regular if entry.verified), None)
    values["snapshot_verified_taken_timestamp_seconds"] = verified.taken.timestamp() if verified else None
    return said("store", catalog.store, values)


def unreadable_store(name: str) -> Update:
    """A store could not be read; what was known of it still is, and is told to be of then."""
    return said("store", name, {"store_readable": 0}, whole=False)


def member_update(host: Host, facts: HostFacts, now: datetime) -> Update:
    """Certificates and clock of a member's host."""
    values: dict[str, float | None] = {"member_seen_timestamp_seconds": now.timestamp()}
    if facts.clock_offset is not None:
        values |= {"clock_offset_seconds": facts.clock_offset, "clock_error_seconds": facts.clock_error}
    update = said("member", host.name, values)
    ends = tuple(
        Sample(
            "etcd_flows_certificate_not_after_timestamp_seconds",
            found.not_after.timestamp(),
            (("certificate", found.name), ("member", host.name)),
        )
        for found in expiries(host, facts, now=now)
        if found.not_after is not None
    )
    return Update("member", host.name, (*update.samples, *ends))


def backup_update(ended: datetime, seconds: float | None) -> Update:
    """How a backup ended.

    Args:
        seconds: How long it took; None if it failed, wholly or in part.
    """
    return _run("backup", ended, seconds)


def drill_update(ended: datetime, seconds: float | None) -> Update:
    """How a drill ended.

    Args:
        seconds: From the first byte to the proof; None if the snapshot is bad, or the drill could not be held.
    """
    return _run("drill", ended, seconds)


def _run(group: str, ended: datetime, seconds: float | None) -> Update:
    at = ended.timestamp()
    values: dict[str, float | None] = {f"{group}_success": 0 if seconds is None else 1}
    values[f"{group}_ended_timestamp_seconds"] = at
    if seconds is not None:
        values |= {f"{group}_succeeded_timestamp_seconds": at, f"{group}_duration_seconds": seconds}
    return said("backup" if group == "backup" else "drill", "", values, whole=False)


def recorded_drill(catalogs: Iterable[Catalog]) -> Update | None:
    """The last drill that is on record beside the snapshots, wherever it was held; None if there is none."""
    marks = [
        seen.mark
        for catalog in catalogs
        for entry in catalog.entries
        for seen in entry.marks
        if seen.mark and not seen.ignored and seen.mark.kind == "verification" and seen.mark.level == "restored"
    ]
    if not marks:
        return None
    last = max(marks, key=lambda mark: mark.at)
    good = max((mark for mark in marks if mark.ok), key=lambda mark: mark.at, default=None)
    values: dict[str, float | None] = {"drill_success": int(last.ok), "drill_ended_timestamp_seconds": last.at}
    if good is not None:
        values |= {"drill_succeeded_timestamp_seconds": good.at, "drill_duration_seconds": good.seconds}
    return said("drill", "", values, whole=False)


def restore_update(ended: datetime, *, good: bool, writable: float | None, proven: float | None) -> Update:
    """How a disaster-restore ended.

    Args:
        writable: Seconds from the first stop until clients could write; None if it did not come to that in this run.
        proven: Until the proof.
    """
    values: dict[str, float | None] = {
        "restore_success": int(good),
        "restore_ended_timestamp_seconds": ended.timestamp(),
        "restore_writable_seconds": writable,
        "restore_proven_seconds": proven,
    }
    return said("restore", "", values)


def file_update(cluster: Cluster, now: datetime) -> Update:
    """What the cluster file asks for, and when that was written.

    Raises:
        InputError: The schedule is none.
    """
    values: dict[str, float | None] = {
        "rto_target_seconds": cluster.rto_seconds,
        "backup_age_limit_seconds": backup_age(cluster) if cluster.snapshots.stores else None,
        "drill_age_limit_seconds": cluster.monitoring.drill_age if cluster.monitoring else None,
        "written_timestamp_seconds": now.timestamp(),
    }
    return said("file", "", values)
