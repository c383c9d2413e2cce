"""The ``monitoring`` section, resolved."""

from __future__ import annotations

from collections.abc import Callable

from tasks.cluster.model_hosts import HostSection, SshSection
from tasks.cluster.model_monitoring import (
    AlertmanagerSection,
    GrafanaSection,
    MonitoringHostSection,
    MonitoringSection,
    NodeExporterSection,
    PrometheusSection,
    ReceiverSection,
)
from tasks.cluster.model_release import ReleaseSection
from tasks.cluster.spec import Host, Release
from tasks.cluster.spec_monitoring import (
    AlertmanagerSettings,
    Email,
    GrafanaSettings,
    MonitoringSettings,
    NodeExporterSettings,
    PrometheusSettings,
    Receiver,
    Slack,
    Watch,
    Web,
    Webhook,
)
from tasks.cluster.surroundings import Surroundings


def build_release(version: str, model: ReleaseSection, around: Surroundings) -> Release:
    """Where a program comes from; paths on the worker are absolute."""
    is_path = model.source != "official" and "://" not in model.source
    source = str(around.path(model.source)) if is_path else model.source
    return Release(version=version, source=source, sha256=model.sha256, cache=around.path(model.cache))


def build_monitoring(
    model: MonitoringSection,
    hosts: tuple[HostSection, ...],
    around: Surroundings,
    resolve: Callable[[HostSection], Host],
) -> MonitoringSettings:
    """From the file's keys to complete settings.

    Args:
        hosts: The members' hosts.
        resolve: Makes a host of its keys, as for members.
    """
    watch = None
    if model.host:
        watch = _watch(model, model.host, resolve(_place(model.host, hosts)), around)
    alerts = model.alerts
    return MonitoringSettings(
        runbooks=model.runbooks,
        watch=watch,
        textfile_directory=around.optional_path(model.textfile_directory),
        textfile_target=model.textfile_target,
        backup_age=None if alerts.backup_age is None else alerts.backup_age * 86400,
        drill_age=alerts.drill_age * 86400,
        patience=alerts.patience,
    )


def _watch(model: MonitoringSection, place: MonitoringHostSection, host: Host, around: Surroundings) -> Watch:
    prometheus, alertmanager, web, grafana = model.prometheus, model.alertmanager, place.web, model.grafana
    return Watch(
        host=host,
        listen_address=place.listen_address,
        prometheus=PrometheusSettings(
            release=_release(prometheus, around),
            port=prometheus.port,
            interval=prometheus.interval,
            retention_time=prometheus.retention_time,
            retention_size=prometheus.retention_size,
        ),
        alertmanager=AlertmanagerSettings(
            release=_release(alertmanager, around),
            port=alertmanager.port,
            group_wait=alertmanager.group_wait,
            group_interval=alertmanager.group_interval,
            repeat_interval=alertmanager.repeat_interval,
        ),
        node_exporter=NodeExporterSettings(_release(model.node_exporter, around), model.node_exporter.port),
        packages=place.packages,
        grafana=GrafanaSettings(_release(grafana, around), grafana.port) if grafana else None,
        receivers=tuple(_receiver(one, around) for one in model.receivers),
        rules=tuple(around.path(path) for path in model.rules),
        web=Web(around.optional_path(web.certificate), around.secret(web.key), web.user, around.secret(web.password)),
    )


_Program = PrometheusSection | AlertmanagerSection | NodeExporterSection | GrafanaSection


def _release(model: _Program, around: Surroundings) -> Release:
    return build_release(model.version, model.release, around)


def _receiver(model: ReceiverSection, around: Surroundings) -> Receiver:
    way: Webhook | Slack | Email
    if model.slack and (url := around.secret(model.slack.url)):
        way = Slack(url, model.slack.channel)
    elif model.email:
        mail = model.email
        way = Email(mail.to, mail.sender, mail.server, mail.user, around.secret(mail.password), mail.tls)
    else:
        hook = model.webhook
        way = Webhook(
            hook.url if hook else None,
            around.secret(hook.secret_url) if hook else None,
            around.secret(hook.token) if hook else None,
        )
    return Receiver(model.name, model.severity, way)


def _place(place: MonitoringHostSection, hosts: tuple[HostSection, ...]) -> HostSection:
    """The machine as if it were a host of the file, so that its login settings are made up like theirs."""
    known = next((host for host in hosts if host.name == place.machine), None)
    if known is not None:
        own = {name: getattr(place.ssh, name) for name in place.ssh.model_fields_set}
        return known.model_copy(update={"ssh": known.ssh.model_copy(update=own)}) if own else known
    if place.machine == "local":
        return HostSection.model_construct(name="local", address="127.0.0.1", ssh=SshSection(), connection="local")
    # Not validated as a member: its name is an address, which no member is called by.
    return HostSection.model_construct(name=place.machine, address=place.machine, ssh=place.ssh)
