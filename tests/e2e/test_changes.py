"""Changed settings on a running cluster: one member at a time, under writes, and a bad one is taken back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import MakeProduct
from tests.e2e.product import Product, assert_healthy, cluster_id, etcdctl, leftovers, main_pid, tree
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab


@dataclass
class Running:
    product: Product
    hosts: list[LabHost]

    def change(self, **etcd: Any) -> None:
        """Put settings into the cluster file."""
        content = yaml.safe_load(self.product.file.read_text())
        content["etcd"] |= etcd
        self.product.write(content)

    def show_metrics(self) -> None:
        """Monitoring over TLS, by the hosts' second network cards."""
        content = yaml.safe_load(self.product.file.read_text())
        for entry, host in zip(content["hosts"], self.hosts, strict=True):
            entry["metrics_address"] = host.address2
        self.product.write(content | {"monitoring": {"metrics": {"scheme": "https"}}})


@pytest.fixture(scope="module")
def running(lab: Lab, make_product: MakeProduct) -> Running:
    product, hosts = make_product(), lab.fresh(3)
    product.describe(hosts)
    product.bootstrap()
    return Running(product, hosts)


WRITER = """
cat >/root/writer.sh <<'SH'
echo $$ >/root/writer.pid
n=0
while [ -e /root/write ]; do
  n=$((n + 1))
  if etcdctl --endpoints=ENDPOINTS --command-timeout=2s put written/$n $n >/dev/null 2>&1; then
    echo "$n $(date +%s%3N)" >>/root/acknowledged
  fi
done
SH
touch /root/write; rm -f /root/acknowledged /root/writer.pid
setsid sh /root/writer.sh >/dev/null 2>&1 </dev/null &
"""


def start_writer(host: LabHost, hosts: list[LabHost]) -> None:
    host.exec(WRITER.replace("ENDPOINTS", ",".join(f"https://{h.address}:2379" for h in hosts)))


def stop_writer(host: LabHost) -> tuple[list[int], int]:
    """Numbers that were acknowledged, and the longest time without an acknowledgement in milliseconds."""
    host.exec("rm /root/write; while kill -0 $(cat /root/writer.pid) 2>/dev/null; do sleep 0.1; done")
    rows = [line.split() for line in host.read("/root/acknowledged").splitlines()]
    times = [int(at) for _, at in rows]
    return [int(number) for number, _ in rows], max(b - a for a, b in pairwise(times))


def leader(hosts: list[LabHost]) -> LabHost:
    for host in hosts:
        status = etcdctl(host, "endpoint status -w fields")
        ids = dict(re.findall(r'"(MemberID|Leader)" : (\d+)', status))
        if ids["MemberID"] == ids["Leader"]:
            return host
    raise AssertionError("no leader")


def test_settings_change_member_by_member_and_no_acknowledged_write_is_lost(running: Running) -> None:
    hosts, before = running.hosts, [main_pid(host) for host in running.hosts]
    identity, led = cluster_id(hosts[0]), leader(running.hosts)
    running.change(heartbeat_ms=150, election_ms=1500, memory_low="300M", quota="4GiB")
    running.show_metrics()
    planned = running.product.bootstrap("--plan").json["plan"]
    assert [main_pid(host) for host in hosts] == before
    changes = [phase for phase in planned["phases"] if phase["name"].startswith("change ")]
    assert len(changes) == 3
    assert changes[-1]["name"] == f"change {led.name}, the leader"
    assert "- ETCD_HEARTBEAT_INTERVAL=100" in changes[0]["steps"][0]["changes"]

    start_writer(hosts[0], hosts)
    running.product.bootstrap()
    acknowledged, stall = stop_writer(hosts[0])

    assert all(pid != old for pid, old in zip([main_pid(host) for host in hosts], before, strict=True))
    assert cluster_id(hosts[0]) == identity
    written = etcdctl(hosts[1], "get written/ --prefix --keys-only").split()
    lost = {f"written/{number}" for number in acknowledged} - set(written)
    assert len(acknowledged) > 20, "the writer hardly wrote"
    assert not lost
    print(f"{len(acknowledged)} writes acknowledged during the change, the longest stall was {stall} ms")
    for host in hosts:
        assert "--heartbeat" not in host.exec("ps ax")
        assert "ETCD_HEARTBEAT_INTERVAL=150" in host.exec("tr '\\0' '\\n' </proc/$(pidof etcd)/environ")
        assert host.exec("systemctl show etcd -p MemoryLow --value").strip() == str(300 << 20)
        assert not leftovers(host)
    _metrics_are_shown_on_the_other_network(hosts)
    assert running.product.bootstrap("--plan").json["plan"]["empty"]


def _metrics_are_shown_on_the_other_network(hosts: list[LabHost]) -> None:
    """Over TLS, to those with a certificate; and on loopback as before."""
    pair = "--cert /etc/etcd/pki/metrics-etcd-client.crt --key /etc/etcd/pki/metrics-etcd-client.key"
    for host, other in zip(hosts, (*hosts[1:], hosts[0]), strict=True):
        url = f"--cacert /etc/etcd/pki/ca.crt -m 5 https://{host.address2}:2381"
        assert "etcd_server_has_leader 1" in other.exec(f"curl -sf {pair} {url}/metrics")
        for path in ("health", "livez", "readyz"):
            other.exec(f"curl -sf {pair} {url}/{path}")
        assert other.exec_result(f"curl -sf {url}/metrics").returncode != 0
        assert other.exec_result(f"curl -sf -m 2 http://{host.address}:2381/metrics").returncode != 0
        assert "etcd_server_has_leader 1" in host.exec("curl -sf http://127.0.0.1:2381/metrics")


def test_a_bad_setting_stops_at_the_first_member_and_is_taken_back(running: Running) -> None:
    hosts, good = running.hosts, running.product.file.read_text()
    paths = ("/etc/etcd/etcd.env", "/etc/systemd/system/etcd.service")
    contents = [[host.read(path) for path in paths] for host in hosts]
    running.change(extra={"ETCD_MAX_REQUEST_BYTES": "not-a-number"})
    done = running.product.run("bootstrap-cluster")
    assert done.code == 1
    (error,) = done.errors
    assert "not-a-number" in error["message"]
    assert "has its former settings again and is healthy" in error["state"]
    assert [[host.read(path) for path in paths] for host in hosts] == contents
    assert_healthy(hosts)
    running.product.file.write_text(good)
    assert running.product.bootstrap("--plan").json["plan"]["empty"]


def test_new_names_in_the_certificates_need_no_restart(running: Running) -> None:
    hosts, before = running.hosts, [main_pid(host) for host in running.hosts]
    keys = [tree(host, "/etc/etcd/pki/etcdctl-etcd-client.key") for host in hosts]
    content = yaml.safe_load(running.product.file.read_text())
    content["pki"]["extra_sans"] = ["etcd.example.com"]
    running.product.write(content)
    running.product.bootstrap()
    assert [main_pid(host) for host in hosts] == before
    assert [tree(host, "/etc/etcd/pki/etcdctl-etcd-client.key") for host in hosts] == keys
    served = hosts[0].exec(
        f"curl -sv --max-time 5 --resolve etcd.example.com:2379:{hosts[1].address} --cacert /etc/etcd/pki/ca.crt"
        " --cert /etc/etcd/pki/etcdctl-etcd-client.crt --key /etc/etcd/pki/etcdctl-etcd-client.key"
        " https://etcd.example.com:2379/version 2>&1"
    )
    assert '"etcdserver"' in served
