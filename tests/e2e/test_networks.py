"""Hosts with two network cards: clients on one, members among themselves on the other."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.product import Product, assert_healthy
from tests.lab.hosts import LabHost
from tests.lab.system import wait_until

Fresh = Callable[[int], list[LabHost]]


def sockets(host: LabHost, kind: str) -> list[list[str]]:
    """Local and remote address of etcd's sockets."""
    lines = host.exec(f"ss -Htnp state {kind}").splitlines()
    return [line.split()[2:4] for line in lines if '"etcd"' in line]


def test_peer_traffic_on_the_second_card(fresh_hosts: Fresh, product: Product) -> None:
    hosts = fresh_hosts(3)
    content = product.describe(hosts)
    for entry, host in zip(content["hosts"], hosts, strict=True):
        entry["peer_address"] = host.address2
    product.write(content)
    product.bootstrap()
    assert_healthy(hosts)
    for host in hosts:
        assert {local for local, _ in sockets(host, "listening")} == {
            f"{host.address}:2379",
            "127.0.0.1:2379",
            f"{host.address2}:2380",
            "127.0.0.1:2381",
        }
        links = [(a, b) for a, b in sockets(host, "established") if ":2380" in a + b]
        assert len(links) >= 4, links
        assert all(end.startswith("198.18.1.") for link in links for end in link), links
    # What the addresses say is what the wires carry: without eth0 the members still agree, without eth1 they don't.
    lone = hosts[2]
    lone.cut_off("eth0")
    assert lone.exec("etcdctl put on-eth1 works") == "OK\n"
    lone.reconnect()
    lone.cut_off("eth1")
    wait_until(
        "it is alone", lambda: lone.exec_result("etcdctl --command-timeout=2s get probe").returncode != 0, timeout=20
    )
    lone.reconnect()
