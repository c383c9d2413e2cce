"""A cluster at a glance: is it well, how full is it, what is asked of it."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.models.common import BigValueTextMode

from docs.dashboards.panels import (
    CLUSTER,
    GREEN,
    ORANGE,
    RED,
    YES_NO,
    Column,
    Panel,
    Query,
    lines,
    members,
    number,
    rate,
    rows,
    share,
    yes_no,
)

_UNARY = 'grpc_type="unary"'
_FIRING = f'ALERTS{{cluster="{CLUSTER}", alertstate="firing"}}'


def sections() -> Sequence[tuple[str, Sequence[Panel]]]:
    """Headings and panels."""
    return (("Now", _now()), ("Data", _data()), ("Requests", _requests()), ("Raft", _raft()))


def _now() -> Sequence[Panel]:
    up = f"up{members()}"
    size, quota = f"etcd_mvcc_db_total_size_in_bytes{members()}", f"etcd_server_quota_backend_bytes{members()}"
    return (
        number(
            "Members down",
            "Members whose metrics Prometheus does not get.",
            "none",
            Query(f"count({up}) - sum({up})", "members down"),
            steps=((None, GREEN), (1, RED)),
        ),
        number(
            "May still fail",
            "How many more members may fail until the quorum is lost; below 0 it is.",
            "none",
            Query(f"sum({up}) - floor(count({up}) / 2) - 1", "may still fail"),
            steps=((None, RED), (0, ORANGE), (1, GREEN)),
        ),
        yes_no(
            "Leader known",
            "Whether every member that answers knows a leader.",
            f"min(etcd_server_has_leader{members()})",
            "leader known",
        ),
        number(
            "Leader",
            "The member that leads; two for a moment around an election.",
            "none",
            Query(f"etcd_server_is_leader{members()} == 1"),
            empty="no leader",
            shown=BigValueTextMode.NAME,
        ),
        number(
            "Elections within an hour",
            "How often the leader changed, as the member says that saw most. A healthy cluster has none for weeks.",
            "none",
            Query(f"ceil(max(increase(etcd_server_leader_changes_seen_total{members()}[1h])))", "elections"),
            steps=((None, GREEN), (1, ORANGE), (4, RED)),
        ),
        number(
            "Alerts",
            "How many alerts about the cluster fire; docs/alerts.md says what each means.",
            "none",
            Query(f"count({_FIRING})", "alerts"),
            steps=((None, ORANGE), (3, RED)),
            empty="none",
        ),
        share(
            "Quota used",
            "The largest share of the quota that a member's database takes; at 100% all writes are refused.",
            Query(f"max({size} / {quota})", "quota used"),
            steps=((None, GREEN), (0.75, ORANGE), (0.95, RED)),
        ),
        rows(
            "Members",
            "Who they are, and how they are now.",
            "member",
            Column("up", f"max by (member, instance) (up{members()})", texts=YES_NO),
            Column("", f"max by (member, server_version) (etcd_server_version{members()})"),
            Column(
                "leads",
                f"max by (member) (etcd_server_is_leader{members()})",
                texts={"1": ("leader", GREEN), "0": ("", "text")},
            ),
            Column("runs for", f"time() - max by (member) (process_start_time_seconds{members()})", "s"),
            Column("database", f"max by (member) ({size})", "bytes"),
            Column("memory", f"max by (member) (process_resident_memory_bytes{members()})", "bytes"),
            labels={"instance": "address", "server_version": "etcd"},
            width=16,
        ),
        rows(
            "Alerts that fire",
            "Each with its severity and what it is about.",
            "alertname",
            Column("", f"max by (alertname, severity, member, store) ({_FIRING})"),
            labels={"severity": "severity", "member": "member", "store": "store"},
            empty="no alert fires",
        ),
    )


def _data() -> Sequence[Panel]:
    size = "etcd_mvcc_db_total_size_in_bytes"
    return (
        lines(
            "Database",
            "Size of the database file on disk, with free pages, against its quota.",
            "bytes",
            Query(f"{size}{members()}"),
            Query(f"min(etcd_server_quota_backend_bytes{members()})", "quota", dashed=True),
        ),
        lines(
            "In use",
            "What the data themselves take; the rest of the file is free pages, which defragmenting gives back.",
            "bytes",
            Query(f"etcd_mvcc_db_total_size_in_use_in_bytes{members()}"),
        ),
        lines(
            "Keys",
            "Keys that live now, as each member counts them: lines that stay apart mean members that differ.",
            "short",
            Query(f"etcd_debugging_mvcc_keys_total{members()}"),
        ),
        lines(
            "Revision",
            "The store's revision on each member; one that stays behind does not keep up.",
            "short",
            Query(f"etcd_debugging_mvcc_current_revision{members()}"),
        ),
        lines(
            "Not compacted",
            "Revisions since the last compaction, of which old values are kept.",
            "short",
            Query(f"etcd_debugging_mvcc_current_revision{members()} - etcd_debugging_mvcc_compact_revision{members()}"),
        ),
        lines(
            "Watchers and leases",
            "Watches that are open, and leases that were granted less those revoked or run out since the start.",
            "short",
            Query(f"sum(etcd_debugging_mvcc_watcher_total{members()})", "watchers"),
            Query(
                f"max(etcd_debugging_lease_granted_total{members()} - etcd_debugging_lease_revoked_total{members()})",
                "leases",
            ),
        ),
    )


def _requests() -> Sequence[Panel]:
    handled = "grpc_server_handled_total"
    failed = members(_UNARY, 'grpc_code!~"OK|Canceled|NotFound|AlreadyExists"')
    return (
        lines(
            "Requests",
            "Requests a second by kind, of all members together; the ten most frequent.",
            "reqps",
            Query(f"topk(10, sum by (grpc_method) ({rate(handled, members(_UNARY))}) > 0)", "{{grpc_method}}"),
        ),
        lines(
            "Requests that fail",
            "By what they were answered with; a compared transaction that does not hold is no failure.",
            "reqps",
            Query(f"sum by (grpc_code) ({rate(handled, failed)})", "{{grpc_code}}"),
        ),
        lines(
            "Bytes to and from clients",
            "Of all members together.",
            "binBps",
            Query(f"sum({rate('etcd_network_client_grpc_received_bytes_total', members())})", "received"),
            Query(f"sum({rate('etcd_network_client_grpc_sent_bytes_total', members())})", "sent"),
        ),
        lines(
            "Changes",
            "Keys put and deleted a second; every member applies each of them, so that one member's count is shown.",
            "ops",
            Query(f"max({rate('etcd_mvcc_put_total', members())})", "put"),
            Query(f"max({rate('etcd_mvcc_delete_total', members())})", "deleted"),
        ),
        lines(
            "Reads",
            "Ranges read a second, by member.",
            "ops",
            Query(f"{rate('etcd_mvcc_range_total', members())}"),
        ),
        lines(
            "Requests by member",
            "Whom clients ask.",
            "reqps",
            Query(f"sum by (member) ({rate(handled, members(_UNARY))})"),
        ),
    )


def _raft() -> Sequence[Panel]:
    return (
        lines(
            "Proposals committed",
            "What the cluster agreed on, a second; writes and some others.",
            "ops",
            Query(rate("etcd_server_proposals_committed_total", members())),
        ),
        lines(
            "Proposals that wait",
            "Not yet committed; many that stay mean a slow disk or network, or no leader.",
            "short",
            Query(f"etcd_server_proposals_pending{members()}"),
        ),
        lines(
            "Elections",
            "Changes of the leader that each member has seen since it started.",
            "none",
            Query(f"etcd_server_leader_changes_seen_total{members()}"),
        ),
    )
