"""A cluster of which one member is broken, and what has to be true when it has been rebuilt."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass

from tests.e2e.product import KILLED, Done, Product, assert_healthy, cluster_id, etcdctl, leftovers
from tests.e2e.restoring import HOLD, UNDER_WAY, data_dir
from tests.lab.hosts import LabHost
from tests.lab.system import wait_until

REPLACE = "/var/lib/etcd-flows/replace"


@dataclass
class Trio:
    """A cluster with data, whose members can be broken one after the other.

    Args:
        identity: etcd's cluster id, which no replacement changes.
    """

    product: Product
    hosts: list[LabHost]
    identity: str

    def host(self, name: str) -> LabHost:
        """By name."""
        return next(host for host in self.hosts if host.name == name)

    def others(self, host: LabHost) -> list[LabHost]:
        """All but one."""
        return [other for other in self.hosts if other is not host]

    def leader(self) -> LabHost:
        """Who leads."""
        for host in self.hosts:
            (status,) = json.loads(etcdctl(host, "endpoint status -w json"))
            if status["Status"]["leader"] == status["Status"]["header"]["member_id"]:
                return host
        raise AssertionError("nobody leads")

    def replace(self, host: LabHost, *words: str, check: bool = True, **options: object) -> Done:
        """``replace-member``, confirmed."""
        argv = ("replace-member", host.name, "--confirm", "prod-a", *words)
        done = self.product.run(*argv, **options)  # type: ignore[arg-type]
        assert not check or done.code == 0, done.output
        return done

    def killed(self, host: LabHost, point: str) -> Done:
        """The same, killed at an event of its plan."""
        done = self.replace(host, program=(*KILLED, point), check=False)
        assert done.code == -signal.SIGKILL, f"{point}: {done.output}"
        wait_until(
            "the remote scripts have ended",
            lambda: not any(left.startswith("/proc/") for one in self.hosts for left in leftovers(one)),
            30,
        )
        return done

    def ids(self) -> dict[str, str]:
        """Member ids by name, from a member that serves."""
        for host in self.hosts:
            out = host.exec_result("etcdctl member list -w json")
            if out.returncode == 0:
                members = json.loads(out.stdout)["members"]
                return {member.get("name", ""): f"{member['ID']:x}" for member in members}
        raise AssertionError("nobody serves")


def form(product: Product, hosts: list[LabHost], **keys: object) -> Trio:
    """Bootstrap and write."""
    product.describe(hosts, **keys)  # type: ignore[arg-type]
    product.bootstrap()
    hosts[0].exec("for i in $(seq 50); do etcdctl put filler/$i $i; done >/dev/null")
    return Trio(product, hosts, cluster_id(hosts[0]))


def lose_data(host: LabHost) -> None:
    """The member is killed, and all its data is gone."""
    host.exec("systemctl kill -s KILL etcd; systemctl stop etcd; rm -rf /var/lib/etcd")


def assert_rebuilt(trio: Trio, host: LabHost, before: dict[str, str]) -> None:
    """A full member of the very same cluster with another id, which holds everything; nothing half-done is left."""
    assert_healthy(trio.hosts)
    assert cluster_id(host) == trio.identity
    members = json.loads(etcdctl(host, "member list -w json"))["members"]
    assert sorted(member["name"] for member in members) == sorted(one.name for one in trio.hosts)
    assert not any(member.get("isLearner") for member in members)
    after = trio.ids()
    assert after[host.name] != before[host.name]
    assert {name: who for name, who in after.items() if name != host.name} == {
        name: who for name, who in before.items() if name != host.name
    }
    count = etcdctl(host, "get filler/ --prefix --count-only -w fields")
    assert '"Count" : 50' in count, count
    assert re.fullmatch(r"/var/lib/etcd/joined-[0-9a-f]{8}", data_dir(host))
    assert host.exec(f"ls -d {REPLACE} {UNDER_WAY} {HOLD} /etc/systemd/system/etcd.service.d 2>/dev/null; true") == ""
    assert host.exec("systemctl is-enabled etcd").strip() == "enabled"
    assert leftovers(host) == []
    assert trio.product.bootstrap().json["plan"]["empty"]
