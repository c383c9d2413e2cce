"""Clusters that are not all of a piece: two Debian releases, odd names, files in other places; and no IPv4 at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.e2e.product import Product, assert_healthy, etcdctl
from tests.lab.base import Image
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab

RELEASES = ("bookworm", "trixie")
#: All that a name may have, at each end, alone and at its longest; also what YAML would take for a number or a boolean.
NAMES = ("_etcd.A-1", "9", "NO", "ams_2.Rack-", "m" * 63)


class Elsewhere(Product):
    """An operator who keeps the cluster file in one directory and works in another."""

    @property
    def file(self) -> Path:
        """The cluster file."""
        return self.directory / "cluster files/prod.yaml"


def test_five_members_of_two_releases_with_odd_names_and_relative_paths(lab: Lab, product: Product) -> None:
    hosts = lab.fresh(5, [Image(release) for release in RELEASES])
    seen = [host.exec(". /etc/os-release; echo $VERSION_CODENAME").strip() for host in hosts]
    assert seen == [*RELEASES, *RELEASES, RELEASES[0]]
    elsewhere = Elsewhere(lab, product.directory, product.mirror, product.cache, product.environ)
    elsewhere.file.parent.mkdir()
    keys = product.directory / "ssh keys"
    keys.mkdir()
    shutil.copy(lab.client_key, keys / "lab key")
    lab.write_known_hosts(keys / "known hosts", hosts)
    content = elsewhere.describe(hosts)
    content["hosts"] = [{"name": n, "address": h.address} for n, h in zip(NAMES, hosts, strict=True)]
    content["ssh"] = {"key": "../ssh keys/lab key", "known_hosts": "../ssh keys/known hosts"}
    content["pki"] = {"state_dir": "kept here"}
    elsewhere.write(content)

    elsewhere.bootstrap()

    assert_healthy(hosts)
    members = json.loads(etcdctl(hosts[0], "member list -w json"))["members"]
    assert sorted(member["name"] for member in members) == sorted(NAMES)
    assert (elsewhere.file.parent / "kept here/ca.key").stat().st_mode & 0o777 == 0o600
    again = elsewhere.bootstrap().json
    assert again["plan"]["empty"]
    assert [member["name"] for member in again["members"]] == list(NAMES)
    check = elsewhere.must("check-cluster").json
    assert check["verdict"] in ("ok", "warning"), check


def without_ipv4(hosts: list[LabHost]) -> None:
    """Leave the hosts nothing but IPv6 on their network cards."""
    for host in hosts:
        host.exec("for nic in eth0 eth1; do ip -4 addr flush dev $nic; done")
        assert "inet " not in host.exec("ip -4 addr show scope global")


def test_ipv6_alone(lab: Lab, product: Product) -> None:
    """Logins, clients and members among themselves; members use the second card."""
    hosts = lab.fresh(3)
    without_ipv4(hosts)
    content = product.describe(hosts)
    for entry, host in zip(content["hosts"], hosts, strict=True):
        entry |= {"address": host.address6, "peer_address": host.address6_2}
    product.write(content)

    answer = product.bootstrap().json

    assert [member["endpoint"] for member in answer["members"]] == [f"https://[{h.address6}]:2379" for h in hosts]
    health = json.loads(etcdctl(hosts[0], "endpoint health --cluster -w json"))
    assert sorted(entry["endpoint"] for entry in health) == [f"https://[{host.address6}]:2379" for host in hosts]
    assert all(entry["health"] for entry in health), health
    assert etcdctl(hosts[0], "put six 6") == "OK\n"
    assert {etcdctl(host, "get six --print-value-only") for host in hosts} == {"6\n"}
    for host in hosts:
        listening = {line.split()[3] for line in host.exec("ss -Htlnp").splitlines() if '"etcd"' in line}
        assert listening == {
            f"[{host.address6}]:2379",
            "127.0.0.1:2379",
            f"[{host.address6_2}]:2380",
            "127.0.0.1:2381",
        }
    assert product.bootstrap().json["plan"]["empty"]
