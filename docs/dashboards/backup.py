"""What would be lost, and how long a restore would take: as the flows tell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from docs.dashboards.panels import (
    GREEN,
    NOT_TOLD,
    ORANGE,
    PLAIN,
    RED,
    YES_NO,
    Column,
    Panel,
    Query,
    Steps,
    lines,
    members,
    number,
    rows,
    share,
    told,
)

_ENDED = {"0": ("failed", RED), "1": ("good", GREEN)}
_LEVELS = {"0": ("on its way", RED), "1": ("stored", ORANGE), "2": ("opened", GREEN), "3": ("restored", GREEN)}
_NEVER = "never held"


def sections() -> Sequence[tuple[str, Sequence[Panel]]]:
    """Headings and panels."""
    return (("Backups", _backups()), ("In the stores", _stores()), ("Drills", _drills()), ("Restores", _restores()))


def _since(name: str) -> str:
    return f"time() - {told(name)}"


def _outcome(title: str, description: str, name: str, empty: str = NOT_TOLD) -> Panel:
    steps = ((None, RED), (1, GREEN))
    return number(title, description, "none", Query(told(name), "outcome"), steps=steps, texts=_ENDED, empty=empty)


def _seconds(
    title: str, description: str, expr: str, legend: str, empty: str = NOT_TOLD, *, width: int = 4, steps: Steps = PLAIN
) -> Panel:
    return number(title, description, "s", Query(expr, legend), empty=empty, width=width, steps=steps)


def _ago(title: str, description: str, name: str, empty: str = NOT_TOLD) -> Panel:
    return _seconds(title, description, _since(name), "ago", empty)


_told_lines = partial(lines, empty=NOT_TOLD)


def _backups() -> Sequence[Panel]:
    taken = told("snapshot_taken_timestamp_seconds")
    limit = told("backup_age_limit_seconds")
    revision = f"max(etcd_debugging_mvcc_current_revision{members()})"
    return (
        _outcome("Last backup", "Whether it reached every store and all after it went well.", "backup_success"),
        _ago("Last backup ended", "How long ago, well or not.", "backup_ended_timestamp_seconds"),
        _ago("Last good backup", "How long ago it ended.", "backup_succeeded_timestamp_seconds"),
        _seconds(
            "It took",
            "The last good backup, from its start to its end.",
            told("backup_duration_seconds"),
            "duration",
        ),
        _seconds("May be old", "How old the newest backup in a store may be.", limit, "limit"),
        _seconds(
            "Told",
            "How long ago any flow wrote these metrics; all here is of then.",
            _since("written_timestamp_seconds"),
            "ago",
            steps=((None, GREEN), (2 * 3600, ORANGE), (86400, RED)),
        ),
        _told_lines(
            "Age of the newest backup (RPO)",
            "What was written since the newest backup that a store lists would be lost.",
            "s",
            Query(f"time() - {taken}", "{{store}}"),
            Query(limit, "allowed", dashed=True),
            width=12,
        ),
        share(
            "Age against what is allowed",
            "Of the newest backup in each store; 100% is an alert.",
            Query(f"(time() - {taken}) / on (cluster) group_left () {limit}", "{{store}}"),
            width=6,
            steps=((None, GREEN), (0.8, ORANGE), (1, RED)),
            empty=NOT_TOLD,
        ),
        _told_lines(
            "Revisions not in a backup",
            "What was written since the newest backup of each store began.",
            "short",
            Query(f"scalar({revision}) - {told('snapshot_revision')}", "{{store}}"),
            width=6,
        ),
    )


def _stores() -> Sequence[Panel]:
    def of(name: str) -> str:
        return f"max by (store) ({told(name)})"

    def ago(name: str) -> str:
        return f"time() - {of(name)}"

    return (
        rows(
            "Stores",
            "What each lists, of when it was last read.",
            "store",
            Column("readable", of("store_readable"), texts=YES_NO),
            Column("read ago", ago("store_read_timestamp_seconds"), "s"),
            Column("backups", of("snapshots")),
            Column("unsound", of("snapshots_unsound")),
            Column("newest taken ago", ago("snapshot_taken_timestamp_seconds"), "s"),
            Column("newest proven", of("snapshot_level"), texts=_LEVELS),
            Column("newest verified taken ago", ago("snapshot_verified_taken_timestamp_seconds"), "s"),
            Column("takes", of("snapshot_stored_bytes"), "bytes"),
            empty=NOT_TOLD,
        ),
        _told_lines(
            "Backups",
            "Sound ones that each store lists, and others: damaged, not ours, or found bad.",
            "short",
            Query(told("snapshots"), "{{store}}"),
            Query(told("snapshots_unsound"), "{{store}} unsound"),
        ),
        _told_lines(
            "Size of the newest",
            "The database in it, and what it takes in the store.",
            "bytes",
            Query(told("snapshot_database_bytes"), "{{store}} database"),
            Query(told("snapshot_stored_bytes"), "{{store}} stored"),
        ),
        lines(
            "Age of the newest verified",
            "Of the newest that was opened or restored and found good.",
            "s",
            Query(_since("snapshot_verified_taken_timestamp_seconds"), "{{store}}"),
            empty="none was opened or restored yet",
        ),
    )


def _drills() -> Sequence[Panel]:
    return (
        _outcome("Last drill", "Whether it could be held and found a good snapshot.", "drill_success", _NEVER),
        _ago("Last drill ended", "How long ago, well or not.", "drill_ended_timestamp_seconds", _NEVER),
        _ago("Last good drill", "How long ago it ended.", "drill_succeeded_timestamp_seconds", _NEVER),
        _seconds(
            "May be old",
            "How long ago the last good drill may be.",
            told("drill_age_limit_seconds"),
            "limit",
            NOT_TOLD,
        ),
        _seconds(
            "It took",
            "The last good drill, from the first byte to the proof.",
            told("drill_duration_seconds"),
            "duration",
            _NEVER,
        ),
        _seconds(
            "Target (RTO)",
            "How long a restore may take: `drill.rto` of the cluster file.",
            told("rto_target_seconds"),
            "target",
            "the cluster file has no `drill.rto`",
        ),
        lines(
            "How long a restore takes (RTO)",
            "As the last good drill and the last restore took, against the target.",
            "s",
            Query(told("drill_duration_seconds"), "drill"),
            Query(told("restore_proven_seconds"), "restore"),
            Query(told("rto_target_seconds"), "target", dashed=True),
            width=12,
            empty=_NEVER,
        ),
        lines(
            "Age of the last good drill",
            "Against how long ago it may be.",
            "s",
            Query(_since("drill_succeeded_timestamp_seconds"), "last good drill"),
            Query(told("drill_age_limit_seconds"), "allowed", dashed=True),
            width=12,
            empty=_NEVER,
        ),
    )


def _restores() -> Sequence[Panel]:
    none = "no disaster-restore was run"
    since_stop = "From the first stop until {}, in the last restore."
    return (
        _outcome("Last restore", "Whether it ended with a proven cluster.", "restore_success", none),
        _ago("It ended", "How long ago.", "restore_ended_timestamp_seconds", none),
        _seconds(
            "Until writable",
            since_stop.format("clients could write again"),
            told("restore_writable_seconds"),
            "seconds",
            none,
            width=8,
        ),
        _seconds(
            "Until proven", since_stop.format("the proof"), told("restore_proven_seconds"), "seconds", none, width=8
        ),
    )
