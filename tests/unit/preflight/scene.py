"""A cluster of three good hosts, of which tests make some bad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError
from tasks.findings import Finding
from tasks.hosts.facts import DataDirFact, HostFacts, ServiceFact
from tasks.preflight.checks import check_all
from tasks.preflight.connect import Knock, Target, targets
from tasks.preflight.probe import written_paths
from tasks.preflight.seen import HostProbe, Lookup, PathProbe, WayStep

GIB = 1 << 30
DISK = PathProbe("/", True, True, "/", frozenset({"rw", "relatime"}), 100 * GIB)
NAMES = {"etcd-01": ("10.0.0.11",), "etcd-02": ("10.0.0.12",), "etcd-03": ("10.0.0.13",)}


def good_facts(host: Host, **changes: Any) -> HostFacts:
    facts = HostFacts(
        host=host.name,
        hostname=host.name,
        arch="amd64",
        machine="x86_64",
        os_id="debian",
        os_version="12",
        kernel="6.1",
        systemd=252,
        login_user="root",
        cpus=4,
        memory_bytes=16 * GIB,
        clock_offset=0.01,
        clock_error=0.02,
        missing_tools=(),
        etcd_version=None,
        etcd_user=False,
        service=ServiceFact(False),
        data_dir=DataDirFact("absent", (), "", 0, False, 100 * GIB),
        files={},
    )
    return replace(facts, **changes)


def good_probe(host: Host, **changes: Any) -> HostProbe:
    probe = HostProbe(
        host=host.name,
        root=True,
        sockets=(),
        addresses=frozenset({"127.0.0.1", "::1", *NAMES[host.name]}),
        paths=dict.fromkeys(written_paths(host), DISK),
        way=(WayStep("/var", 0o755, "root", "root"), WayStep("/var/lib", 0o755, "root", "root")),
        names={f"{name}.example": Lookup(addresses, 0) for name, addresses in NAMES.items()},
        fsync_ms=(1.0,) * 99 + (5.0,),
        fsync_failed="",
        doors=frozenset({"peer", "client"}),
        timesync=True,
        container=False,
        swap=(0, 0),
        selinux="off",
    )
    return replace(probe, **changes)


class Scene:
    """What was seen on all hosts."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = replace(cluster, hosts=tuple(replace(host, connection="ssh") for host in cluster.hosts))
        self.facts = {host.name: good_facts(host) for host in cluster.hosts}
        self.probes = {host.name: good_probe(host) for host in cluster.hosts}
        self.errors: dict[str, EtcdFlowsError] = {}
        self.outcomes: dict[tuple[str, str, str], Mapping[str, Any]] = {}

    def seen(self, host: str, **changes: Any) -> None:
        self.facts[host] = replace(self.facts[host], **changes)

    def probed(self, host: str, **changes: Any) -> None:
        self.probes[host] = replace(self.probes[host], **changes)

    def knocks(self) -> dict[str, tuple[Knock, ...]]:
        wanted = targets(self.cluster, self.facts, self.probes)
        return {name: tuple(self._knock(name, t) for t in wanted if t.host != name) for name in self.probes}

    def _knock(self, name: str, target: Target) -> Knock:
        changes = self.outcomes.get((name, target.host, target.kind), {})
        return replace(Knock(name, target, "connected", 0.4), **changes)

    def findings(self) -> tuple[Finding, ...]:
        return check_all(self.cluster, self.facts, self.probes, self.knocks(), self.errors)

    def told(self) -> list[Finding]:
        """What is not ok."""
        return [finding for finding in self.findings() if finding.level != "ok"]
