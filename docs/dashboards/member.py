"""One member in detail."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.models.common import BigValueTextMode

from docs.dashboards.panels import (
    GREEN,
    NOT_TOLD,
    ORANGE,
    RED,
    Column,
    Panel,
    Query,
    chosen,
    lines,
    members,
    number,
    quantile,
    rate,
    rows,
    share,
    told,
    yes_no,
)

_UNARY = 'grpc_type="unary"'
_STREAM = 'grpc_type="bidi_stream"'
_MINE = 'member=~"$member"'
_DAY = 86400


def sections() -> Sequence[tuple[str, Sequence[Panel]]]:
    """Headings and panels."""
    return (("Now", _now()), ("Raft", _raft()), ("Requests", _requests()), ("Process", _process()), ("Host", _host()))


def _now() -> Sequence[Panel]:
    return (
        yes_no("Up", "Whether Prometheus gets its metrics.", f"up{chosen()}"),
        number(
            "Role",
            "What it is to the others.",
            "none",
            Query(f"etcd_server_is_leader{chosen()} + 2 * etcd_server_is_learner{chosen()}"),
            texts={"0": ("follower", "text"), "1": ("leader", GREEN), "2": ("learner", ORANGE)},
        ),
        yes_no(
            "Knows a leader",
            "Without one it can't serve writes, nor reads that have to be fresh.",
            f"etcd_server_has_leader{chosen()}",
        ),
        number(
            "etcd",
            "Its version.",
            "none",
            Query(f"etcd_server_version{chosen()}", "{{server_version}}"),
            shown=BigValueTextMode.NAME,
        ),
        number(
            "Runs for",
            "Since its process started.",
            "s",
            Query(f"time() - process_start_time_seconds{chosen()}"),
            steps=((None, ORANGE), (600, GREEN)),
        ),
        number(
            "Peers",
            "Other members that it is connected to.",
            "none",
            Query(f"count(sum by (To) (etcd_network_active_peers{chosen()}) > 0)", "peers"),
            empty="none",
        ),
    )


def _raft() -> Sequence[Panel]:
    return (
        lines(
            "Behind the others",
            "Proposals that the cluster has committed and that it has not applied yet.",
            "short",
            Query(
                f"scalar(max(etcd_server_proposals_committed_total{members()}))"
                f" - etcd_server_proposals_applied_total{chosen()}"
            ),
        ),
        lines(
            "Proposals",
            "Committed and applied a second: the two lines should be one.",
            "ops",
            Query(rate("etcd_server_proposals_committed_total", chosen()), "committed"),
            Query(rate("etcd_server_proposals_applied_total", chosen()), "applied"),
        ),
        lines(
            "Trouble with proposals",
            "That wait now, and that failed a second: elections, or a quorum that comes and goes.",
            "short",
            Query(f"etcd_server_proposals_pending{chosen()}", "waiting"),
            Query(rate("etcd_server_proposals_failed_total", chosen()), "failed a second"),
        ),
        lines(
            "Too slow",
            "Applies and reads that took longer than etcd finds right, and heartbeats sent too late, a second.",
            "ops",
            Query(rate("etcd_server_slow_apply_total", chosen()), "slow applies"),
            Query(rate("etcd_server_slow_read_indexes_total", chosen()), "slow reads"),
            Query(rate("etcd_server_heartbeat_send_failures_total", chosen()), "late heartbeats"),
        ),
        lines(
            "Catching up",
            "Whether it takes in a whole database from the leader, or is being defragmented: it serves nothing then.",
            "none",
            Query(f"etcd_server_snapshot_apply_in_progress_total{chosen()}", "takes in a database"),
            Query(f"etcd_disk_defrag_inflight{chosen()}", "defragments"),
        ),
        lines(
            "Revision",
            "Of its store, and the last that was compacted.",
            "short",
            Query(f"etcd_debugging_mvcc_current_revision{chosen()}", "revision"),
            Query(f"etcd_debugging_mvcc_compact_revision{chosen()}", "compacted"),
        ),
    )


def _requests() -> Sequence[Panel]:
    handled = "grpc_server_handled_total"
    fast = chosen(_UNARY, 'grpc_method!="Defragment"')
    return (
        lines(
            "Requests",
            "Requests a second by kind.",
            "reqps",
            Query(f"sum by (grpc_method) ({rate(handled, chosen(_UNARY))}) > 0", "{{grpc_method}}"),
        ),
        lines(
            "Answers",
            "Requests a second by what they were answered with.",
            "reqps",
            Query(f"sum by (grpc_code) ({rate(handled, chosen(_UNARY))}) > 0", "{{grpc_code}}"),
        ),
        lines(
            "Duration of requests",
            "The slowest hundredth takes at least so long, by kind.",
            "s",
            Query(f"{quantile(0.99, 'grpc_server_handling_seconds', fast, 'grpc_method')} >= 0", "{{grpc_method}}"),
            empty="shown by members with `monitoring: {metrics: {detail: extensive}}` that serve requests",
        ),
        lines(
            "Watches",
            "Watchers that are open, those that do not keep up, and events that wait for them.",
            "short",
            Query(f"etcd_debugging_mvcc_watcher_total{chosen()}", "watchers"),
            Query(f"etcd_debugging_mvcc_slow_watcher_total{chosen()}", "slow watchers"),
            Query(f"etcd_debugging_mvcc_pending_events_total{chosen()}", "waiting events"),
        ),
        lines(
            "Streams",
            "Calls that go on: watches and leases that are kept alive.",
            "short",
            Query(
                f"sum by (grpc_service) (grpc_server_started_total{chosen(_STREAM)})"
                f" - sum by (grpc_service) (grpc_server_handled_total{chosen(_STREAM)})",
                "{{grpc_service}}",
            ),
        ),
        lines(
            "Bytes to and from clients",
            "Received and sent.",
            "binBps",
            Query(rate("etcd_network_client_grpc_received_bytes_total", chosen()), "received"),
            Query(rate("etcd_network_client_grpc_sent_bytes_total", chosen()), "sent"),
        ),
    )


def _process() -> Sequence[Panel]:
    return (
        lines(
            "CPU", "Processors that it keeps busy.", "none", Query(rate("process_cpu_seconds_total", chosen()), "CPUs")
        ),
        lines(
            "Memory",
            "Resident, and of it what Go's heap holds.",
            "bytes",
            Query(f"process_resident_memory_bytes{chosen()}", "resident"),
            Query(f"go_memstats_heap_inuse_bytes{chosen()}", "heap"),
        ),
        share(
            "File descriptors",
            "Share of those that it may have; clients and watches take them.",
            Query(f"process_open_fds{chosen()} / process_max_fds{chosen()}"),
            steps=((None, GREEN), (0.7, ORANGE), (0.9, RED)),
        ),
        lines(
            "Database",
            "The file on disk, what of it is in use, and the quota.",
            "bytes",
            Query(f"etcd_mvcc_db_total_size_in_bytes{chosen()}", "file"),
            Query(f"etcd_mvcc_db_total_size_in_use_in_bytes{chosen()}", "in use"),
            Query(f"etcd_server_quota_backend_bytes{chosen()}", "quota", dashed=True),
        ),
        lines(
            "Goroutines",
            "A number that only grows is a leak, or clients that only come.",
            "short",
            Query(f"go_goroutines{chosen()}", "goroutines"),
        ),
        lines(
            "Read transactions",
            "Open in the database; one that stays keeps free pages from being used.",
            "short",
            Query(f"etcd_mvcc_db_open_read_transactions{chosen()}", "open"),
        ),
    )


def _host() -> Sequence[Panel]:
    ends = told("certificate_not_after_timestamp_seconds", _MINE)
    return (
        rows(
            "Certificates",
            "When those on its host end, as check-cluster last saw.",
            "certificate",
            Column("ends in", f"min by (certificate) ({ends}) - time()", "s"),
            width=8,
            empty=NOT_TOLD,
        ),
        lines(
            "Clock",
            "How far it was ahead of the clock of the flows' machine, and within what that is right.",
            "s",
            Query(told("clock_offset_seconds", _MINE), "ahead"),
            Query(told("clock_error_seconds", _MINE), "right within"),
            empty=NOT_TOLD,
        ),
        number(
            "Looked at",
            "How long ago check-cluster saw its host.",
            "s",
            Query(f"time() - {told('member_seen_timestamp_seconds', _MINE)}"),
            width=8,
            steps=((None, GREEN), (2 * 3600, ORANGE), (_DAY, RED)),
            empty=NOT_TOLD,
        ),
    )
