"""What gets in the way of a cluster is found before anything is changed: on which host, with what to do about it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import MakeProduct, PrefectServer
from tests.e2e.product import CLI, Done, Product, assert_healthy, footprint
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import wait_until

Fresh = Callable[[int], list[LabHost]]
Found = dict[str, Any]
SMALL: dict[str, Any] = {"etcd": {"quota": "100MiB"}}
_TRACES = """systemctl list-units --all --no-legend 'etcd-flows*'
find / /run /tmp -xdev -name '*etcd-flows-preflight*'
ss -Hltn '( sport >= 2379 and sport <= 2381 )'
"""


def traces(host: LabHost) -> str:
    """Units, files and listeners that a preflight has left."""
    return host.exec(_TRACES)


def found(done: Done, check: str, *levels: str) -> list[Found]:
    """The findings of one check; only those of certain levels, if told."""
    findings = done.json["findings"]
    return [f for f in findings if f["check"] == check and (not levels or f["level"] in levels)]


def the_error(product: Product, check: str, host: LabHost) -> str:
    """A preflight that must find exactly one error; returns what is said and what to do."""
    done = product.run("preflight-cluster")
    assert done.code == 1, done.output
    errors = [finding for finding in done.json["findings"] if finding["level"] == "error"]
    assert [(error["check"], error["host"]) for error in errors] == [(check, host.name)], errors
    assert errors[0]["remedy"]
    return f"{errors[0]['text']}\n{errors[0]['remedy']}"


def test_bare_hosts_are_ready_and_stay_as_they_are(fresh_hosts: Fresh, product: Product) -> None:
    hosts = fresh_hosts(3)
    hosts[0].small_disk(600)  # the disk is measured where the data will be, also if that is a mount point
    product.describe(hosts, **SMALL)
    before = [footprint(host) for host in hosts]
    done = product.must("preflight-cluster")
    assert [footprint(host) for host in hosts] == before
    assert [traces(host) for host in hosts] == ["", "", ""]
    assert found(done, "connectivity", "warning", "error") == []
    assert sorted(f["host"] for f in found(done, "connectivity")) == [host.name for host in hosts]
    assert all("2 other members, in " in finding["text"] for finding in found(done, "connectivity"))
    assert all("fsync p99 " in finding["text"] for finding in found(done, "disk-speed"))
    assert found(done, "ports", "ok")[0]["text"] == "2379, 2380, 2381: free"
    assert "(" not in str({finding["check"] for finding in done.json["findings"]})


def test_a_port_is_taken(fresh_hosts: Fresh, product: Product) -> None:
    host = fresh_hosts(1)[0]
    product.describe([host])
    host.exec("systemd-run -q --unit=squatter systemd-socket-activate --accept -l 0.0.0.0:2380 /bin/true")
    wait_until("it listens", lambda: "2380" in host.exec("ss -Hltn"), 5)
    said = the_error(product, "ports", host)
    assert "0.0.0.0:2380 is taken by systemd-socket- (pid " in said
    assert "squatter.service" in said
    assert "peer_port for etcd-01" in said
    assert host.exec("systemctl is-active squatter").strip() == "active"


def test_a_firewall_between_two_members(fresh_hosts: Fresh, product: Product) -> None:
    hosts = fresh_hosts(3)
    product.describe(hosts, **SMALL)
    hosts[0].cut_from(hosts[1])
    before = [footprint(host) for host in hosts]
    done = product.run("bootstrap-cluster")
    assert done.code == 3, done.output
    assert sorted(error["host"] for error in done.errors) == ["etcd-01", "etcd-02"]
    for error in done.errors:
        assert "connectivity: does not reach" in error["message"]
        assert ":2380 (peers)" in error["message"]
        assert ":2379 (clients)" in error["message"]
        assert "no answer: a firewall" in error["message"]
        assert "--waive connectivity" in error["remedy"]
    assert [footprint(host) for host in hosts] == before
    assert [traces(host) for host in hosts] == ["", "", ""]
    hosts[0].reconnect()
    hosts[0].exec("iptables -w -I INPUT -p tcp --dport 2379 -j REJECT --reject-with tcp-reset")
    done = product.must("preflight-cluster")
    warned = found(done, "connectivity", "warning")
    assert sorted(finding["host"] for finding in warned) == ["etcd-02", "etcd-03"]
    assert all("198.18.0.11:2379 (clients): refused" in finding["text"] for finding in warned)


def test_a_clock_that_is_off(fresh_hosts: Fresh, product: Product) -> None:
    """All lab hosts share one clock, so the host's ``date`` is made to lie: the reading is skewed, not the kernel."""
    hosts = fresh_hosts(3)
    product.describe(hosts, **SMALL)
    hosts[1].write("/usr/local/bin/date", '#!/bin/sh\nexec /usr/bin/date -d "40 seconds" "$@"\n', 0o755)
    said = the_error(product, "clock", hosts[1])
    assert "40.0 s ahead of the others" in said
    assert "time servers" in said


