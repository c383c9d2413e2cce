"""Series under which each alert has to fire, and when. What is not said is as in a healthy cluster."""

from __future__ import annotations

from dataclasses import dataclass, field

WHO = 'job="etcd", cluster="prod-a", member="etcd-01", instance="10.0.0.11:2381"'
_OTHERS = (
    'job="etcd", cluster="prod-a", member="etcd-02", instance="10.0.0.12:2381"',
    'job="etcd", cluster="prod-a", member="etcd-03", instance="10.0.0.13:2381"',
)
GIB = 1 << 30
QUOTA = 8 * GIB


def histogram(name: str, labels: str, fast: float, slow: float, boundary: str) -> dict[str, str]:
    """Counters of a histogram that get so many fast and slow ones a minute."""
    return {
        f'{name}_bucket{{{labels}, le="{boundary}"}}': f"0+{fast:g}x400",
        f'{name}_bucket{{{labels}, le="10"}}': f"0+{fast + slow:g}x400",
        f'{name}_bucket{{{labels}, le="+Inf"}}': f"0+{fast + slow:g}x400",
    }


def handled(method: str, code: str, each_minute: float) -> dict[str, str]:
    """Answers of one kind."""
    labels = f'{WHO}, grpc_service="etcdserverpb.KV", grpc_method="{method}", grpc_type="unary", grpc_code="{code}"'
    return {f"grpc_server_handled_total{{{labels}}}": f"0+{each_minute:g}x400"}


OWN = 'job="etcd-flows", cluster="prod-a", instance="127.0.0.1:9100"'
_STORES = tuple(f'{OWN}, store="{name}"' for name in ("local", "offsite"))
_MEMBERS = tuple(f'{OWN}, member="etcd-0{number}"' for number in (1, 2, 3))
DAY = 86400
#: A value that is the present time, one a minute.
NOW = "0+60x400"


def _told() -> dict[str, str]:
    """What the flows tell, when all is well: backups, drills and checks go on."""
    series = {
        f"etcd_flows_written_timestamp_seconds{{{OWN}}}": NOW,
        f"etcd_flows_backup_success{{{OWN}}}": "1x400",
        f"etcd_flows_drill_success{{{OWN}}}": "1x400",
        f"etcd_flows_drill_succeeded_timestamp_seconds{{{OWN}}}": NOW,
        f"etcd_flows_drill_duration_seconds{{{OWN}}}": "12x400",
    }
    for labels in _STORES:
        series |= {
            f"etcd_flows_store_readable{{{labels}}}": "1x400",
            f"etcd_flows_store_read_timestamp_seconds{{{labels}}}": NOW,
            f"etcd_flows_snapshots{{{labels}}}": "12x400",
            f"etcd_flows_snapshot_taken_timestamp_seconds{{{labels}}}": NOW,
        }
    for offset, labels in zip((30.0, 30.1, 30.2), _MEMBERS, strict=True):  # the flows' own clock is the one that is off
        series |= {
            f"etcd_flows_member_seen_timestamp_seconds{{{labels}}}": NOW,
            f"etcd_flows_clock_offset_seconds{{{labels}}}": f"{offset}x400",
            f"etcd_flows_clock_error_seconds{{{labels}}}": "0.05x400",
            _ends(labels, "server"): f"{200 * DAY}x400",
            _ends(labels, "ca"): f"{3000 * DAY}x400",
        }
    return series


def _ends(labels: str, certificate: str) -> str:
    return f'etcd_flows_certificate_not_after_timestamp_seconds{{{labels}, certificate="{certificate}"}}'


