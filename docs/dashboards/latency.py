"""How fast the members' disks and the network between them are."""

from __future__ import annotations

from collections.abc import Sequence

from docs.dashboards.panels import Panel, Query, chosen, lines, quantile, rate, spread

_FSYNC = "etcd_disk_wal_fsync_duration_seconds"
_COMMIT = "etcd_disk_backend_commit_duration_seconds"
_ROUND = "etcd_network_peer_round_trip_time_seconds"
_IDLE = "nothing of that kind in the chosen time"


def sections() -> Sequence[tuple[str, Sequence[Panel]]]:
    """Headings and panels."""
    return (("Write-ahead log", _log()), ("Database", _database()), ("Network", _network()))


def _disk(title: str, description: str, what: str, histogram: str, good: float) -> tuple[Panel, Panel]:
    """How long something on the disk takes: quantiles over time against what a good disk needs, and how often what."""
    p99, p50 = (f"{quantile(share, histogram, chosen(), 'member')} >= 0" for share in (0.99, 0.5))
    limit = Query(f"vector({good:g})", "good disk", dashed=True)
    queries = (Query(p99, "{{member}} p99"), Query(p50, "{{member}} p50"), limit)
    return lines(title, description, "s", *queries, width=12), _spread(what, histogram)


def _spread(what: str, histogram: str) -> Panel:
    return spread(f"How long {what} took", "Counts by duration, of all chosen members.", histogram, chosen())


def _log() -> Sequence[Panel]:
    return (
        *_disk(
            "Syncs of the log",
            "Every write waits for it on a majority. A good disk needs less than 10 ms for 99 of 100.",
            "syncs",
            _FSYNC,
            0.01,
        ),
        lines(
            "Syncs a second", "How often the log is synced.", "ops", Query(rate(f"{_FSYNC}_count", chosen())), width=12
        ),
        lines(
            "Bytes logged",
            "What is written to the log a second.",
            "binBps",
            Query(rate("etcd_disk_wal_write_bytes_total", chosen())),
            width=12,
        ),
    )


def _database() -> Sequence[Panel]:
    return (
        *_disk(
            "Commits of the database",
            "Each writes what came since the last, every 100 ms. A good disk needs less than 25 ms for 99 of 100.",
            "commits",
            _COMMIT,
            0.025,
        ),
        lines(
            "Applying",
            "Longest hundredth of what it takes to apply what was agreed on, by kind.",
            "s",
            Query(
                f"{quantile(0.99, 'etcd_server_apply_duration_seconds', chosen(), 'member', 'op')} >= 0",
                "{{member}} {{op}}",
            ),
            empty=_IDLE,
        ),
        lines(
            "Defragmenting",
            "How long it took; the member serves nothing meanwhile.",
            "s",
            Query(f"{quantile(1, 'etcd_disk_backend_defrag_duration_seconds', chosen(), 'member')} >= 0"),
            empty=_IDLE,
        ),
        lines(
            "Snapshots sent",
            "How long members streamed their database, to backups and to members that were far behind.",
            "s",
            Query(f"{quantile(1, 'etcd_disk_backend_snapshot_duration_seconds', chosen(), 'member')} >= 0"),
            empty=_IDLE,
        ),
    )


def _network() -> Sequence[Panel]:
    return (
        lines(
            "Round trips between members",
            "Longest hundredth from each member to another (its id in hexadecimal); the heartbeat should be "
            "half to one and a half times as long.",
            "s",
            Query(f"{quantile(0.99, _ROUND, chosen(), 'member', 'To')} >= 0", "{{member}} to {{To}}"),
            width=12,
        ),
        _spread("round trips", _ROUND),
        lines(
            "Bytes between members",
            "Sent by each member to the others.",
            "binBps",
            Query(f"sum by (member) ({rate('etcd_network_peer_sent_bytes_total', chosen())})"),
            width=6,
        ),
        lines(
            "Bytes from members",
            "Received by each member from the others.",
            "binBps",
            Query(f"sum by (member) ({rate('etcd_network_peer_received_bytes_total', chosen())})"),
            width=6,
        ),
        lines(
            "Failures between members",
            "Messages that could not be sent or received, a second.",
            "ops",
            Query(f"sum by (member) ({rate('etcd_network_peer_sent_failures_total', chosen())})", "{{member}} sending"),
            Query(
                f"sum by (member) ({rate('etcd_network_peer_received_failures_total', chosen())})",
                "{{member}} receiving",
            ),
            width=6,
            empty="no failure since the members started",
        ),
        lines(
            "Late heartbeats",
            "That a leader sent too late, a second: its disk or its processors are overloaded.",
            "ops",
            Query(rate("etcd_server_heartbeat_send_failures_total", chosen())),
            width=6,
        ),
    )
