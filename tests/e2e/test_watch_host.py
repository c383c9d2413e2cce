"""A monitoring host of another kind: programs by packages of its distribution, Grafana, clusters that leave it.

Grafana is a stand-in of ours (see :mod:`tests.monitoring.grafana`); all else is Debian's own. The tests of this module
share two hosts and follow one another.
"""

from __future__ import annotations

import json
import shutil
import ssl
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.conftest import MakeProduct, PrefectServer
from tests.e2e.monitored import certificate
from tests.e2e.product import Product, assert_healthy, leftovers, tree
from tests.lab.base import Image
from tests.lab.debian import PackagesUnavailable, repository
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import outside
from tests.monitoring import grafana

PACKAGES = ("prometheus", "promtool", "prometheus-alertmanager", "prometheus-node-exporter")
CONFIG = (
    "/etc/prometheus",
    "/etc/alertmanager",
    "/etc/grafana",
    "/etc/systemd/system",
    "/var/lib/etcd-flows/monitoring",
)
UNITS = ("prometheus", "alertmanager", "node_exporter", "grafana")
DEBIAN_13 = Image("trixie")
WEB_PASSWORD = "hunter2-of-the-web"
DASHBOARDS = {"etcd-cluster", "etcd-member", "etcd-latency", "etcd-backup"}


@dataclass
class Site:
    """A member on Debian 12, and on Debian 13 a host that watches and has the second cluster's one member."""

    one: Product
    two: Product
    member: LabHost
    watcher: LabHost
    release: dict[str, Any]

    def describe(self, product: Product, host: LabHost, name: str, **place: Any) -> None:
        place = {"machine": self.watcher.address, "ssh": self.watcher.ssh_spec()["ssh"], "packages": True, **place}
        product.describe([host], name=name, monitoring={"host": place, "grafana": self.release})

    def shown(self, wanted: str) -> list[str]:
        return [self.watcher.exec(f"systemctl show -p {wanted} --value {unit}").strip() for unit in UNITS]

    def enable(self, product: Product) -> dict[str, Any]:
        """Run enable-monitoring, which has to succeed."""
        return product.must("enable-monitoring", WEB_PASSWORD=WEB_PASSWORD).json

    def steps(self, product: Product) -> list[str]:
        """Of such a run."""
        return [step["name"] for phase in self.enable(product)["plan"]["phases"] for step in phase["steps"]]

    def password(self, product: Product) -> str:
        """Grafana's, as the operator keeps it."""
        kept = product.state / "grafana.password"
        assert kept.stat().st_mode & 0o777 == 0o600
        return kept.read_text()

    def grafana(self, path: str, password: str = "") -> tuple[int, Any]:
        """What Grafana answers on its host."""
        login = f"-u admin:{password} " if password else ""
        said = self.watcher.exec(f"curl -s -w '\\n%{{http_code}}' {login}http://127.0.0.1:3000{path}")
        body, _, code = said.rpartition("\n")
        return int(code), json.loads(body)


@pytest.fixture(scope="module")
def site(lab: Lab, make_product: MakeProduct) -> Site:
    try:
        packages = outside(lambda: repository("monitoring", DEBIAN_13, PACKAGES))
        top = outside(grafana.mirror)
    except PackagesUnavailable as error:
        pytest.skip(f"NOT RUN: {error}")
    member, watcher = lab.fresh(2, (Image(), DEBIAN_13))
    shutil.copytree(packages, watcher.root / "srv/apt")
    watcher.write("/etc/apt/sources.list", "deb [trusted=yes] file:/srv/apt ./\n")
    release = {"version": grafana.VERSION, "release": {"source": str(top)}}
    found = Site(make_product(), make_product(), member, watcher, release)
    found.describe(found.one, member, "prod-a")
    found.describe(found.two, watcher, "prod-b")
    found.one.bootstrap()
    found.two.bootstrap()
    return found


