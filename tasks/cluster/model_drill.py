"""The cluster file's keys for restore drills."""

from __future__ import annotations

from tasks.cluster.model_base import Section, entry, section
from tasks.cluster.model_hosts import SshSection
from tasks.cluster.values import Address, HostPath
from tasks.cluster.values_snapshots import CronOrNever, Span


class DrillSection(Section):
    """Restore drills."""

    schedule: CronOrNever = entry(
        "0 5 * * 0",
        "When drills are held by themselves, as cron; UTC; or `never`. Weekly by default; not where there is no "
        "store, or the identity is not on the worker, which then can't read what it has stored.",
        "0 5 1 * *",
    )
    rto: Span | None = entry(
        None,
        "How long a restore may take (recovery time objective): drills say whether they kept to it, and their picture "
        "shows it. Default: none is set.",
        "15m",
    )
    machine: Address = entry(
        "local",
        "Where drills restore: `local` (the machine that the flow runs on), or the address of a machine that is no "
        "member's, over SSH. local by default; another one shows what a machine like the members' needs.",
        "10.0.0.31",
    )
    ssh: SshSection = section(
        SshSection,
        "Login settings of that machine, key by key over the top-level `ssh`; no sudo unless said here.",
        {"user": "drill"},
    )
    directory: HostPath = entry(
        "/var/tmp",  # noqa: S108 - what is made in it is private
        "Directory on that machine with room for the database, twice; the drill makes one of its own in it. /var/tmp, "
        "as /tmp often is in memory. On `local` --scratch says where.",
        "/srv/drills",
    )
