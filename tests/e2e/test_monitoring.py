"""enable-monitoring on a real host: real Prometheus and Alertmanager, from the members' metrics to a webhook.

The tests of this module share one site and follow one another, as an operator's week would.
"""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.cluster.load import load_cluster
from tasks.pki.authority import load_authority
from tasks.pki.leaves import LeafSpec
from tests.e2e.conftest import MakeProduct
from tests.e2e.product import Done, Product, leftovers, tree
from tests.lab.debian import PackagesUnavailable
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import outside
from tests.monitoring.mirror import mirror, templates

PATIENCE = 120.0
WEB_PASSWORD = "hunter2-of-the-web"
PROMETHEUS = "http://127.0.0.1:9090"
CONFIG = ("/etc/prometheus", "/etc/alertmanager", "/etc/systemd/system", "/var/lib/etcd-flows/monitoring")
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
class Hook:
    """A server that alerts are posted to; it keeps them, and refuses those to ``/refuse``."""

    url: str
    got: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    def alerts(self, name: str, status: str) -> list[dict[str, Any]]:
        """What has come of one alert."""
        every = [alert for post in list(self.got) for alert in post["alerts"]]
        return [alert for alert in every if alert["labels"]["alertname"] == name and alert["status"] == status]


@pytest.fixture(scope="module")
def hook(lab: Lab) -> Iterator[Hook]:
    found = Hook("")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            refused = self.path == "/refuse"
            if not refused:
                found.tokens.add(self.headers.get("authorization"))
                found.got.append(json.loads(body))
            self.send_response(403 if refused else 200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("198.18.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.url = f"http://198.18.0.1:{server.server_address[1]}"
        yield found
        server.shutdown()


@dataclass
class Site:
    """Three members, a monitoring host, and the operator."""

    product: Product
    hosts: list[LabHost]
    watcher: LabHost
    content: dict[str, Any]

    def change(self, **keys: Any) -> None:
        """Write the cluster file anew with other keys below ``monitoring``."""
        monitoring = {**self.content["monitoring"], **keys}
        self.content = {**self.content, "monitoring": monitoring}
        self.product.write(self.content)

    def enable(self, code: int = 0) -> Done:
        done = self.product.run("enable-monitoring", ALERT_TOKEN="t0p-secret", WEB_PASSWORD=WEB_PASSWORD)
        assert done.code == code, done.output
        return done

    def query(self, expr: str) -> list[dict[str, Any]]:
        """What Prometheus says."""
        tool = "$(echo /opt/etcd-flows/prometheus-*/promtool)"
        found: list[dict[str, Any]] = json.loads(
            self.watcher.exec(f"{tool} query instant -o json {PROMETHEUS} '{expr}'")
        )
        return found

    def pids(self) -> list[str]:
        """Processes of all three programs, and how often they were restarted."""
        shown = "systemctl show -p MainPID -p NRestarts -p ExecMainStartTimestamp --value"
        return [self.watcher.exec(f"{shown} {unit}") for unit in ("prometheus", "alertmanager", "node_exporter")]


def eventually(what: Callable[[], object], words: str) -> None:
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


@pytest.fixture(scope="module")
def site(lab: Lab, make_product: MakeProduct, hook: Hook) -> Site:
    keys = releases()
    product, (*hosts, watcher) = make_product(), lab.fresh(4)
    watcher.exec("mkdir -p /usr/share/prometheus/alertmanager")
    for path, text in templates().items():
        watcher.write(path, text)
    keys["prometheus"]["interval"] = "1s"
    keys["alertmanager"] |= {"group_wait": "1s", "group_interval": "1s"}
    ssh = {name: value for name, value in watcher.ssh_spec()["ssh"].items()}
    receivers = [{"name": "oncall", "webhook": {"url": f"{hook.url}/oncall", "token": "env:ALERT_TOKEN"}}]
    (product.directory / "team.rules.yml").write_text(OWN_RULES)
    monitoring = {
        "host": {"machine": watcher.address, "ssh": ssh},
        "receivers": receivers,
        "rules": ["./team.rules.yml"],
        **keys,
    }
    content = product.describe(hosts, monitoring=monitoring)
    product.bootstrap()
    return Site(product, hosts, watcher, content)


def test_set_up_from_tarballs_and_proven(site: Site, hook: Hook) -> None:
    planned = site.product.must("enable-monitoring", "--plan", ALERT_TOKEN="t0p-secret").json["plan"]
    assert [phase["name"] for phase in planned["phases"]] == [
        "prepare the monitoring host",
        "configure",
        "run",
        "prove",
    ]
    assert site.watcher.exec("ls /etc/prometheus /opt/etcd-flows 2>/dev/null; true") == ""

    done = site.enable()
    assert {target["state"] for target in done.json["targets"]} == {"up"}
    assert [target["member"] for target in done.json["targets"]] == [host.name for host in site.hosts]
    assert hook.alerts("EtcdFlowsTest", "firing"), "the test alert"
    assert hook.tokens == {"Bearer t0p-secret"}
    users = site.watcher.exec("ps -o user:20= -o comm= -e")
    for name in ("prometheus", "alertmanager"):
        assert f"{name} {name}" in " ".join(users.split()), users
    assert leftovers(site.watcher) == []


def test_the_secret_is_in_one_closed_file(site: Site) -> None:
    found = site.watcher.exec("grep -rl t0p-secret /etc /var/lib/etcd-flows /opt/etcd-flows 2>/dev/null; true").split()
    assert len(found) == 1
    assert site.watcher.exec(f"stat -c '%a %U:%G' {found[0]}").strip() == "640 root:alertmanager"
    assert "t0p-secret" not in site.watcher.exec(
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; journalctl -o cat --no-pager"
    )


def test_a_rerun_has_nothing_to_do(site: Site) -> None:
    before, pids = tree(site.watcher, *CONFIG), site.pids()
    done = site.enable()
    assert done.json["plan"]["empty"] is True
    assert tree(site.watcher, *CONFIG) == before
    assert site.pids() == pids
    text = site.product.run("enable-monitoring", as_json=False, ALERT_TOKEN="t0p-secret")
    assert "nothing to do" in text.stdout


def test_what_the_flows_know_reaches_prometheus(site: Site) -> None:
    """check-cluster writes it on the monitoring host over SSH, where node_exporter reads it."""
    checked = site.product.must("check-cluster", ALERT_TOKEN="t0p-secret").json
    assert "Prometheus is not told" not in json.dumps(checked)
    ends = 'etcd_flows_certificate_not_after_timestamp_seconds{cluster="prod-a"}'
    names = {host.name for host in site.hosts}
    eventually(lambda: {row["metric"].get("member") for row in site.query(ends)} == names, "the certificates' ends")
    for host in site.hosts:
        openssl = "openssl x509 -enddate -noout -in /etc/etcd/pki/server.crt | cut -d= -f2"
        until = int(host.exec(f'date -d "$({openssl})" +%s'))
        of_host = [row for row in site.query(ends) if row["metric"]["member"] == host.name]
        assert until in {int(float(row["value"][1])) for row in of_host}
    assert leftovers(site.watcher) == []


def test_a_member_that_is_killed_is_told_and_so_is_its_return(site: Site, hook: Hook) -> None:
    site.hosts[1].exec("systemctl stop etcd")
    eventually(lambda: hook.alerts("TeamMemberGone", "firing"), "the alert at the webhook")
    (alert, *_) = hook.alerts("TeamMemberGone", "firing")
    assert alert["labels"]["member"] == site.hosts[1].name
    assert any(row["metric"]["alertname"] == "EtcdMemberDown" for row in site.query("ALERTS"))
    done = site.enable(code=1)
    assert done.json["plan"]["empty"] is True, "a member that is down is no reason to change anything"
    assert {target["member"]: target["state"] for target in done.json["targets"]}[site.hosts[1].name] == "down"
    site.hosts[1].exec("systemctl start etcd")
    eventually(lambda: hook.alerts("TeamMemberGone", "resolved"), "that it is over")


def test_changed_configuration_reloads_and_a_broken_rule_never_goes_live(site: Site) -> None:
    pids = site.pids()
    rules = site.product.directory / "team.rules.yml"
    rules.write_text(OWN_RULES.replace("TeamMemberGone", "TeamMemberAway"))
    assert [step["name"] for phase in site.enable().json["plan"]["phases"] for step in phase["steps"]] == [
        "prometheus-config",
        "prometheus-run",
        "targets",
    ]
    assert site.pids() == pids, "reloaded, not restarted"

    before = tree(site.watcher, *CONFIG)
    rules.write_text(OWN_RULES.replace("== 0", "=== 0"))
    refused = site.enable(code=3)
    assert "parse error" in refused.errors[0]["message"], refused.output
    assert "former configuration" in refused.errors[0]["state"]
    assert tree(site.watcher, *CONFIG) == before
    assert site.pids() == pids
    rules.write_text(OWN_RULES.replace("TeamMemberGone", "TeamMemberAway"))
    assert site.enable().json["plan"]["empty"] is True


def test_a_receiver_that_refuses_is_named(site: Site, hook: Hook) -> None:
    receivers = site.content["monitoring"]["receivers"]
    site.change(receivers=[*receivers, {"name": "deaf", "webhook": {"url": f"{hook.url}/refuse"}}])
    failed = site.enable(code=1)
    assert "receiver deaf did not take" in failed.errors[0]["message"]
    assert "oncall" not in failed.errors[0]["message"]
    site.change(receivers=receivers)
    assert site.enable().json["plan"]["empty"] is False
    assert site.enable().json["plan"]["empty"] is True


def test_a_second_cluster_leaves_the_first_alone(
    site: Site, make_product: MakeProduct, hook: Hook, tmp_path: Path
) -> None:
    """Its one member runs on the monitoring host itself, by whose name it is called."""
    mine = "/etc/prometheus/clusters/etcd-prod-a* /etc/alertmanager/clusters/etcd-prod-a*"
    before = tree(site.watcher, mine)
    other = make_product()
    keys = {name: site.content["monitoring"][name] for name in ("prometheus", "alertmanager", "node_exporter")}
    receivers = [{"name": "oncall", "webhook": {"url": f"{hook.url}/other"}}]
    monitoring = {"host": {"machine": site.watcher.name}, "receivers": receivers, **keys}
    other.describe([site.watcher], name="prod-b", monitoring=monitoring)
    other.bootstrap()
    done = other.must("enable-monitoring").json
    assert [target["state"] for target in done["targets"]] == ["up"]
    assert "prometheus-release" not in json.dumps(done["plan"])
    assert tree(site.watcher, mine) == before
    assert {row["metric"]["cluster"] for row in site.query('up{job="etcd"} == 1')} == {"prod-a", "prod-b"}
    assert site.enable().json["plan"]["empty"] is True
    assert other.must("enable-monitoring").json["plan"]["empty"] is True


def test_a_run_that_is_cut_off_is_carried_on(site: Site) -> None:
    """New configuration is in place, and the program was not told: the note makes the next run do it."""
    site.watcher.exec("touch /var/lib/etcd-flows/monitoring/prometheus.pending; systemctl kill -s KILL alertmanager")
    plan = site.enable().json["plan"]
    names = [step["name"] for phase in plan["phases"] for step in phase["steps"]]
    assert "prometheus-run" in names
    assert "targets" in names
    assert site.enable().json["plan"]["empty"] is True
    site.watcher.power_cycle()
    eventually(lambda: "active" in site.watcher.exec("systemctl is-active prometheus; true"), "it starts at boot")
    assert site.enable().json["plan"]["empty"] is True


def test_a_host_without_room_says_so_and_goes_on(site: Site) -> None:
    site.watcher.exec("mount -t tmpfs -o size=150M tmpfs /opt/etcd-flows")
    failed = site.enable(code=1)
    assert "there is no room for Prometheus" in failed.errors[0]["message"]
    site.watcher.exec("umount /opt/etcd-flows")
    assert site.enable().json["plan"]["empty"] is True


def test_tls_and_a_login_on_an_address_of_the_network(site: Site) -> None:
    authority = load_authority(load_cluster(str(site.product.file)).cluster.pki)
    assert authority is not None
    leaf = LeafSpec("mon", "mon", None, ("server",), (site.watcher.address,), "ec-p256", 30)
    made = authority.issue(leaf, datetime.now(UTC))
    (site.product.directory / "mon.crt").write_bytes(made.cert_pem)
    (site.product.directory / "mon.key").write_bytes(made.key_pem)
    (site.product.directory / "mon.key").chmod(0o600)
    web = {"certificate": "./mon.crt", "key": "file:./mon.key", "user": "ops", "password": "env:WEB_PASSWORD"}
    host = site.content["monitoring"]["host"]
    site.change(host={**host, "listen_address": site.watcher.address, "web": web})
    assert {target["state"] for target in site.enable().json["targets"]} == {"up"}
    assert site.enable().json["plan"]["empty"] is True

    context = ssl.create_default_context(cafile=str(site.product.state / "ca.crt"))
    login = base64.b64encode(f"ops:{WEB_PASSWORD}".encode()).decode()
    for port in (9090, 9093):
        url = f"https://{site.watcher.address}:{port}/-/healthy"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=10, context=context)
        assert refused.value.code == 401
        asked = urllib.request.Request(url, headers={"authorization": f"Basic {login}"})
        with urllib.request.urlopen(asked, timeout=10, context=context) as answer:  # noqa: S310 - our own URL
            assert answer.status == 200
    found = site.watcher.exec(f"grep -rl {WEB_PASSWORD} /etc /var/lib/etcd-flows 2>/dev/null; true").split()
    assert found == ["/etc/prometheus/web.password"]
    site.change(host=host)
    site.enable()
    assert site.watcher.exec("ls /etc/prometheus /etc/alertmanager | grep web; true") == ""


def test_somebody_elses_prometheus_is_not_touched(site: Site, lab: Lab, make_product: MakeProduct) -> None:
    host = site.hosts[0]
    host.write("/etc/systemd/system/prometheus.service", "[Service]\nExecStart=/bin/sleep 1000\n")
    host.exec("systemctl daemon-reload")
    site.change(host={"machine": host.name})
    refused = site.enable(code=3)
    assert "prometheus.service that etcd-flows did not make" in refused.errors[0]["message"]
    assert "sleep" in host.read("/etc/systemd/system/prometheus.service")