def healthy() -> dict[str, str]:
    """Six hours of three members at which nothing is wrong, one value a minute."""
    series = {f"up{{{labels}}}": "1x400" for labels in (WHO, *_OTHERS)}
    for labels in (WHO, *_OTHERS):
        series |= {
            f"etcd_server_has_leader{{{labels}}}": "1x400",
            f"etcd_server_leader_changes_seen_total{{{labels}}}": "1x400",
            f"process_start_time_seconds{{{labels}}}": "1000x400",
            f"process_open_fds{{{labels}}}": "40x400",
            f"process_max_fds{{{labels}}}": "65536x400",
            f"etcd_server_proposals_failed_total{{{labels}}}": "0x400",
            f"etcd_server_proposals_pending{{{labels}}}": "1x400",
            f"etcd_mvcc_db_total_size_in_bytes{{{labels}}}": f"{GIB}x400",
            f"etcd_mvcc_db_total_size_in_use_in_bytes{{{labels}}}": f"{0.9 * GIB:.0f}x400",
            f"etcd_server_quota_backend_bytes{{{labels}}}": f"{QUOTA}x400",
        }
        series |= histogram("etcd_disk_wal_fsync_duration_seconds", labels, 1000, 1, "0.004")
        series |= histogram("etcd_disk_backend_commit_duration_seconds", labels, 1000, 1, "0.016")
        series |= histogram("etcd_network_peer_round_trip_time_seconds", labels + ', To="9f3"', 1000, 1, "0.0128")
    series |= _told()
    calls = f'{WHO}, grpc_service="etcdserverpb.KV", grpc_method="Range", grpc_type="unary"'
    series |= histogram("grpc_server_handling_seconds", calls, 1000, 1, "0.02")
    # A watch whose client went away ends as Unavailable.
    watch = f'{WHO}, grpc_service="etcdserverpb.Watch", grpc_method="Watch", grpc_type="bidi_stream"'
    series[f'grpc_server_handled_total{{{watch}, grpc_code="Unavailable"}}'] = "0+50x400"
    return series | handled("Range", "OK", 1000) | handled("Put", "OK", 1000)


@dataclass(frozen=True)
class Case:
    """When an alert fires.

    Args:
        at: Minutes after the beginning at which it has to be firing.
        not_at: Minutes at which it must not be firing yet.
        count: How many of it.
    """

    alert: str
    severity: str
    series: dict[str, str] = field(default_factory=dict)
    at: int = 350
    not_at: int | None = None
    count: int = 1
    without: str = "nothing"


def _of(name: str, values: str, labels: str = WHO) -> dict[str, str]:
    return {f"{name}{{{labels}}}": values}


def _down(*members: str) -> dict[str, str]:
    return {f"up{{{labels}}}": "1x9 0x400" for labels in members}


def _database(values: str) -> dict[str, str]:
    used = _of("etcd_mvcc_db_total_size_in_use_in_bytes", values)
    return _of("etcd_mvcc_db_total_size_in_bytes", values) | used


_CALLS = f'{WHO}, grpc_service="etcdserverpb.KV", grpc_method="Range", grpc_type="unary"'

