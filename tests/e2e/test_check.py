"""check-cluster: quiet about a healthy cluster, and about a sick one it says which host, what, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import MakeProduct
from tests.e2e.product import OURS, Product, tree
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import wait_until


@dataclass
class Formed:
    product: Product
    hosts: list[LabHost]

    def check(self, code: int) -> list[dict[str, Any]]:
        """What is not in order."""
        done = self.product.run("check-cluster")
        assert done.code == code, done.output
        findings: list[dict[str, Any]] = done.json["findings"]
        assert {"level", "check", "host", "text", "remedy"} == set(findings[0])
        return [finding for finding in findings if finding["level"] != "ok"]


@pytest.fixture(scope="module")
def formed(lab: Lab, make_product: MakeProduct) -> Formed:
    product, hosts = make_product(), lab.fresh(3)
    product.describe(hosts, ssh={"connect_timeout": 3})
    product.bootstrap()
    return Formed(product, hosts)


def test_a_healthy_cluster(formed: Formed) -> None:
    before = [tree(host, *OURS) for host in formed.hosts]
    assert formed.check(0) == []
    assert [tree(host, "/etc", "/opt", "/usr/local") for host in formed.hosts] == [
        "".join(line + "\n" for line in text.splitlines() if "/var/lib" not in line) for text in before
    ]
    text = formed.product.run("check-cluster", as_json=False)
    assert text.code == 0
    assert text.stdout.rstrip().endswith("prod-a: healthy")


def test_a_stopped_member(formed: Formed) -> None:
    formed.hosts[1].exec("systemctl stop etcd")
    found = formed.check(1)
    formed.hosts[1].exec("systemctl start etcd")
    assert {finding["host"] for finding in found if finding["level"] == "error"} == {"etcd-02"}
    assert {finding["check"] for finding in found} >= {"service", "member", "drift"}
    assert all(finding["remedy"] for finding in found if finding["level"] == "error")


def test_a_host_that_is_cut_off(formed: Formed) -> None:
    formed.hosts[2].cut_off()
    found = formed.check(1)
    formed.hosts[2].reconnect()
    (unreachable,) = (finding for finding in found if finding["check"] == "reachable")
    assert unreachable["host"] == "etcd-03"
    assert formed.hosts[2].address in unreachable["text"]


def test_an_alarm_and_a_full_database(formed: Formed) -> None:
    member = formed.hosts[0].exec("etcdctl member list -w fields | sed -n 's/\"ID\" : //p' | head -1").strip()
    formed.hosts[0].exec(
        # the only way to raise an alarm from outside is the API itself; the gateway speaks it in JSON
        "curl -s --max-time 5 --cacert /etc/etcd/pki/ca.crt --cert /etc/etcd/pki/etcdctl-etcd-client.crt"
        " --key /etc/etcd/pki/etcdctl-etcd-client.key https://127.0.0.1:2379/v3/maintenance/alarm"
        f' -d \'{{"action": 1, "memberID": "{member}", "alarm": 1}}\''
    )
    found = formed.check(1)
    formed.hosts[0].exec("etcdctl alarm disarm")
    (alarm,) = (finding for finding in found if finding["check"] == "alarms")
    assert "NOSPACE" in alarm["text"]
    assert "disarm" in alarm["remedy"]


def test_drift(formed: Formed) -> None:
    wait_until("all agree on a leader again", lambda: formed.product.run("check-cluster").code == 0, 120)
    content = yaml.safe_load(formed.product.file.read_text())
    good = formed.product.file.read_text()
    content["etcd"]["heartbeat_ms"] = 150
    content["etcd"]["election_ms"] = 1500
    formed.product.write(content)
    formed.hosts[2].exec("chmod 644 /etc/etcd/pki/server.key")
    found = formed.check(0)
    formed.hosts[2].exec("chmod 640 /etc/etcd/pki/server.key")
    formed.product.file.write_text(good)
    drift = [finding for finding in found if finding["check"] == "drift"]
    assert {finding["host"] for finding in drift} == {"etcd-01", "etcd-02", "etcd-03"}
    assert any("owner or mode" in finding["text"] for finding in drift)