def test_disks(fresh_hosts: Fresh, product: Product) -> None:
    """Too small, then large enough and very slow."""
    host = fresh_hosts(1)[0]
    content = product.describe([host])
    host.small_disk(64)
    assert "MiB free for /var/lib/etcd; less than 512 MiB" in the_error(product, "disk-space", host)
    content["hosts"][0]["data_dir"] = "/srv/slow"
    product.write(content)
    host.small_disk(700, "/srv/slow")
    host.slow_disk(900, "/srv/slow")
    said = the_error(product, "disk-speed", host)
    assert "above half of etcd.election_ms (1000)" in said
    assert "local SSD" in said
    host.fast_disk("/srv/slow")
    assert traces(host) == ""


def test_paths(fresh_hosts: Fresh, product: Product) -> None:
    host = fresh_hosts(1)[0]
    product.describe([host], **SMALL)
    host.exec("mount --bind /opt /opt && mount -o remount,bind,ro /opt")
    assert "/opt/bin: /opt is mounted read-only" in the_error(product, "paths", host)
    host.exec("mount -o remount,bind,rw,noexec /opt")
    assert "mounted noexec" in the_error(product, "paths", host)
    host.exec("umount /opt && mkdir -m 700 /srv/closed")
    content = product.describe([host], **SMALL)
    content["hosts"][0]["data_dir"] = "/srv/closed/etcd"
    product.write(content)
    assert "can't reach /srv/closed/etcd" in the_error(product, "paths", host)
    host.exec("chmod 755 /srv/closed && chattr +i /srv/closed 2>/dev/null || { rm -r /srv/closed; touch /srv/closed; }")
    assert "/srv/closed" in the_error(product, "paths", host)
    host.exec("chattr -i /srv/closed 2>/dev/null; true")


def test_names_and_addresses(fresh_hosts: Fresh, product: Product) -> None:
    hosts = fresh_hosts(2)
    content = product.describe(hosts, **SMALL)
    content["hosts"][1] |= {"peer_address": "two.cluster.example", "listen_address": "198.18.0.99"}
    product.write(content)
    hosts[1].exec(f"echo {hosts[1].address} two.cluster.example >>/etc/hosts")
    done = product.run("preflight-cluster")
    assert done.code == 1, done.output
    (name,) = found(done, "names", "error")
    assert name["host"] == "etcd-01"
    assert "two.cluster.example (etcd-02) does not resolve" in name["text"]
    assert "/etc/hosts of etcd-01" in name["remedy"]
    (address,) = found(done, "addresses", "error")
    assert address["host"] == "etcd-02"
    assert "198.18.0.99 is not an address of this host" in address["text"]
    assert "listen_address" in address["remedy"]
    assert "the name does not resolve there" in found(done, "connectivity", "error")[0]["text"]
    hosts[0].exec("echo 127.0.1.1 two.cluster.example >>/etc/hosts")
    (name,) = found(product.run("preflight-cluster"), "names", "error")
    assert "that is this host itself, not etcd-02" in name["text"]


def test_a_host_that_is_down_hides_nothing(fresh_hosts: Fresh, product: Product) -> None:
    up, down = fresh_hosts(2)
    product.describe([up, down], ssh={"connect_timeout": 2})
    up.small_disk(64)
    down.power_cut()
    before = footprint(up)
    done = product.run("bootstrap-cluster")
    assert {error["host"]: error["message"].split(":")[0] for error in done.errors}.keys() == {"etcd-01", "etcd-02"}
    assert any("disk-space" in error["message"] for error in done.errors)
    assert "reachable" in done.stderr
    assert footprint(up) == before
    done = product.run("preflight-cluster")
    assert done.code == 1
    assert [finding["host"] for finding in found(done, "reachable", "error")] == ["etcd-02"]
    assert [finding["host"] for finding in found(done, "disk-space", "error")] == ["etcd-01"]


def test_a_killed_preflight_does_not_get_in_the_way(fresh_hosts: Fresh, product: Product) -> None:
    hosts = fresh_hosts(2)
    product.describe(hosts, **SMALL)
    process = product.start(*CLI, "preflight-cluster", str(product.file))
    show = "systemctl show -p RuntimeMaxUSec --value 'etcd-flows-preflight-peer-2380-*'"
    wait_until("a port is open", lambda: hosts[0].exec(show).strip() == "1min", 60)
    process.kill()
    assert traces(hosts[0]) != ""
    done = product.must("preflight-cluster")
    assert found(done, "connectivity", "warning", "error") == []
    assert [traces(host) for host in hosts] == ["", ""]


