"""What the flows tell Prometheus: names, meanings, and how a new finding replaces an old one. Pure.

Names follow Prometheus's conventions (prometheus.io/docs/practices/naming): base units, ``_timestamp_seconds`` for
points in time. All are gauges, since they tell how things are and not how often something happened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

#: What a metric is about: each store, each member, or something that there is one of in a cluster.
Group = Literal["store", "member", "backup", "drill", "restore", "file"]

#: Groups of which a cluster has several; the label that tells them apart has the same name.
MANY = ("store", "member")


@dataclass(frozen=True)
class Family:
    """One metric."""

    name: str
    group: Group
    help: str


_P = "etcd_flows_"

_SAID: tuple[tuple[Group, str, str], ...] = (
    ("store", "store_readable", "1 if the store could be read the last time that a flow tried, else 0."),
    ("store", "store_read_timestamp_seconds", "When the store was last read; what is said of it is of then."),
    ("store", "snapshots", "Sound backups of the cluster that the store lists."),
    ("store", "snapshots_unsound", "Snapshots that the store lists and that are damaged, not ours, or found bad."),
    ("store", "snapshot_taken_timestamp_seconds", "When the newest sound backup that the store lists was taken."),
    ("store", "snapshot_revision", "Revision of etcd that the newest listed backup holds at least."),
    ("store", "snapshot_database_bytes", "Size of the database in the newest listed backup."),
    ("store", "snapshot_stored_bytes", "Bytes that the newest listed backup takes in the store."),
    (
        "store",
        "snapshot_level",
        "How far it is proven: 0 on its way, 1 as stored, 2 opened, 3 restored.",
    ),
    (
        "store",
        "snapshot_verified_taken_timestamp_seconds",
        "When the newest listed backup that was opened or restored, and found good, was taken.",
    ),
    ("member", "member_seen_timestamp_seconds", "When the member's host was last looked at by check-cluster."),
    ("member", "certificate_not_after_timestamp_seconds", "When a certificate on the member's host ends."),
    ("member", "clock_offset_seconds", "How far the host's clock was ahead of the clock of the flows' machine."),
    ("member", "clock_error_seconds", "Within what the measured offset of the clock is right."),
    ("backup", "backup_success", "1 if the last backup reached every store and all after it went well, else 0."),
    ("backup", "backup_ended_timestamp_seconds", "When the last backup ended, well or not."),
    ("backup", "backup_succeeded_timestamp_seconds", "When the last good backup ended."),
    ("backup", "backup_duration_seconds", "How long the last good backup took."),
    ("drill", "drill_success", "1 if the last restore drill could be held and found a good snapshot, else 0."),
    ("drill", "drill_ended_timestamp_seconds", "When the last drill ended, well or not."),
    ("drill", "drill_succeeded_timestamp_seconds", "When the last good drill ended."),
    ("drill", "drill_duration_seconds", "From the first byte to the proof in the last good drill."),
    ("restore", "restore_success", "1 if the last disaster-restore ended with a proven cluster, else 0."),
    ("restore", "restore_ended_timestamp_seconds", "When the last disaster-restore ended."),
    ("restore", "restore_writable_seconds", "From the first stop until clients could write again, last restore."),
    ("restore", "restore_proven_seconds", "From the first stop until the proof (RTO) in the last restore."),
    ("file", "rto_target_seconds", "How long a restore may take (drill.rto of the cluster file)."),
    ("file", "backup_age_limit_seconds", "How old the newest backup in a store may be."),
    ("file", "drill_age_limit_seconds", "How long ago the last good drill may be."),
    ("file", "written_timestamp_seconds", "When these metrics were last written, by any flow."),
)
FAMILIES = tuple(Family(_P + name, group, text) for group, name, text in _SAID)
_GROUPS = {family.name: family.group for family in FAMILIES}

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sample:
    """One value.

    Args:
        name: Of its family.
        labels: Besides the cluster, in alphabetical order.
    """

    name: str
    value: float
    labels: Labels = ()

    @property
    def subject(self) -> str:
        """Which store or member it is about; empty where there is one of it."""
        return next((value for label, value in self.labels if label in MANY), "")


@dataclass(frozen=True)
class Update:
    """What a flow found out about one thing.

    Args:
        group: Of all samples.
        subject: The store's or member's name; empty where there is one of it.
        whole: Whether it is all that is known now: what else was said of the subject no longer holds.
    """

    group: Group
    subject: str
    samples: tuple[Sample, ...]
    whole: bool = True


def said(group: Group, subject: str, values: dict[str, float | None], *, whole: bool = True) -> Update:
    """An update from values by name (without the prefix); those that are None are left out."""
    labels: Labels = ((group, subject),) if group in MANY else ()
    samples = tuple(Sample(_P + name, value, labels) for name, value in values.items() if value is not None)
    return Update(group, subject, samples, whole)


def merged(old: Iterable[Sample], updates: Iterable[Update], subjects: Collection[str]) -> tuple[Sample, ...]:
    """What is known after some updates: all that was known before, but for what they replace.

    Args:
        old: As it was last written, possibly by another version.
        subjects: The stores and members of the cluster file; nothing is said of others any more.
    """
    known = {
        (sample.name, sample.labels): sample
        for sample in old
        if sample.name in _GROUPS and (_GROUPS[sample.name] not in MANY or sample.subject in subjects)
    }
    for update in updates:
        if _older(known.values(), update):
            continue
        if update.whole:
            of = (update.group, update.subject)
            known = {key: s for key, s in known.items() if (_GROUPS[s.name], s.subject) != of}
        known |= {(sample.name, sample.labels): sample for sample in update.samples}
    return tuple(known.values())


def _older(known: Iterable[Sample], update: Update) -> bool:
    """Whether it is about a run that ended before the one that is known: a drill found in a store's records, say."""
    name = f"{_P}{update.group}_ended_timestamp_seconds"
    had = next((sample.value for sample in known if sample.name == name), None)
    new = next((sample.value for sample in update.samples if sample.name == name), None)
    return had is not None and new is not None and new < had
