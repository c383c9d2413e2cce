"""Settings of monitoring that do not fit together."""

from __future__ import annotations

import ipaddress

from tasks.cluster.checked import Checked
from tasks.cluster.problems import KeyPath
from tasks.cluster.spec import Host


def check_monitoring(checked: Checked) -> None:
    """Note what is wrong with the metrics' addresses."""
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