def test_debian_s_packages_run_as_we_say_and_stay_as_they_are(site: Site) -> None:
    done = site.one.run("enable-monitoring", as_json=False)
    assert done.code == 0, done.output
    assert done.stdout.count(site.password(site.one)) == 1, "shown to the person who made it"
    assert site.password(site.one) not in done.stderr
    programs = [site.watcher.exec(f"readlink /proc/{pid}/exe").strip() for pid in site.shown("MainPID")[:3]]
    assert programs == ["/usr/bin/prometheus", "/usr/bin/prometheus-alertmanager", "/usr/bin/prometheus-node-exporter"]
    assert site.watcher.exec(f"dpkg --verify {' '.join(PACKAGES)}") == ""
    for theirs in PACKAGES[2:]:
        assert site.watcher.exec(f"systemctl is-enabled {theirs}; true").strip() == "masked"
    listening = site.watcher.exec("ss -Hltn | awk '{print $4}'").split()
    ports = (":9090", ":9093", ":9100", ":3000")
    assert [at for at in listening if at.endswith(ports) and not at.startswith("127.0.0.1:")] == []

    before, pids = tree(site.watcher, *CONFIG), site.shown("MainPID")
    again = site.enable(site.one)
    assert [target["state"] for target in again["targets"]] == ["up"]
    assert again["plan"]["empty"] is True
    assert (tree(site.watcher, *CONFIG), site.shown("MainPID")) == (before, pids)
    assert leftovers(site.watcher) == []


def test_grafana_lets_in_who_has_the_password_and_nobody_else(site: Site, prefect_server: PrefectServer) -> None:
    password = site.password(site.one)
    assert site.grafana("/api/org")[0] == 401
    assert site.grafana("/api/org", "admin")[0] == 401, "Grafana's own password"
    assert site.grafana("/api/user", password)[1]["isGrafanaAdmin"] is True
    assert site.grafana("/api/datasources/uid/etcd-flows/health", password)[1]["status"] == "OK"
    assert {one["uid"] for one in site.grafana("/api/search?type=dash-db", password)[1]} == DASHBOARDS
    found = site.watcher.exec(f"grep -rl {password} /etc /opt /var/lib/etcd-flows /var/lib/grafana; true").split()
    assert found == ["/etc/grafana/admin.password"]
    assert site.watcher.exec(f"stat -c '%a %U:%G' {found[0]}").strip() == "640 root:grafana"
    said = site.watcher.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; journalctl -o cat --no-pager")
    assert password not in said
    assert password.encode() not in b"".join(path.read_bytes() for path in prefect_server.home.glob("*.db*"))


def test_changed_dashboards_restart_nothing_and_a_changed_password_is_noticed(site: Site) -> None:
    home = f"/opt/etcd-flows/grafana-{grafana.VERSION}"
    reset = f"{home}/bin/grafana cli --homepath {home} --config /etc/grafana/grafana.ini admin reset-admin-password"
    site.watcher.exec(f"echo other | sudo -u grafana {reset} --password-from-stdin")
    site.watcher.exec("echo '{}' >/etc/grafana/dashboards/etcd-member.json")
    pids = site.shown("MainPID")
    failed = site.one.run("enable-monitoring")
    assert failed.code == 1, failed.output
    assert "somebody has set another one" in failed.errors[0]["message"]
    assert site.shown("MainPID") == pids
    site.watcher.exec(failed.errors[0]["remedy"].split("`")[1])
    assert site.steps(site.one) == ["grafana-run", "grafana"]
    assert site.enable(site.one)["plan"]["empty"] is True


def test_an_upgrade_of_the_packages_is_taken_up(site: Site) -> None:
    again = f"DEBIAN_FRONTEND=noninteractive apt-get -qq -y --reinstall install {' '.join(PACKAGES)}"
    site.watcher.exec(again, timeout=300)
    assert site.shown("ActiveState") == ["active"] * 4
    assert site.watcher.exec("systemctl is-active prometheus-alertmanager; true").strip() == "inactive"
    assert "alertmanager-run" in site.steps(site.one)
    assert site.enable(site.one)["plan"]["empty"] is True


