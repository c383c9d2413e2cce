"""What watches a cluster, and who is told; part of :mod:`tasks.cluster.spec`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.cluster.spec_hosts import Host, SecretRef
from tasks.cluster.spec_release import Release

#: On the monitoring host: files in it that end in ``.prom`` are shown to Prometheus by node_exporter.
TEXTFILE_DIRECTORY = "/var/lib/node_exporter/textfile"


@dataclass(frozen=True)
class PrometheusSettings:
    """Prometheus on the monitoring host.

    Args:
        interval: Between two scrapes, as Prometheus writes durations; so are all others here.
        retention_time: How long metrics are kept.
        retention_size: Bytes that they may take, None for no limit.
    """

    release: Release
    port: int
    interval: str
    retention_time: str
    retention_size: int | None


@dataclass(frozen=True)
class AlertmanagerSettings:
    """Alertmanager on the monitoring host."""

    release: Release
    port: int
    group_wait: str
    group_interval: str
    repeat_interval: str


@dataclass(frozen=True)
class NodeExporterSettings:
    """node_exporter on the monitoring host, for its textfile collector alone."""

    release: Release
    port: int


@dataclass(frozen=True)
class GrafanaSettings:
    """Grafana on the monitoring host."""

    release: Release
    port: int


@dataclass(frozen=True)
class Webhook:
    """An HTTP server that is posted to, at an address that is a secret (``secret_url``) or is none."""

    url: str | None
    secret_url: SecretRef | None
    token: SecretRef | None


@dataclass(frozen=True)
class Slack:
    """A channel of Slack."""

    url: SecretRef
    channel: str


@dataclass(frozen=True)
class Email:
    """A mailbox."""

    to: str
    sender: str
    server: str
    user: str | None
    password: SecretRef | None
    tls: bool


@dataclass(frozen=True)
class Receiver:
    """Who is told, and of what.

    Args:
        severity: Of the least severe alerts that it gets.
    """

    name: str
    severity: Literal["info", "warning", "critical"]
    way: Webhook | Slack | Email


@dataclass(frozen=True)
class Web:
    """TLS for all that show pages, and a login for Prometheus and Alertmanager; each may be left out."""

    certificate: Path | None = None
    key: SecretRef | None = None
    user: str | None = None
    password: SecretRef | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is any of it."""
        return self.certificate is not None or self.user is not None


@dataclass(frozen=True)
class Watch:
    """What runs on the monitoring host.

    Args:
        host: Where that is.
        listen_address: IP address there that they listen on; node_exporter on loopback always.
        packages: Whether the programs are the distribution's packages, all but Grafana.
        grafana: None where none is wanted.
        receivers: Who is told of alerts.
        rules: Rule files of the operator's own, on the worker.
    """

    host: Host
    listen_address: str
    prometheus: PrometheusSettings
    alertmanager: AlertmanagerSettings
    node_exporter: NodeExporterSettings
    packages: bool = False
    grafana: GrafanaSettings | None = None
    receivers: tuple[Receiver, ...] = ()
    rules: tuple[Path, ...] = ()
    web: Web = Web()


@dataclass(frozen=True)
class MonitoringSettings:
    """What watches the cluster.

    Args:
        runbooks: Path or URL of the text that says what to do about each alert.
        watch: None where no monitoring host is ours.
        textfile_directory: Directory on the worker, of a node_exporter's textfile collector, that gets what the flows
            know; None for none.
        textfile_target: ``HOST:PORT`` at which Prometheus reaches that node_exporter.
        backup_age: Seconds that the newest backup may be old; None for what follows from the schedule.
        drill_age: Seconds that the last good drill may be past.
        patience: What the time is multiplied by that something has to be wrong before an alert fires.
    """

    runbooks: str
    watch: Watch | None = None
    textfile_directory: Path | None = None
    textfile_target: str = "127.0.0.1:9100"
    backup_age: float | None = None
    drill_age: float = 35 * 86400.0
    patience: float = 1.0

    @property
    def publishes(self) -> bool:
        """Whether Prometheus gets to see what the flows know."""
        return self.textfile_directory is not None or self.watch is not None

    @property
    def host(self) -> Host | None:
        """The monitoring host, if there is one."""
        return self.watch.host if self.watch else None
