"""Settings of monitoring that do not fit together."""

from __future__ import annotations

import ipaddress

from tasks.cluster.checked import Checked
from tasks.cluster.model_monitoring import GrafanaSection, MonitoringHostSection, MonitoringSection, ReceiverSection
from tasks.cluster.problems import KeyPath
from tasks.cluster.spec import Host

#: Grafana whose format the dashboards have: major and minor version.
OLDEST_GRAFANA = (11, 6)


def check_monitoring(checked: Checked) -> None:
    """Note what is wrong with the metrics' addresses, the monitoring host, and who is told."""
    if checked.model.monitoring is not None:
        _watching(checked, checked.model.monitoring)
    for index, host in checked.hosts:
        key: KeyPath = ("hosts", index, "metrics_address")
        if checked.model.monitoring is None:
            if checked.model.hosts[index].metrics_address:
                checked.note(key, "nothing is shown there without a `monitoring` section", "monitoring: {}", "warning")
            continue
        _address(checked, key, host)


def _address(checked: Checked, key: KeyPath, host: Host) -> None:
    if host.metrics_address is None:
        if host.address.endswith(".invalid"):  # stands for an address that could not be read (RFC 6761, 6.4)
            return
        checked.note(
            key,
            "needed, since neither address nor listen_address is an IP address of this one host",
            "the IP address at which Prometheus reaches the host: 10.0.0.11",
        )
        return
    if ipaddress.ip_address(host.metrics_address).is_unspecified:
        # It would take the port on loopback too, where the gates of all flows look at the member over plain http.
        checked.note(key, "metrics can't be shown on all addresses, as loopback keeps its own listener", "10.0.0.11")
    elif host.metrics_scheme == "https" and host.metrics_address == host.loopback:
        checked.note(key, "this loopback address shows plain http, which the flows need", "another address for https")


def _watching(checked: Checked, monitoring: MonitoringSection) -> None:
    host = checked.cluster.monitoring.host if checked.cluster.monitoring else None
    seen: set[str] = set()
    for index, receiver in enumerate(monitoring.receivers):
        path: KeyPath = ("monitoring", "receivers", index)
        if receiver.name in seen:
            checked.note((*path, "name"), f"another receiver is called {receiver.name} too", "names tell them apart")
        seen.add(receiver.name)
        _receiver(checked, path, receiver)
    if monitoring.host is None or host is None:
        if monitoring.receivers:
            text = "nobody is told without a monitoring host"
            checked.note(("monitoring", "receivers"), text, "host: {machine: 10.0.0.21}", "warning")
        if monitoring.grafana is not None:
            text = "there is nowhere to put it without a monitoring host"
            checked.note(("monitoring", "grafana"), text, "host: {machine: 10.0.0.21}", "warning")
        return
    if monitoring.host.machine == "local" and monitoring.host.ssh.model_fields_set:
        checked.note(("monitoring", "host", "ssh"), "nobody logs in where the flow runs", "leave ssh out")
    if host.service != "systemd":
        checked.note(("monitoring", "host", "machine"), "the monitoring host has to have systemd", "another machine")
    _web(checked, monitoring.host)
    _grafana(checked, monitoring.host, monitoring.grafana)
    _ports(checked, monitoring, host)


def _receiver(checked: Checked, path: KeyPath, receiver: ReceiverSection) -> None:
    ways = [name for name in ("webhook", "slack", "email") if getattr(receiver, name) is not None]
    if len(ways) != 1:
        text = f"a receiver is one of webhook, slack and email; {' and '.join(ways) or 'none'} is given"
        checked.note(path, text, "webhook: {url: https://alerts.example.com/}")
    hook, mail = receiver.webhook, receiver.email
    if hook and (hook.url is None) == (hook.secret_url is None):
        checked.note((*path, "webhook"), "one of url and secret_url belongs here", "url: https://alerts.example.com/")
    if mail and (mail.user is None) != (mail.password is None):
        checked.note((*path, "email"), "user and password belong together", "give both, or neither")


def _web(checked: Checked, host: MonitoringHostSection) -> None:
    web, path = host.web, ("monitoring", "host", "web")
    if (web.certificate is None) != (web.key is None):
        checked.note(path, "certificate and key belong together", "give both, or neither")
    if (web.user is None) != (web.password is None):
        checked.note(path, "user and password belong together", "give both, or neither")
    if not ipaddress.ip_address(host.listen_address).is_loopback and web.user is None:
        text = "whoever reaches that address sees all metrics and can silence alerts"
        checked.note(("monitoring", "host", "listen_address"), text, "web: {user: ops, password: env:...}", "warning")


def _grafana(checked: Checked, host: MonitoringHostSection, grafana: GrafanaSection | None) -> None:
    if grafana is None:
        return
    if tuple(int(number) for number in grafana.version.split("-")[0].split(".")[:2]) < OLDEST_GRAFANA:
        checked.note(("monitoring", "grafana", "version"), "the dashboards need 11.6 or newer", "12.4.2")
    if not ipaddress.ip_address(host.listen_address).is_loopback and host.web.certificate is None:
        text = "who logs in to Grafana at that address sends the password in the clear"
        checked.note(("monitoring", "host", "listen_address"), text, "web: {certificate: ..., key: ...}", "warning")


def _ports(checked: Checked, monitoring: MonitoringSection, host: Host) -> None:
    taken: dict[int, str] = {}
    if host in checked.cluster.hosts:
        taken = {host.client_port: "clients", host.peer_port: "peers", host.metrics_port: "its metrics"}
    for name in ("prometheus", "alertmanager", "node_exporter", "grafana"):
        section = getattr(monitoring, name)
        if section is None:
            continue
        port = section.port
        if port in taken:
            checked.note(("monitoring", name, "port"), f"{port} is used twice, also for {taken[port]}", "another port")
        taken[port] = name
