"""destroy-cluster removes what was installed, and data only when told; a wrong cluster file touches no host."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.product import Product, assert_healthy, cluster_id, etcdctl, footprint, main_pid, tree
from tests.lab.hosts import LabHost

Fresh = Callable[[int], list[LabHost]]
INSTALLED = (
    "/etc/etcd/etcd.env",
    "/etc/etcd/etcdctl.env",
    "/etc/etcd/pki/server.key",
    "/etc/systemd/system/etcd.service",
    "/usr/local/bin/etcdctl",
    "/opt/bin/etcd",
    "/opt/bin/etcdctl",
    "/opt/bin/etcdutl",
)


def left(host: LabHost, *paths: str) -> list[str]:
    return host.exec(f"ls -d {' '.join(paths)} 2>/dev/null; true").split()


def running(host: LabHost) -> str:
    """Process directories of etcd."""
    return host.exec("grep -lx etcd /proc/[0-9]*/comm; true")


def test_destroy_keeps_the_data_unless_told(fresh_hosts: Fresh, product: Product) -> None:
    hosts = fresh_hosts(3)
    product.describe(hosts)
    bare = [footprint(host) for host in hosts]
    product.bootstrap()
    etcdctl(hosts[0], "put kept value")
    identity, pids = cluster_id(hosts[0]), [main_pid(host) for host in hosts]

    paths = ("/etc", "/opt", "/usr/local", "/var/lib/etcd-flows")
    before = [tree(host, *paths) for host in hosts]
    for words in (("--delete-data",), ("--confirm", "prod-b")):
        refused = product.run("destroy-cluster", *words)
        assert refused.code == 3, refused.output
        assert "--confirm prod-a" in refused.errors[0]["remedy"]
    planned = product.must("destroy-cluster", "--plan").json
    assert [phase["name"] for phase in planned["plan"]["phases"]] == ["stop the members", "remove what was installed"]
    assert [tree(host, *paths) for host in hosts] == before
    assert [main_pid(host) for host in hosts] == pids

    product.must("destroy-cluster", "--confirm", "prod-a")
    for host in hosts:
        assert left(host, *INSTALLED) == []
        assert left(host, "/var/lib/etcd/member") == ["/var/lib/etcd/member"]
        assert host.exec_result("systemctl cat etcd").returncode != 0
        assert running(host) == ""
    assert product.must("destroy-cluster", "--confirm", "prod-a").json["plan"]["empty"] is True

    product.describe(hosts, version="3.7.3")
    other = product.run("bootstrap-cluster")
    assert other.code == 3, "kept data still knows which version wrote it"
    assert "3.6.16" in other.errors[0]["message"]
    product.describe(hosts)
    product.bootstrap()
    assert_healthy(hosts)
    assert cluster_id(hosts[1]) == identity
    assert etcdctl(hosts[2], "get kept --print-value-only") == "value\n"

    product.must("destroy-cluster", "--confirm", "prod-a", "--delete-data")
    for host, was in zip(hosts, bare, strict=True):
        assert left(host, *INSTALLED, "/var/lib/etcd/member", "/var/lib/etcd-flows") == []
        new = {line.split()[0] for line in footprint(host).splitlines() if line.startswith("/")}
        old = {line.split()[0] for line in was.splitlines() if line.startswith("/")}
        assert {path for path in new - old if "etcd" in path} == set()
    assert (product.state / "ca.key").exists(), "the CA is the operator's"


@pytest.mark.parametrize("verb", ["bootstrap-cluster", "check-cluster", "destroy-cluster"])
def test_a_wrong_cluster_file_touches_no_host(lab: object, product: Product, verb: str) -> None:
    """Every problem at once, by line, before anything is contacted."""
    product.file.write_text(
        "name: prod-a\nhosts:\n  - {name: etcd-01, address: 198.18.0.11}\n  - {name: etcd-01, adress: 198.18.0.12}\n"
        "ssh: {sudo_password: hunter2-in-plain}\n"
    )
    done = product.run(verb, *(["--confirm", "prod-a"] if verb == "destroy-cluster" else []), as_json=False)
    assert done.code == 2
    assert done.stdout == ""
    for wanted in ("cluster.yaml:4", "did you mean", "address", "sudo_password"):
        assert wanted in done.stderr, done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr
