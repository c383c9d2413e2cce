"""The cluster file's keys for monitoring: what members show of themselves, who watches, and who is told."""

from __future__ import annotations

from typing import Literal

from tasks.cluster.model_base import Section, entry, section
from tasks.cluster.model_hosts import SshSection
from tasks.cluster.model_release import ReleaseSection
from tasks.cluster.values import Address, IpAddress, LoginUser, Port, SecretReference, Size, WorkerPath
from tasks.cluster.values_monitoring import (
    Channel,
    Endpoint,
    HookUrl,
    MailAddress,
    MailServer,
    ProgramVersion,
    PromDuration,
    ReceiverName,
    Runbooks,
)
from tasks.cluster.values_snapshots import Span


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


class WebSection(Section):
    """TLS and a login."""

    certificate: WorkerPath | None = entry(
        None,
        "Certificate that Prometheus, Alertmanager and Grafana show, with its chain (PEM), on the worker. Default: "
        "none, plain http, as nothing but loopback is listened on.",
        "./monitoring.crt",
    )
    key: SecretReference | None = entry(
        None, "Private key of that certificate (PEM), by reference. Default: none.", "file:./monitoring.key"
    )
    user: LoginUser | None = entry(
        None,
        "Name that whoever looks at Prometheus and Alertmanager logs in with; Grafana has a login of its own always. "
        "Default: no login is asked for.",
        "ops",
    )
    password: SecretReference | None = entry(
        None, "Password of that user, by reference. Default: none.", "env:MONITORING_PASSWORD"
    )


class MonitoringHostSection(Section):
    """The monitoring host."""

    machine: Address = entry(
        ...,
        "Where Prometheus and Alertmanager run: the name of a host of this file, `local` (the machine that the flow "
        "runs on), or the address of any other machine. Several clusters may share one.",
        "10.0.0.21",
    )
    ssh: SshSection = section(
        SshSection, "Login settings of that machine, key by key over the top-level `ssh`.", {"user": "ubuntu"}
    )
    listen_address: IpAddress = entry(
        "127.0.0.1",
        "IP address that they listen on. Loopback by default: whoever reaches them sees everything and can silence "
        "alerts; give an address of that machine where a firewall or a proxy with a login stands before it.",
        "10.0.0.21",
    )
    packages: bool = entry(
        False,
        "Whether Prometheus, Alertmanager and node_exporter are the packages of that machine's distribution (Debian 13 "
        "or newer), by apt; `version` and `release` of them say nothing then. false: the versions that were tested.",
        True,
    )
    web: WebSection = section(
        WebSection,
        "TLS, and a login for Prometheus and Alertmanager, for addresses beyond loopback.",
        {"user": "ops"},
    )


class PrometheusSection(Section):
    """Prometheus."""

    version: ProgramVersion = entry(
        "3.5.3", "Version, 2.43 or newer. The long-term support release by default.", "3.5.3"
    )
    release: ReleaseSection = section(
        ReleaseSection, "Where the release comes from.", {"source": "/srv/prometheus-releases"}
    )
    port: Port = entry(9090, "Its port; 9090 is Prometheus's own.", 19090)
    interval: PromDuration = entry(
        "15s", "How often members are asked for their metrics; 15 s shows an election and costs little.", "30s"
    )
    retention_time: PromDuration = entry(
        "30d", "How long metrics are kept; a month shows what was normal before an incident.", "90d"
    )
    retention_size: Size | None = entry(
        None,
        "Bytes that metrics may take on its disk, the oldest go first. Default: no limit but time; a member makes "
        "about 20 MiB a day.",
        "20GiB",
    )


class AlertmanagerSection(Section):
    """Alertmanager."""

    version: ProgramVersion = entry(
        "0.33.1", "Version, 0.27 or newer. The newest that was tested by default.", "0.33.1"
    )
    release: ReleaseSection = section(
        ReleaseSection, "Where the release comes from.", {"source": "/srv/prometheus-releases"}
    )
    port: Port = entry(9093, "Its port; 9093 is Alertmanager's own.", 19093)
    group_wait: PromDuration = entry(
        "30s",
        "How long a first alert waits for others of the cluster to come with it; 30 s as Alertmanager does.",
        "10s",
    )
    group_interval: PromDuration = entry(
        "5m", "How long before more alerts of a cluster are told; 5 min as Alertmanager does.", "1m"
    )
    repeat_interval: PromDuration = entry(
        "4h", "After how long an alert that goes on is told again; 4 h as Alertmanager does.", "12h"
    )


class NodeExporterSection(Section):
    """node_exporter, which shows Prometheus what the flows write down: backups, drills, restores."""

    version: ProgramVersion = entry("1.11.1", "Version. The newest that was tested by default.", "1.11.1")
    release: ReleaseSection = section(
        ReleaseSection, "Where the release comes from.", {"source": "/srv/prometheus-releases"}
    )
    port: Port = entry(9100, "Its port, on loopback; 9100 is node_exporter's own.", 19100)


class GrafanaSection(Section):
    """Grafana."""

    version: ProgramVersion = entry(
        "12.4.2", "Version, 11.6 or newer. The newest known to lie where it is looked for by default.", "12.4.2"
    )
    release: ReleaseSection = section(
        ReleaseSection,
        "Where the release comes from; the sum is read from the file beside it, TARBALL.sha256.",
        {"source": "/srv/grafana-releases"},
    )
    port: Port = entry(3000, "Its port; 3000 is Grafana's own.", 13000)


class WebhookSection(Section):
    """An HTTP server that is posted to."""

    url: HookUrl | None = entry(
        None,
        "Its address, if that is no secret. Default: none; either this or `secret_url`.",
        "https://alerts.example.com/",
    )
    secret_url: SecretReference | None = entry(
        None, "Its address by reference, if knowing it is all that it takes. Default: none.", "env:ALERT_HOOK"
    )
    token: SecretReference | None = entry(
        None, "Bearer token, by reference. Default: none is sent.", "file:/run/secrets/alert-token"
    )


class SlackSection(Section):
    """A channel of Slack, or of what speaks like it (Mattermost)."""

    url: SecretReference = entry(..., "Address of the incoming webhook, by reference; it is a secret.", "env:SLACK_URL")
    channel: Channel = entry(..., "The channel or user that is told.", "#etcd")


class EmailSection(Section):
    """A mailbox."""

    to: MailAddress = entry(..., "Mail address of whoever is told.", "oncall@example.com")
    sender: MailAddress = entry(..., "Mail address that stands as the sender.", "etcd@example.com")
    server: MailServer = entry(..., "Mail server, with its port.", "mail.example.com:587")
    user: str | None = entry(None, "User to log in with there. Default: no login.", "etcd")
    password: SecretReference | None = entry(
        None, "Password of that user, by reference. Default: none, no login.", "env:SMTP_PASSWORD"
    )
    tls: bool = entry(True, "Whether STARTTLS is demanded; true, as alerts name your hosts.", False)


class ReceiverSection(Section):
    """Mail address of whoever is told."""

    name: ReceiverName = entry(..., "Name of the receiver; stands in reports.", "oncall")
    severity: Literal["info", "warning", "critical"] = entry(
        "warning",
        "The least severe alerts that it gets: info, warning or critical. warning: what needs somebody.",
        "critical",
    )
    webhook: WebhookSection | None = entry(
        None, "An HTTP server. Default: none; one of webhook, slack and email.", {"url": "https://alerts.example.com/"}
    )
    slack: SlackSection | None = entry(
        None, "A channel of Slack. Default: none.", {"url": "env:SLACK_URL", "channel": "#etcd"}
    )
    email: EmailSection | None = entry(
        None,
        "A mailbox. Default: none.",
        {"to": "oncall@example.com", "sender": "etcd@example.com", "server": "mail.example.com:587"},
    )


class AlertsSection(Section):
    """From when on an alert is due."""

    backup_age: Span | None = entry(
        None,
        "How old the newest backup in a store may be. Default: the longest pause of `snapshots.schedule` and half of "
        "it again, so that one backup that did not come is noticed before the next is due; 36h without a schedule.",
        "9h",
    )
    drill_age: Span = entry(
        "35d",
        "How long ago the last good restore drill may be. A month and some days: a backup that nobody has restored for "
        "longer is a hope.",
        "10d",
        validate_default=True,
    )
    patience: float = entry(
        1.0,
        "How long something has to be wrong before an alert fires, as a multiple of each alert's own time (a member "
        "that is down: 2 minutes). 1 by default; more where networks are shaky or `interval` is above 30s, less where "
        "minutes count, or to see alerts come and go.",
        2,
        ge=0,
        le=20,
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
    host: MonitoringHostSection | None = entry(
        None,
        "Where enable-monitoring puts Prometheus and Alertmanager. Default: nowhere; for a Prometheus of your own "
        "there is `etcd-flows monitoring files`.",
        {"machine": "10.0.0.21"},
    )
    prometheus: PrometheusSection = section(
        PrometheusSection, "Prometheus on the monitoring host.", {"retention_time": "90d"}
    )
    alertmanager: AlertmanagerSection = section(
        AlertmanagerSection, "Alertmanager on the monitoring host.", {"repeat_interval": "12h"}
    )
    node_exporter: NodeExporterSection = section(
        NodeExporterSection, "node_exporter on the monitoring host, for what the flows write down.", {"port": 19100}
    )
    grafana: GrafanaSection | None = entry(
        None,
        "Grafana on the monitoring host, with the dashboards in it; `{}` is enough. Default: none, as it is a large "
        "program; for a Grafana of your own there is `etcd-flows monitoring files`.",
        {},
    )
    receivers: tuple[ReceiverSection, ...] = entry(
        (),
        "Who is told of alerts about this cluster. Default: nobody; alerts are seen in Prometheus only.",
        [{"name": "oncall", "webhook": {"url": "https://alerts.example.com/"}}],
        max_length=20,
    )
    rules: tuple[WorkerPath, ...] = entry(
        (),
        "Rule files of your own, on the worker, put beside the cluster's. Default: none.",
        ["./team.rules.yml"],
        max_length=20,
    )
    textfile_directory: WorkerPath | None = entry(
        None,
        "Directory on the worker that a node_exporter there reads (--collector.textfile.directory): flows write into "
        "it what they know of backups, drills, restores, certificates and clocks. Default: none; a monitoring host of "
        "ours gets that anyway, a Prometheus of your own can't tell without it that backups do not come.",
        "/var/lib/prometheus/node-exporter",
    )
    textfile_target: Endpoint = entry(
        "127.0.0.1:9100",
        "HOST:PORT at which your Prometheus reaches that node_exporter. Default: its usual port, on Prometheus's own "
        "machine.",
        "10.0.0.5:9100",
    )
    alerts: AlertsSection = section(AlertsSection, "From when on some alerts are due.", {"drill_age": "10d"})
