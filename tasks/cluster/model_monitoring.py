"""The cluster file's keys for monitoring: what members show of themselves, and to whom."""

from __future__ import annotations

from typing import Literal

from tasks.cluster.model_base import Section, entry, section
from tasks.cluster.values_monitoring import Runbooks


class MetricsSection(Section):
    """What every member shows."""

    scheme: Literal["http", "https"] = entry(
        "http",
        "http by default, as most scrape it: metrics hold names and numbers, no keys or values. https asks whoever "
        "scrapes for a client certificate of the cluster's CA; each host has one, metrics-etcd-client.",
        "https",
    )
    detail: Literal["basic", "extensive"] = entry(
        "basic",
        "extensive adds histograms of every gRPC call's duration. basic by default: they are hundreds of series a "
        "member, and disk, network and quota are seen without.",
        "extensive",
    )


class MonitoringSection(Section):
    """Monitoring."""

    metrics: MetricsSection = section(
        MetricsSection, "What every member shows, on `hosts[].metrics_address`.", {"scheme": "https"}
    )
    runbooks: Runbooks = entry(
        "docs/alerts.md",
        "Where alerts point to for what to do: the path or URL at which your people find docs/alerts.md of etcd-flows. "
        "Default: its path in the repository, as we can't know where you publish it.",
        "https://wiki.example.com/etcd-alerts",
    )
