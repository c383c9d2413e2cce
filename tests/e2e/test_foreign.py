"""What is not this cluster's is refused with exit code 3, and not one byte of it is changed."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.product import Done, Product, assert_healthy, footprint, tree
from tests.lab.hosts import LabHost
from tests.lab.system import wait_until

Fresh = Callable[[int], list[LabHost]]
DATA = "/var/lib/etcd"


def refused(product: Product, hosts: list[LabHost], *words: str) -> Done:
    """A run that must be refused and leave everything as it is, data and all."""
    before = [(footprint(host), tree(host, DATA)) for host in hosts]
    done = product.run(*(words or ("bootstrap-cluster",)))
    assert done.code == 3, done.output
    assert done.json["ok"] is False
    assert all(error["remedy"] for error in done.errors), done.errors
    assert [(footprint(host), tree(host, DATA)) for host in hosts] == before
    return done


def stop_all(hosts: list[LabHost]) -> None:
    """The members stand still, so that their data can be compared byte by byte."""
    for host in hosts:
        host.exec("systemctl stop etcd")


def test_data_that_is_not_this_clusters(fresh_hosts: Fresh, product: Product) -> None:
    """Data of an unknown etcd, files that are not etcd's: each host is named, the third is left alone as well."""
    hosts = fresh_hosts(3)
    product.describe(hosts)
    hosts[0].exec(
        f"mkdir -p {DATA}/member/snap {DATA}/member/wal && head -c 100000 /dev/urandom >{DATA}/member/snap/db"
    )
    hosts[1].write(f"{DATA}/customers.db", "precious\n")
    done = refused(product, hosts)
    said = {error["host"]: error["message"] for error in done.errors}
    assert sorted(said) == ["etcd-01", "etcd-02"]
    assert "not known" in said["etcd-01"]
    assert "customers.db" in said["etcd-02"]
    refused(product, hosts, "bootstrap-cluster", "--plan")
    refused(product, hosts, "destroy-cluster", "--confirm", "prod-a", "--delete-data")


def test_a_changed_identity(fresh_hosts: Fresh, product: Product) -> None:
    """Another cluster's name, another peer URL, swapped names: none may touch the members that are there."""
    hosts = fresh_hosts(3)
    content = product.describe(hosts)
    product.bootstrap()
    stop_all(hosts)

    product.describe(hosts, name="prod-b")
    said = [error["message"] for error in refused(product, hosts).errors]
    assert all("'prod-a', not to 'prod-b'" in message for message in said)
    assert len(said) == 3
    refused(product, hosts, "destroy-cluster", "--confirm", "prod-b", "--delete-data")

    moved = [dict(entry) for entry in content["hosts"]]
    moved[1]["peer_address"] = hosts[1].address2
    product.write({**content, "hosts": moved})
    (error,) = refused(product, hosts).errors
    assert error["host"] == "etcd-02"
    assert f"https://{hosts[1].address}:2380" in error["message"]
    assert f"https://{hosts[1].address2}:2380" in error["message"]

    swapped = [dict(entry) for entry in content["hosts"]]
    swapped[0]["name"], swapped[1]["name"] = swapped[1]["name"], swapped[0]["name"]
    product.write({**content, "hosts": swapped})
    assert {error["host"] for error in refused(product, hosts).errors} == {"etcd-01", "etcd-02"}

    product.write(content)
    product.bootstrap()
    assert_healthy(hosts)


def test_a_member_that_lost_its_data(fresh_hosts: Fresh, product: Product) -> None:
    """Its disk is empty, or the whole host is new: it may not vote again on what it has forgotten."""
    hosts = fresh_hosts(3)
    product.describe(hosts)
    product.bootstrap()
    hosts[2].exec(f"systemctl stop etcd && rm -rf {DATA}/member")

    def lost() -> None:
        before = tree(hosts[2], DATA)
        done = product.run("bootstrap-cluster")
        assert done.code == 3, done.output
        (error,) = done.errors
        assert error["host"] == "etcd-03"
        assert "lost its data" in error["message"]
        assert "etcd-01" in error["message"]
        assert tree(hosts[2], DATA) == before
        assert hosts[2].exec("grep -lx etcd /proc/[0-9]*/comm; true") == "", "it was not started"

    lost()
    hosts[2].exec("rm -rf /etc/etcd /opt/bin /var/lib/etcd* /etc/systemd/system/etcd.service; systemctl daemon-reload")
    lost()
    wait_until(
        "the others carry on", lambda: hosts[0].exec_result("etcdctl put still here").stdout == "OK\n", timeout=20
    )
