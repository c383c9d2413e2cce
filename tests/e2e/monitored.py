"""A cluster on real hosts, the host that watches it, and the three ways in which people are told of alerts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.cluster.load import load_cluster
from tasks.pki.authority import load_authority
from tasks.pki.leaves import LeafSpec
from tests.e2e.conftest import MakeProduct
from tests.e2e.product import Done, Product
from tests.lab.debian import PackagesUnavailable
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import outside
from tests.monitoring.mirror import mirror, templates
from tests.monitoring.sinks import SLACK, Hook, Mailbox, mailbox

PATIENCE = 120.0
PROMETHEUS = "http://127.0.0.1:9090"
ALERTMANAGER = "http://127.0.0.1:9093"
HERE = "198.18.0.1"
TOKEN, SLACK_KEY = "t0p-secret", "sl4ck-secret"
WEB_PASSWORD = "hunter2-of-the-web"
OWN_RULES = """\
groups:
  - name: team
    interval: 1s
    rules:
      - alert: TeamMemberGone
        expr: up{job="etcd", cluster="prod-a"} == 0
        labels: {severity: critical}
"""


@dataclass
class Site:
    """Three members, a monitoring host, and the operator."""

    product: Product
    hosts: list[LabHost]
    watcher: LabHost
    content: dict[str, Any]
    hook: Hook
    mail: Mailbox

    def change(self, **keys: Any) -> None:
        """Write the cluster file anew with other keys below ``monitoring``."""
        monitoring = {**self.content["monitoring"], **keys}
        self.content = {**self.content, "monitoring": monitoring}
        self.product.write(self.content)

    def enable(self, code: int = 0) -> Done:
        """Run enable-monitoring."""
        done = self.product.run("enable-monitoring")
        assert done.code == code, done.output
        return done

    def query(self, expr: str) -> list[dict[str, Any]]:
        """What Prometheus says."""
        tool = "$(echo /opt/etcd-flows/prometheus-*/promtool)"
        found: list[dict[str, Any]] = json.loads(
            self.watcher.exec(f"{tool} query instant -o json {PROMETHEUS} '{expr}'")
        )
        return found

    def known(self, alert: str) -> dict[str, str]:
        """An alert's states in Alertmanager, by member: ``active``, or ``suppressed`` where it is inhibited."""
        tool = "$(echo /opt/etcd-flows/alertmanager-*/amtool)"
        words = f"alert query --alertmanager.url {ALERTMANAGER} --inhibited --active -o json alertname={alert}"
        found = json.loads(self.watcher.exec(f"{tool} {words}"))
        return {one["labels"].get("member", ""): one["status"]["state"] for one in found}

    def told(self, alert: str, status: str, **labels: str) -> bool:
        """Whether all three receivers have been told that it fires, or is resolved."""
        came = [one for one in self.hook.alerts(alert, status) if labels.items() <= one["labels"].items()]
        head = f"[{status.upper()}"
        titles = (self.hook.titles(), self.mail.subjects())
        return bool(came) and all(any(t.startswith(head) and alert in t for t in one) for one in titles)

    def pids(self) -> list[str]:
        """Processes of all three programs, and how often they were restarted."""
        shown = "systemctl show -p MainPID -p NRestarts -p ExecMainStartTimestamp --value"
        return [self.watcher.exec(f"{shown} {unit}") for unit in ("prometheus", "alertmanager", "node_exporter")]


def certificate(product: Product, name: str, address: str) -> tuple[Path, Path]:
    """Issued for one address."""
    authority = load_authority(load_cluster(str(product.file)).cluster.pki)
    assert authority is not None
    made = authority.issue(LeafSpec(name, name, None, ("server",), (address,), "ec-p256", 30), datetime.now(UTC))
    cert, key = product.directory / f"{name}.crt", product.directory / f"{name}.key"
    cert.write_bytes(made.cert_pem)
    key.write_bytes(made.key_pem)
    key.chmod(0o600)
    return cert, key


def eventually(what: Callable[[], object], words: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, f"not within {PATIENCE:g} s: {words}"
        time.sleep(0.5)


def releases() -> dict[str, Any]:
    """Keys of the monitoring section: the programs from a mirror."""
    try:
        top, versions = outside(mirror)
    except PackagesUnavailable as error:
        pytest.skip(f"NOT RUN: {error}")
    return {name: {"version": version, "release": {"source": str(top)}} for name, version in versions.items()}


def receivers(hook: Hook) -> list[dict[str, Any]]:
    """All three ways; every secret by reference."""
    mail = {"to": "oncall@example.com", "sender": "etcd@example.com", "server": f"{HERE}:1587"}
    return [
        {"name": "oncall", "webhook": {"url": f"{hook.url}/oncall", "token": "env:ALERT_TOKEN"}},
        {"name": "chat", "slack": {"url": "env:SLACK_URL", "channel": "#etcd"}},
        {"name": "mail", "email": {**mail, "user": "etcd", "password": "env:SMTP_PASSWORD"}},
    ]


@contextmanager
def site(lab: Lab, make_product: MakeProduct, hook: Hook) -> Iterator[Site]:
    """The members run and show their metrics over https; enable-monitoring has not been run yet.

    Alerts wait a thirtieth of what they do by default, for the tests' sake.
    """
    keys = releases()
    product, (*hosts, watcher) = make_product(), lab.fresh(4)
    watcher.exec("mkdir -p /usr/share/prometheus/alertmanager")
    for path, text in templates().items():
        watcher.write(path, text)
    keys["prometheus"]["interval"] = "1s"
    keys["alertmanager"] |= {"group_wait": "1s", "group_interval": "1s"}
    (product.directory / "team.rules.yml").write_text(OWN_RULES)
    monitoring = {
        "metrics": {"scheme": "https"},
        "host": {"machine": watcher.address, "ssh": dict(watcher.ssh_spec()["ssh"])},
        "receivers": receivers(hook),
        "rules": ["./team.rules.yml"],
        "alerts": {"patience": 0.03, "backup_age": "0.5m"},
        **keys,
    }
    stores = [{"name": "local", "directory": str(product.directory / "backups")}]
    content = product.describe(hosts, etcd={"quota": "16MiB"}, snapshots={"stores": stores}, monitoring=monitoring)
    product.bootstrap()
    cert, key = certificate(product, "mail", HERE)
    watcher.exec("mkdir -p /etc/ssl/certs")  # trusted there as a company's own CA is
    watcher.write("/etc/ssl/certs/company.pem", (product.state / "ca.crt").read_text())
    with mailbox(HERE, 1587, str(cert), str(key)) as mail:
        product.environ |= {
            "ALERT_TOKEN": TOKEN,
            "SLACK_URL": f"{hook.url}{SLACK}{SLACK_KEY}",
            "SMTP_PASSWORD": mail.password,
            "WEB_PASSWORD": WEB_PASSWORD,
        }
        yield Site(product, hosts, watcher, content, hook, mail)