def test_an_unknown_check_can_not_be_waived(fresh_hosts: Fresh, product: Product) -> None:
    product.describe(fresh_hosts(1))
    done = product.run("bootstrap-cluster", "--waive", "disk-sped")
    assert done.code == 2
    assert "did you mean disk-speed?" in done.errors[0]["remedy"]
    assert "can't be waived" in product.run("bootstrap-cluster", "--waive", "reachable").output


class Waived:
    """Three hosts with two faults, bootstrapped in spite of one of them."""

    def __init__(self, product: Product, hosts: list[LabHost]) -> None:
        self.product, self.hosts = product, hosts
        product.describe(hosts)
        hosts[0].small_disk(400)
        hosts[2].exec("systemd-run -q --unit=squatter systemd-socket-activate --accept -l [::]:2379 /bin/true")
        wait_until("it listens", lambda: "2379" in hosts[2].exec("ss -Hltn"), 5)
        self.before = [footprint(host) for host in hosts]
        self.planned = product.run("bootstrap-cluster", "--plan", as_json=False)
        self.refused = product.run("bootstrap-cluster")
        self.half = product.run("bootstrap-cluster", "--waive", "disk-space")
        self.after = [footprint(host) for host in hosts]
        hosts[2].exec("systemctl stop squatter")
        self.done = product.bootstrap("--waive", "disk-space")


@pytest.fixture(scope="module")
def waived(lab: Lab, make_product: MakeProduct) -> Waived:
    return Waived(make_product(), lab.fresh(3))


def test_two_errors_are_told_at_once_and_nothing_is_changed(waived: Waived) -> None:
    assert waived.refused.code == 3
    said = {error["host"]: error["message"].partition(":")[0] for error in waived.refused.errors}
    assert said == {"etcd-01": "disk-space", "etcd-03": "ports"}
    assert all(error["state"] == "nothing was changed on any host" for error in waived.refused.errors)
    assert waived.after == waived.before
    table = [line.split() for line in waived.refused.stderr.splitlines()]
    assert {tuple(line[:3]) for line in table} >= {("error", "disk-space", "etcd-01"), ("error", "ports", "etcd-03")}


def test_a_plan_tells_them_too(waived: Waived) -> None:
    assert waived.planned.code == 3
    assert "prepare the hosts" in waived.planned.stdout
    assert "would be refused" in waived.planned.stdout
    assert "[::]:2379 is taken" in waived.planned.stderr


def test_a_waiver_lets_it_go_on_and_is_kept(waived: Waived, prefect_server: PrefectServer) -> None:
    assert [error["host"] for error in waived.half.errors] == ["etcd-03"], "only what was waived is waived"
    assert_healthy(waived.hosts)
    (finding,) = [f for f in waived.done.json["preflight"] if f["level"] == "waived"]
    assert (finding["check"], finding["host"]) == ("disk-space", "etcd-01")
    assert any("waived by the operator: disk-space: etcd-01" in note for note in waived.done.json["plan"]["notes"])
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{prefect_server.url}/artifacts/filter",
        data=json.dumps({"artifacts": {"key": {"like_": "prod-a-"}}, "sort": "CREATED_DESC", "limit": 9}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        kept = {artifact["key"]: artifact["data"] for artifact in json.load(answer)[::-1]}
    assert "waived by the operator" in kept["prod-a-bootstrap-cluster-plan"]
    assert "waived" in str(kept["prod-a-preflight"])


def test_a_converged_cluster_is_left_in_peace(waived: Waived) -> None:
    for host in waived.hosts:
        host.exec("journalctl --rotate -q; journalctl --vacuum-time=1s -q")
    answer = waived.product.bootstrap().json
    assert answer["plan"]["empty"] is True
    assert answer["preflight"] == []
    assert all("etcd-flows-preflight" not in host.exec("journalctl --no-pager") for host in waived.hosts)


def test_a_running_member_is_not_disturbed(waived: Waived) -> None:
    before = [host.exec("systemctl show etcd -p MainPID -p NRestarts") for host in waived.hosts]
    done = waived.product.must("preflight-cluster", "--waive", "disk-space")
    assert [host.exec("systemctl show etcd -p MainPID -p NRestarts") for host in waived.hosts] == before
    assert {finding["text"] for finding in found(done, "ports")} == {"2379, 2380, 2381: held by the member"}
    assert all("not measured" in finding["text"] for finding in found(done, "disk-speed"))
    assert found(done, "connectivity", "warning", "error") == [], "the members themselves are connected to"
    waived.hosts[0].exec("systemctl stop etcd")
    done = waived.product.must("preflight-cluster", "--waive", "disk-space")
    assert found(done, "connectivity", "warning", "error") == [], "one that stands still is stood in for"
    waived.hosts[0].exec("systemctl start etcd")
    assert_healthy(waived.hosts)
