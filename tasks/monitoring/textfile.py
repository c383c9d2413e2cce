"""The file that node_exporter's textfile collector reads (``*.prom``; no timestamps, which it refuses). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tasks.monitoring.own_families import FAMILIES, Sample


def file_name(cluster: str) -> str:
    """Of a cluster's file in the collector's directory."""
    return f"etcd_flows_{cluster}.prom"


def render(cluster: str, samples: Iterable[Sample]) -> str:
    """The file's text, in a stable order."""
    return generate_latest(_Given(cluster, tuple(samples))).decode()


def parse(text: str) -> tuple[Sample, ...]:
    """What such a file says.

    Raises:
        ValueError: It is none.
    """
    return tuple(
        Sample(sample.name, sample.value, tuple(sorted((k, v) for k, v in sample.labels.items() if k != "cluster")))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    )


class _Given(Collector):
    """Samples as prometheus_client collects them."""

    def __init__(self, cluster: str, samples: tuple[Sample, ...]) -> None:
        self._cluster = cluster
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            found = sorted((sample.labels, sample.value) for sample in self._samples if sample.name == family.name)
            if not found:
                continue
            names = [label for label, _ in found[0][0]]
            metric = GaugeMetricFamily(family.name, family.help, labels=["cluster", *names])
            for labels, value in found:
                metric.add_metric([self._cluster, *(text for _, text in labels)], value)
            yield metric
