"""Alerts about the database: quota, growth, fragmentation, alarms. Pure."""

from __future__ import annotations

from tasks.cluster.spec import Cluster
from tasks.monitoring.rule import Rule, Severity, selector

_MIB = 1 << 20


def database_rules(cluster: Cluster) -> tuple[Rule, ...]:
    """What is wrong when the database grows towards its quota, or an alarm is up."""
    return (*_quota(cluster.name), *_growth(cluster.name), _fragmented(cluster.name), *_alarms(cluster.name))


def _sizes(name: str) -> tuple[str, str]:
    s = selector(name)
    return f"etcd_mvcc_db_total_size_in_bytes{s}", f"etcd_server_quota_backend_bytes{s}"


def _quota(name: str) -> tuple[Rule, ...]:
    size, quota = _sizes(name)

    def used(share: float, severity: Severity) -> Rule:
        return Rule(
            "EtcdQuotaNearlyUsed",
            f"{size} / {quota} > {share:g}",
            "5m",
            severity,
            "the database of {{ $labels.member }} of " + name + " nears its quota",
            "{{ $value | humanizePercentage }} of the quota of {{ $labels.member }} is used; at 100% all writes are "
            "refused.",
        )

    return used(0.75, "info"), used(0.85, "warning"), used(0.95, "critical")


def _growth(name: str) -> tuple[Rule, ...]:
    size, quota = _sizes(name)
    return (
        Rule(
            "EtcdQuotaUsedSoon",
            # Half full, so that a line through the first minutes of a new cluster alarms nobody.
            f"predict_linear({size}[4h], 86400) > {quota} and {size} > 0.5 * {quota}",
            "30m",
            "warning",
            "the quota of {{ $labels.member }} of " + name + " will be used up within a day",
            "If the database of {{ $labels.member }} goes on growing as in the last four hours, it has "
            "{{ $value | humanize1024 }}B in a day, more than its quota.",
        ),
        Rule(
            "EtcdDatabaseGrowsFast",
            f"delta({size}[1h]) > 0.1 * {quota}",
            "5m",
            "warning",
            "the database of {{ $labels.member }} of " + name + " grows fast",
            "The database of {{ $labels.member }} grew by {{ $value | humanize1024 }}B within an hour, more than a "
            "tenth of its quota.",
        ),
    )


def _fragmented(name: str) -> Rule:
    size, _ = _sizes(name)
    used = f"etcd_mvcc_db_total_size_in_use_in_bytes{selector(name)}"
    return Rule(
        "EtcdFragmented",
        f"({size} - {used}) / {size} > 0.5 and {size} - {used} > {100 * _MIB}",
        "1h",
        "info",
        "the database of {{ $labels.member }} of " + name + " is mostly free pages",
        "{{ $value | humanizePercentage }} of the database file of {{ $labels.member }} is free; it counts towards the "
        "quota until the member is defragmented.",
    )


def _alarms(name: str) -> tuple[Rule, Rule]:
    """Etcd has no metric for its alarms; it shows them by how it answers (api/v3/v3rpc/rpctypes/error.go)."""
    size, quota = _sizes(name)
    by = "sum by (cluster, member)"
    full = selector(name, 'grpc_code="ResourceExhausted"', 'grpc_method=~"Put|Txn|LeaseGrant"')
    broken = selector(name, 'grpc_code="DataLoss"')
    return (
        Rule(
            "EtcdNoSpace",
            f"{by} (increase(grpc_server_handled_total{full}[5m])) > 0"
            f" and on (cluster, member) ({size} > 0.9 * {quota})",
            "0m",
            "critical",
            name + " refuses writes: NOSPACE",
            '{{ $labels.member }} refused {{ $value | printf "%.0f" }} writes within five minutes since its '
            "database has reached the quota.",
        ),
        Rule(
            "EtcdCorrupt",
            f"{by} (increase(grpc_server_handled_total{broken}[5m])) > 0",
            "0m",
            "critical",
            name + " is corrupt",
            '{{ $labels.member }} answered {{ $value | printf "%.0f" }} requests within five minutes with DataLoss: '
            "a CORRUPT alarm is up, since the members' data differ.",
        ),
    )
