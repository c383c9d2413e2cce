"""Alerts about requests, proposals, peers and disks. Pure."""

from __future__ import annotations

from tasks.cluster.spec import Cluster
from tasks.monitoring.rule import Rule, Severity, selector

# Codes by which etcd or its runtime says that it could not serve; the others are answers (NotFound, Canceled, ...).
_FAILED = "Unknown|FailedPrecondition|ResourceExhausted|Internal|Unavailable|DataLoss|DeadlineExceeded"


def traffic_rules(cluster: Cluster) -> tuple[Rule, ...]:
    """What is wrong when etcd answers late, or not, or not as asked."""
    rules = [
        _grpc_failing(cluster.name, 0.01, "10m", "warning"),
        _grpc_failing(cluster.name, 0.05, "5m", "critical"),
        *_proposals(cluster.name),
        _peers(cluster),
        *_disks(cluster.name),
    ]
    if cluster.etcd.metrics == "extensive":
        rules.insert(2, _grpc_slow(cluster.name))
    return tuple(rules)


def _quantile(histogram: str, cluster: str, *by: str, matchers: tuple[str, ...] = ()) -> str:
    """The 99th percentile of five minutes."""
    labels = ", ".join(("cluster", "member", *by, "le"))
    rate = f"rate({histogram}_bucket{selector(cluster, *matchers)}[5m])"
    return f"histogram_quantile(0.99, sum by ({labels}) ({rate}))"


def _grpc_failing(name: str, share: float, held: str, severity: Severity) -> Rule:
    labels = "cluster, member, grpc_service, grpc_method"
    unary = 'grpc_type="unary"'  # a watch that ends with its client's connection counts as Unavailable
    failed = selector(name, unary, f'grpc_code=~"{_FAILED}"')
    return Rule(
        "EtcdRequestsFail",
        f"sum by ({labels}) (rate(grpc_server_handled_total{failed}[5m]))"
        f" / sum by ({labels}) (rate(grpc_server_handled_total{selector(name, unary)}[5m])) > {share:g}",
        held,
        severity,
        "requests to {{ $labels.member }} of " + name + " fail",
        "{{ $value | humanizePercentage }} of the {{ $labels.grpc_method }} requests to {{ $labels.member }} failed "
        "within five minutes.",
    )


def _grpc_slow(name: str) -> Rule:
    fast = ('grpc_type="unary"', 'grpc_method!="Defragment"')
    return Rule(
        "EtcdRequestsSlow",
        _quantile("grpc_server_handling_seconds", name, "grpc_method", matchers=fast) + " > 0.15",
        "10m",
        "warning",
        "requests to {{ $labels.member }} of " + name + " are slow",
        "The slowest hundredth of the {{ $labels.grpc_method }} requests to {{ $labels.member }} takes "
        "{{ $value | humanizeDuration }} or longer; 0.15 s is the limit.",
    )


def _proposals(name: str) -> tuple[Rule, Rule]:
    s = selector(name)
    return (
        Rule(
            "EtcdProposalsFail",
            f"increase(etcd_server_proposals_failed_total{s}[15m]) > 5",
            "5m",
            "warning",
            "proposals of {{ $labels.member }} of " + name + " fail",
            '{{ $value | printf "%.0f" }} proposals of {{ $labels.member }} failed within 15 minutes: elections, or a '
            "quorum that comes and goes.",
        ),
        Rule(
            "EtcdProposalsPending",
            f"etcd_server_proposals_pending{s} > 5",
            "5m",
            "warning",
            "proposals of {{ $labels.member }} of " + name + " pile up",
            "{{ $value }} proposals of {{ $labels.member }} wait to be committed: the load is too high for disk or "
            "network, or there is no leader.",
        ),
    )


def _peers(cluster: Cluster) -> Rule:
    # etcd's tuning guide: a heartbeat of 0.5 to 1.5 times the round trip. Beyond that, elections are near.
    limit = 1.5 * cluster.etcd.heartbeat_ms / 1000
    return Rule(
        "EtcdPeersSlow",
        _quantile("etcd_network_peer_round_trip_time_seconds", cluster.name, "To") + f" > {limit:g}",
        "10m",
        "warning",
        "{{ $labels.member }} of " + cluster.name + " reaches a peer slowly",
        "The slowest hundredth of the round trips from {{ $labels.member }} to member {{ $labels.To }} takes "
        "{{ $value | humanizeDuration }} or longer; " + f"{limit:g} s is 1.5 heartbeats.",
    )


def _disks(name: str) -> tuple[Rule, ...]:
    fsync = _quantile("etcd_disk_wal_fsync_duration_seconds", name)
    commit = _quantile("etcd_disk_backend_commit_duration_seconds", name)

    def slow(alert: str, what: str, expr: str, limit: float, good: str, severity: Severity) -> Rule:
        return Rule(
            alert,
            f"{expr} > {limit:g}",
            "10m",
            severity,
            "the disk of {{ $labels.member }} of " + name + " is slow",
            f"The slowest hundredth of the {what} on {{{{ $labels.member }}}} takes "
            f"{{{{ $value | humanizeDuration }}}} or longer; a good disk needs less than {good}.",
        )

    log = "syncs of the write-ahead log"
    return (
        slow("EtcdSyncSlow", log, fsync, 0.1, "10 ms", "warning"),
        slow("EtcdSyncSlow", log, fsync, 0.5, "10 ms", "critical"),
        slow("EtcdCommitSlow", "commits of the database", commit, 0.25, "25 ms", "warning"),
    )
