"""Alerts about backups and restore drills, of which only the flows know. Pure."""

from __future__ import annotations

from tasks.cluster.spec import Cluster
from tasks.monitoring.own_facts import backup_age
from tasks.monitoring.rule import Rule, Severity, own
from tasks.reporting.human import duration
from tasks.snapshots.clocks import TOLERATED

#: A newest backup that is so many times as old as it may be puts data at risk now.
_FAR_TOO_OLD = 3


def backup_rules(cluster: Cluster) -> tuple[Rule, ...]:
    """What is wrong when backups do not come, or nobody knows whether they are any good.

    Raises:
        InputError: The schedule is none.
    """
    if not cluster.snapshots.stores:
        return ()
    limit, name = backup_age(cluster), cluster.name
    return (
        _too_old(name, limit, limit, "warning"),
        _too_old(name, limit, limit * _FAR_TOO_OLD, "critical"),
        Rule(
            "EtcdBackupOfFuture",
            f"{own(name, 'snapshot_taken_timestamp_seconds')} - time() > {TOLERATED.total_seconds():.0f}",
            "0m",
            "warning",
            "the newest backup of " + name + " in store {{ $labels.store }} says it is from the future",
            "The newest backup that store {{ $labels.store }} lists says it will be taken in "
            "{{ $value | humanizeDuration }}: a clock was or is wrong. Until then EtcdBackupTooOld can't fire there.",
        ),
        Rule(
            "EtcdBackupMissing",
            f"{own(name, 'snapshots')} == 0",
            _held(limit),
            "critical",
            "store {{ $labels.store }} holds no backup of " + name,
            "Store {{ $labels.store }} lists no sound backup of " + name + " at all; one within "
            f"{duration(limit)} is expected.",
        ),
        Rule(
            "EtcdBackupFailed",
            f"{own(name, 'backup_success')} == 0",
            "0m",
            "warning",
            f"the last backup of {name} failed",
            f"The last backup of {name} failed, or reached only some of the stores. The newest that a store lists "
            "is what would be restored.",
        ),
        Rule(
            "EtcdStoreUnreadable",
            f"{own(name, 'store_readable')} == 0",
            "90m",
            "warning",
            "store {{ $labels.store }} of " + name + " can't be read",
            "Store {{ $labels.store }} can't be read: what it holds is not known, and "
            "backups will not reach it either.",
        ),
        *_drills(cluster),
    )


def _held(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))}m"


def _too_old(name: str, limit: float, seconds: float, severity: Severity) -> Rule:
    return Rule(
        "EtcdBackupTooOld",
        f"time() - {own(name, 'snapshot_taken_timestamp_seconds')} > {seconds:.0f}",
        "0m",
        severity,
        "the newest backup of " + name + " in store {{ $labels.store }} is too old",
        "The newest backup that store {{ $labels.store }} lists was taken {{ $value | humanizeDuration }} ago; "
        f"{duration(limit)} are allowed. What was written since would be lost.",
    )


def _drills(cluster: Cluster) -> tuple[Rule, ...]:
    name, limit = cluster.name, cluster.monitoring.drill_age if cluster.monitoring else 0.0
    rules = [
        Rule(
            "EtcdDrillFailed",
            f"{own(name, 'drill_success')} == 0",
            "0m",
            "warning",
            f"the last restore drill of {name} failed",
            f"The last restore drill of {name} found a bad snapshot, or could not be held. Until one is good, nobody "
            "knows whether the backups can be restored.",
        ),
        Rule(
            "EtcdDrillTooOld",
            f"time() - {own(name, 'drill_succeeded_timestamp_seconds')} > {limit:.0f}",
            "0m",
            "warning",
            f"no backup of {name} was restored for long",
            "The last good restore drill was held {{ $value | humanizeDuration }} ago; "
            f"{duration(limit)} are allowed.",
        ),
        Rule(
            "EtcdNeverDrilled",
            f"max by (cluster) ({own(name, 'snapshots')}) > 0"
            f" unless on (cluster) {own(name, 'drill_succeeded_timestamp_seconds')}",
            "6h",
            "info",
            f"no backup of {name} was ever restored",
            "{{ $value }} backups of " + name + " are stored, and no restore drill is on record that proved one of "
            "them good.",
        ),
    ]
    if cluster.rto_seconds is not None:
        rules.append(
            Rule(
                "EtcdDrillSlow",
                f"{own(name, 'drill_duration_seconds')} > {cluster.rto_seconds:g}",
                "0m",
                "warning",
                f"a restore of {name} would take too long",
                "The last good restore drill took {{ $value | humanizeDuration }}; a restore may take "
                f"{duration(cluster.rto_seconds)}.",
            )
        )
    return tuple(rules)
