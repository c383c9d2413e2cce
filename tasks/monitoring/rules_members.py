"""Alerts about members and their leader. Pure."""

from __future__ import annotations

from tasks.cluster.spec import Cluster
from tasks.monitoring.rule import Rule, selector


def member_rules(cluster: Cluster) -> tuple[Rule, ...]:
    """What is wrong when members are gone, alone, or restless."""
    s, name = selector(cluster.name), cluster.name
    return (
        Rule(
            "EtcdQuorumLost",
            # Of members, a majority has to be up: more than half, for any number of them.
            f"sum by (cluster) (up{s}) <= count by (cluster) (up{s}) / 2",
            "1m",
            "critical",
            f"{name} has lost its quorum",
            "Only {{ $value }} members of " + name + " can be reached, fewer than a majority of "
            f"{len(cluster.hosts)}: nothing can be written or read consistently.",
        ),
        Rule(
            "EtcdNoLeader",
            f"etcd_server_has_leader{s} == 0",
            "1m",
            "critical",
            "{{ $labels.member }} of " + name + " sees no leader",
            "{{ $labels.member }} runs, but sees no leader: it refuses writes and consistent reads.",
        ),
        Rule(
            "EtcdMemberDown",
            f"up{s} == 0",
            "2m",
            "warning",
            "{{ $labels.member }} of " + name + " is down",
            "{{ $labels.member }} ({{ $labels.instance }}) does not answer Prometheus. "
            f"{name} tolerates the loss of {(len(cluster.hosts) - 1) // 2} of its {len(cluster.hosts)} members.",
        ),
        Rule(
            "EtcdNotWatched",
            f"absent(up{s})",
            "5m",
            "critical",
            f"nobody watches {name}",
            f"Prometheus has no target of {name}: no alert about it can fire, whatever happens.",
        ),
        Rule(
            "EtcdLeaderChangesOften",
            f"max by (cluster) (increase(etcd_server_leader_changes_seen_total{s}[15m])) >= 4",
            "1m",
            "warning",
            f"the leader of {name} changes often",
            '{{ $value | printf "%.0f" }} changes of the leader within 15 minutes; writes wait during each. Slow '
            "disks, a slow network or busy CPUs are the usual causes.",
        ),
        Rule(
            "EtcdRestartsOften",
            f"changes(process_start_time_seconds{s}[1h]) >= 3",
            "0m",
            "warning",
            "{{ $labels.member }} of " + name + " restarts again and again",
            "etcd on {{ $labels.member }} was started {{ $value }} times within an hour.",
        ),
        Rule(
            "EtcdFewFileDescriptors",
            f"process_open_fds{s} / process_max_fds{s} > 0.8",
            "10m",
            "warning",
            "{{ $labels.member }} of " + name + " runs out of file descriptors",
            "{{ $value | humanizePercentage }} of the file descriptors of {{ $labels.member }} are in use; without any "
            "left it can accept no connection and open no file of its log.",
        ),
    )