def test_packages_that_are_too_old_are_refused_before_anything_is_done(site: Site) -> None:
    """Debian 12 has Prometheus 2.42 and Alertmanager 0.25."""
    before = tree(site.member, "/etc/systemd/system", "/var/lib/dpkg/status")
    site.describe(site.one, site.member, "prod-a", machine=site.member.address, ssh=site.member.ssh_spec()["ssh"])
    refused = site.one.run("enable-monitoring")
    assert refused.code == 3, refused.output
    assert "0.27 or newer is needed" in refused.output
    assert "2.43 or newer is needed" in refused.output
    assert tree(site.member, "/etc/systemd/system", "/var/lib/dpkg/status") == before


def test_tls_is_grafana_s_too_and_its_way_to_prometheus(site: Site) -> None:
    certificate(site.one, "mon", site.watcher.address)
    web = {"certificate": "./mon.crt", "key": "file:./mon.key", "user": "ops", "password": "env:WEB_PASSWORD"}
    site.describe(site.one, site.member, "prod-a", listen_address=site.watcher.address, web=web)
    assert "grafana" in site.steps(site.one)
    context = ssl.create_default_context(cafile=str(site.one.state / "ca.crt"))
    url = f"https://{site.watcher.address}:3000/api/health"
    with urllib.request.urlopen(url, timeout=10, context=context) as answer:
        assert json.loads(answer.read())["database"] == "ok"
    site.describe(site.one, site.member, "prod-a")
    site.enable(site.one)
    assert site.watcher.exec("ls /etc/prometheus /etc/alertmanager /etc/grafana | grep web; true") == ""


def test_a_destroyed_cluster_leaves_and_the_other_one_is_not_touched(site: Site) -> None:
    mine = ("/etc/prometheus/clusters/etcd-prod-a*", "/etc/alertmanager/clusters/etcd-prod-a*")
    before = tree(site.watcher, *mine)
    site.enable(site.two)
    assert site.password(site.two) == site.password(site.one), "of one Grafana there is one password"
    assert "prod-b" in site.watcher.exec("ls /etc/prometheus/clusters /etc/alertmanager/clusters")

    planned = site.two.must("destroy-cluster", "--plan").json["plan"]
    assert planned["phases"][0]["name"] == f"leave {site.watcher.address}"
    pids = site.shown("MainPID")
    site.two.must("destroy-cluster", "--confirm", "prod-b")
    everything = " ".join((*CONFIG, "/var/lib/node_exporter"))
    assert site.watcher.exec(f"find {everything} -name '*prod-b*'; true") == ""
    assert "prod-b" not in site.watcher.exec("cat /etc/alertmanager/etcd-flows.yml")
    assert tree(site.watcher, *mine) == before
    assert site.shown("MainPID") == pids, "reloaded, not restarted"
    assert site.enable(site.one)["plan"]["empty"] is True


def test_a_cluster_file_without_monitoring_takes_the_cluster_off_the_host(site: Site) -> None:
    """It was the last one: the programs go, what they have gathered stays."""
    site.one.describe([site.member])
    planned = site.one.must("enable-monitoring", "--plan").json["plan"]
    assert [phase["name"] for phase in planned["phases"]] == [f"leave {site.watcher.address}"]
    assert site.shown("ActiveState") == ["active"] * 4
    assert site.enable(site.one)["applied"] is True
    assert site.shown("ActiveState") == ["inactive"] * 4
    assert site.watcher.exec("readlink /etc/systemd/system/prometheus.service").strip() == "/dev/null"
    assert site.watcher.exec("ls -d /opt/etcd-flows /etc/alertmanager /etc/prometheus/e* 2>/dev/null; true") == ""
    assert site.watcher.exec("ls /etc/grafana").split() == ["admin.password", "secret.key"]
    assert site.watcher.exec(f"dpkg --verify {' '.join(PACKAGES)}") == ""
    assert site.watcher.exec("ls /var/lib/prometheus/wal /var/lib/grafana/grafana.db").strip()
    refused = site.one.run("enable-monitoring")
    assert refused.code == 2, "nobody watches it, and nobody is to"
    assert_healthy([site.member])