CASES = (
    Case("EtcdQuorumLost", "critical", _down(WHO, _OTHERS[0]), at=11, not_at=10),
    Case("EtcdNoLeader", "critical", _of("etcd_server_has_leader", "1x9 0x400"), at=11, not_at=10),
    Case("EtcdMemberDown", "warning", _down(WHO), at=12, not_at=11),
    Case("EtcdNotWatched", "critical", at=5, not_at=4, without="up"),
    Case(
        "EtcdLeaderChangesOften",
        "warning",
        _of("etcd_server_leader_changes_seen_total", "1x20 2 3 4 5 6 6x300"),
        at=28,
        not_at=20,
    ),
    Case("EtcdRestartsOften", "warning", _of("process_start_time_seconds", "1x20 2x5 3x5 4x300"), at=40, not_at=30),
    Case("EtcdFewFileDescriptors", "warning", _of("process_open_fds", "60000x400"), at=11, not_at=9),
    Case("EtcdRequestsFail", "warning", handled("Range", "Unavailable", 20), at=20, not_at=9),
    Case("EtcdRequestsFail", "critical", handled("Range", "DeadlineExceeded", 80), at=20, not_at=4),
    Case("EtcdRequestsSlow", "warning", histogram("grpc_server_handling_seconds", _CALLS, 500, 500, "0.02"), at=20),
    Case("EtcdProposalsFail", "warning", _of("etcd_server_proposals_failed_total", "0+1x400"), at=30, not_at=5),
    Case("EtcdProposalsPending", "warning", _of("etcd_server_proposals_pending", "9x400"), at=6, not_at=4),
    Case(
        "EtcdPeersSlow",
        "warning",
        histogram("etcd_network_peer_round_trip_time_seconds", WHO + ', To="9f3"', 900, 100, "0.0128"),
        at=20,
    ),
    Case("EtcdSyncSlow", "warning", histogram("etcd_disk_wal_fsync_duration_seconds", WHO, 900, 9.2, "0.004"), at=20),
    Case("EtcdSyncSlow", "critical", histogram("etcd_disk_wal_fsync_duration_seconds", WHO, 500, 500, "0.004"), at=20),
    Case(
        "EtcdCommitSlow",
        "warning",
        histogram("etcd_disk_backend_commit_duration_seconds", WHO, 500, 500, "0.016"),
        at=20,
    ),
    Case("EtcdQuotaNearlyUsed", "info", _database(f"{0.76 * QUOTA:.0f}x400"), at=6, not_at=4),
    Case("EtcdQuotaNearlyUsed", "warning", _database(f"{0.86 * QUOTA:.0f}x400"), at=6),
    Case("EtcdQuotaNearlyUsed", "critical", _database(f"{0.96 * QUOTA:.0f}x400"), at=6),
    Case("EtcdQuotaUsedSoon", "warning", _database(f"{0.51 * QUOTA:.0f}+{QUOTA // 2000}x400"), at=300, not_at=10),
    Case("EtcdDatabaseGrowsFast", "warning", _database(f"{GIB}x60 {GIB}+{QUOTA // 300}x60 {3 * GIB}x270"), at=110),
    Case("EtcdFragmented", "info", _of("etcd_mvcc_db_total_size_in_use_in_bytes", f"{GIB // 4}x400"), at=61, not_at=59),
    Case(
        "EtcdNoSpace",
        "critical",
        handled("Put", "ResourceExhausted", 5) | _database(f"{QUOTA}x400"),
        at=6,
    ),
    Case("EtcdCorrupt", "critical", handled("Put", "DataLoss", 5), at=6),
    # backup_age is an hour in these tests, drill_age five hours, rto a minute
    Case(
        "EtcdBackupTooOld", "warning", _of("etcd_flows_snapshot_taken_timestamp_seconds", "0x400", _STORES[1]), 61, 59
    ),
    Case(
        "EtcdBackupTooOld",
        "critical",
        _of("etcd_flows_snapshot_taken_timestamp_seconds", "0x400", _STORES[1]),
        181,
        179,
    ),
    Case(
        "EtcdBackupOfFuture", "warning", _of("etcd_flows_snapshot_taken_timestamp_seconds", "7200x400", _STORES[1]), 1
    ),
    Case("EtcdBackupMissing", "critical", _of("etcd_flows_snapshots", "0x400", _STORES[1]), 60, 59),
    Case("EtcdBackupFailed", "warning", _of("etcd_flows_backup_success", "1x9 0x400", OWN), 10, 9),
    Case("EtcdStoreUnreadable", "warning", _of("etcd_flows_store_readable", "0x400", _STORES[1]), 90, 89),
    Case("EtcdDrillFailed", "warning", _of("etcd_flows_drill_success", "1x9 0x400", OWN), 10, 9),
    Case("EtcdDrillTooOld", "warning", _of("etcd_flows_drill_succeeded_timestamp_seconds", "0x400", OWN), 301, 299),
    Case("EtcdNeverDrilled", "info", at=360, not_at=359, without="etcd_flows_drill_succeeded_timestamp_seconds"),
    Case("EtcdDrillSlow", "warning", _of("etcd_flows_drill_duration_seconds", "61x400", OWN), 1),
    Case("EtcdCertificateEnds", "warning", {_ends(_MEMBERS[1], "server"): f"{29 * DAY}x400"}, 6, 4),
    Case("EtcdCertificateEnds", "critical", {_ends(_MEMBERS[1], "server"): f"{6 * DAY}x400"}, 6, 4),
    Case("EtcdCaEnds", "warning", {_ends(labels, "ca"): f"{170 * DAY}x400" for labels in _MEMBERS}, 6, 4),
    Case("EtcdCaEnds", "critical", {_ends(_MEMBERS[2], "ca"): f"{29 * DAY}x400"}, 6, 4),
    Case("EtcdClockDrift", "warning", _of("etcd_flows_clock_offset_seconds", "30.1x9 30.9x400", _MEMBERS[2]), 10, 9),
    Case("EtcdFlowsSilent", "warning", at=120, not_at=119, without="etcd_flows_written_timestamp_seconds"),
    Case("EtcdFlowsStale", "warning", _of("etcd_flows_member_seen_timestamp_seconds", "0x400", _MEMBERS[1]), 186, 180),
    Case("EtcdFlowsStale", "warning", _of("etcd_flows_store_read_timestamp_seconds", "0x400", _STORES[0]), 186, 180),
)
