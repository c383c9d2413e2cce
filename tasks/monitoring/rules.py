"""A cluster's alert rules, as a rule file of Prometheus. Pure.

The file belongs to one cluster and selects nothing but its series, so that several clusters share a Prometheus without
touching one another. Thresholds that depend on settings (heartbeat) come from the cluster file.
"""

from __future__ import annotations

import yaml

from tasks.cluster.spec import Cluster
from tasks.etcd.unit import HEAD
from tasks.monitoring.rule import Rule
from tasks.monitoring.rules_backups import backup_rules
from tasks.monitoring.rules_database import database_rules
from tasks.monitoring.rules_hosts import host_rules
from tasks.monitoring.rules_members import member_rules
from tasks.monitoring.rules_traffic import traffic_rules


def rules(cluster: Cluster) -> dict[str, tuple[Rule, ...]]:
    """All alert rules of a cluster, by group."""
    groups = {"members": member_rules(cluster), "traffic": traffic_rules(cluster), "database": database_rules(cluster)}
    if cluster.monitoring is not None and cluster.monitoring.publishes:
        groups |= {"backups": backup_rules(cluster), "hosts": host_rules(cluster)}
    return {f"etcd-{cluster.name}-{name}": found for name, found in groups.items() if found}


def rule_file(cluster: Cluster, runbooks: str) -> str:
    """The rule file.

    Args:
        runbooks: Path or URL of ``docs/alerts.md``, which says for every alert what to do.
    """
    patience = cluster.monitoring.patience if cluster.monitoring else 1.0
    groups = [
        {"name": name, "rules": [rule.as_data(runbooks, patience) for rule in found]}
        for name, found in rules(cluster).items()
    ]
    return f"# Alerts about etcd cluster {cluster.name}.\n# {HEAD}\n" + yaml.safe_dump(
        {"groups": groups}, sort_keys=False, width=10_000, allow_unicode=True
    )
