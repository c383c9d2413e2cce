"""Three bare hosts become one healthy cluster, which stays as it is when it is looked at or bootstrapped again."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import MakeProduct
from tests.e2e.product import (
    OURS,
    Done,
    Product,
    assert_healthy,
    cluster_id,
    etcdctl,
    footprint,
    leftovers,
    main_pid,
    token,
    tree,
)
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import wait_until

KEYS = {
    "server": ("root:etcd", "640"),
    "peer": ("root:etcd", "640"),
    "etcdctl-etcd-client": ("root:root", "600"),
    "apiserver-etcd-client": ("root:root", "600"),
    "metrics-etcd-client": ("root:root", "600"),
}


@dataclass
class Built:
    product: Product
    hosts: list[LabHost]
    planned: Done
    bare: list[str]
    after_plan: list[str]
    done: Done


@pytest.fixture(scope="module")
def built(lab: Lab, make_product: MakeProduct) -> Built:
    """Three hosts: first only planned for, then bootstrapped."""
    product, hosts = make_product(), lab.fresh(3)
    product.describe(hosts)
    bare = [footprint(host) for host in hosts]
    planned = product.bootstrap("--plan")
    after_plan = [footprint(host) for host in hosts]
    return Built(product, hosts, planned, bare, after_plan, product.bootstrap())


def test_a_plan_changes_nothing_on_bare_hosts(built: Built) -> None:
    assert built.after_plan == built.bare
    answer = built.planned.json
    assert answer["ok"] is True
    assert answer["applied"] is False
    phases = {phase["name"]: {step["name"] for step in phase["steps"]} for phase in answer["plan"]["phases"]}
    assert phases["prepare the hosts"] == {"account", "release", "pki", "config"}
    assert phases["start the members"] == {"start"}
    assert phases["pass the gate"] == {"gate"}


def test_three_members_are_one_healthy_cluster(built: Built) -> None:
    assert_healthy(built.hosts)
    answer = built.done.json
    assert (answer["ok"], answer["applied"]) == (True, True)
    assert [member["name"] for member in answer["members"]] == ["etcd-01", "etcd-02", "etcd-03"]
    assert {member["cluster_id"] for member in answer["members"]} == {cluster_id(host) for host in built.hosts}
    assert sum(member["leader"] for member in answer["members"]) == 1
    assert {member["version"] for member in answer["members"]} == {"3.6.16"}
    assert len({token(host) for host in built.hosts}) == 1


def test_etcd_runs_as_its_own_user_and_starts_at_boot(built: Built) -> None:
    for host in built.hosts:
        assert host.exec("systemctl is-enabled etcd").strip() == "enabled"
        pid, restarts = main_pid(host)
        assert host.exec(f"stat -c %U:%G /proc/{pid}").strip() == "etcd:etcd"
        assert restarts == "0"
        assert leftovers(host) == []


def test_files_belong_to_whom_they_should(built: Built) -> None:
    wanted = {f"/etc/etcd/pki/{name}.key": who for name, who in KEYS.items()}
    wanted |= {f"/etc/etcd/pki/{name}.crt": ("root:root", "644") for name in ("ca", *KEYS)}
    wanted |= {
        "/etc/etcd/etcd.env": ("root:etcd", "640"),
        "/etc/etcd/etcdctl.env": ("root:root", "600"),
        "/etc/systemd/system/etcd.service": ("root:root", "644"),
        "/usr/local/bin/etcdctl": ("root:root", "755"),
        "/opt/bin/etcd": ("root:root", "755"),
        "/opt/bin/etcdctl": ("root:root", "755"),
        "/opt/bin/etcdutl": ("root:root", "755"),
        "/var/lib/etcd": ("etcd:etcd", "700"),
    }
    for host in built.hosts:
        lines = [line.split() for line in host.exec(f"stat -c '%n %U:%G %a' {' '.join(wanted)}").splitlines()]
        assert {path: (owner, mode) for path, owner, mode in lines} == wanted
        assert host.exec("runuser -u nobody -- cat /etc/etcd/pki/server.key 2>&1; true").endswith("denied\n")


def test_the_ca_key_stays_with_the_operator(built: Built) -> None:
    key = built.product.state / "ca.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert built.product.state.stat().st_mode & 0o777 == 0o700
    secret = key.read_text().splitlines()[1]
    for host in built.hosts:
        assert host.exec("find / -xdev -name 'ca.key*' -not -path '/proc/*'") == ""
        assert host.exec_result(f"grep -rqsF {secret} {' '.join(OURS)} /root /home /tmp /var/tmp").returncode == 1


def test_metrics_answer_on_loopback_only(built: Built) -> None:
    for host in built.hosts:
        assert "etcd_server_has_leader 1" in host.exec("curl -sf http://127.0.0.1:2381/metrics")
        assert json.loads(host.exec("curl -sf http://127.0.0.1:2381/health"))["health"] == "true"
        for address in (host.address, host.address2):
            assert host.exec_result(f"curl -sf -m 2 http://{address}:2381/metrics").returncode != 0


def test_listening_only_where_told(built: Built) -> None:
    for host in built.hosts:
        assert listening(host) == {
            f"{host.address}:2379",
            "127.0.0.1:2379",
            f"{host.address}:2380",
            "127.0.0.1:2381",
        }


def listening(host: LabHost) -> set[str]:
    """Addresses that etcd accepts connections on."""
    return {line.split()[3] for line in host.exec("ss -Hltnp").splitlines() if '"etcd"' in line}


def test_no_client_without_a_certificate(built: Built) -> None:
    host = built.hosts[0]
    ca = "--cacert /etc/etcd/pki/ca.crt"
    pair = "--cert /etc/etcd/pki/etcdctl-etcd-client.crt --key /etc/etcd/pki/etcdctl-etcd-client.key"
    assert host.exec_result(f"curl -sf {ca} https://{host.address}:2379/version").returncode != 0
    assert "3.6.16" in host.exec(f"curl -sf {ca} {pair} https://{host.address}:2379/version")
    assert host.exec_result(f"curl -sf {ca} https://{host.address}:2380/version").returncode != 0


def test_check_finds_nothing_wrong(built: Built) -> None:
    before = [tree(host, "/etc", "/opt", "/usr/local", "/var/lib/etcd-flows") for host in built.hosts]
    answer = built.product.must("check-cluster").json
    assert (answer["ok"], answer["cluster"], answer["verdict"]) == (True, "prod-a", "ok"), answer
    assert {frozenset(finding) for finding in answer["findings"]} == {
        frozenset({"level", "check", "host", "text", "remedy"})
    }
    seen = {finding["check"] for finding in answer["findings"]}
    assert {"service", "disk", "clock", "leader", "version", "raft", "database", "membership", "alarms"} <= seen
    assert {"certificates", "drift"} <= seen
    assert [tree(host, "/etc", "/opt", "/usr/local", "/var/lib/etcd-flows") for host in built.hosts] == before


def test_a_second_run_does_nothing_at_all(built: Built) -> None:
    paths = ("/etc", "/opt", "/usr/local", "/var/lib/etcd-flows")
    files, pids = [tree(host, *paths) for host in built.hosts], [main_pid(host) for host in built.hosts]
    revision = etcdctl(built.hosts[0], "endpoint status -w fields")
    answer = built.product.bootstrap().json
    assert answer["plan"]["empty"] is True
    assert answer["applied"] is False
    assert [member["name"] for member in answer["members"]] == ["etcd-01", "etcd-02", "etcd-03"]
    assert [tree(host, *paths) for host in built.hosts] == files
    assert [main_pid(host) for host in built.hosts] == pids
    line = '"Revision" :'
    now = etcdctl(built.hosts[0], "endpoint status -w fields")
    assert [x for x in now.splitlines() if x.startswith(line)] == [
        x for x in revision.splitlines() if x.startswith(line)
    ]


def test_people_get_a_table(built: Built) -> None:
    text = built.product.bootstrap(as_json=False).stdout
    assert "nothing to do" in text
    for host in built.hosts:
        assert f"https://{host.address}:2379" in text


def test_it_comes_back_by_itself_after_a_power_cut_of_all_hosts(built: Built) -> None:
    etcdctl(built.hosts[0], "put before-the-cut kept")
    identity = cluster_id(built.hosts[0])
    for host in built.hosts:
        host.power_cut()
    for host in built.hosts:
        host.boot()

    def healthy() -> bool:
        return built.hosts[0].exec_result("etcdctl endpoint health --cluster").returncode == 0

    wait_until("the cluster is healthy again", healthy, 60)
    assert_healthy(built.hosts)
    assert etcdctl(built.hosts[2], "get before-the-cut --print-value-only") == "kept\n"
    assert cluster_id(built.hosts[0]) == identity
