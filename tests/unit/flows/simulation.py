"""Hosts as facts that steps change: what a plan does is played through without a host.

Content is real (real certificates, real env files); only the disk and the service manager are a dictionary. It is no
replacement for the lab, it explores what the lab is too slow for: every cut of every plan.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

from flows.first_look import fact_query
from flows.planning import plan_bootstrap
from tasks.cluster.spec import Cluster, Host
from tasks.etcd import bootstrap
from tasks.etcd.envfile import parse_env
from tasks.etcd.identity import Identity, formed_path
from tasks.etcd.install import InstallRelease, binary_paths, receipt_path
from tasks.etcd.members import MemberStatus
from tasks.hosts.facts import DataDirFact, FileFact, HostFacts, ServiceFact
from tasks.pki.apply import files_of
from tasks.pki.authority import Authority
from tasks.pki.judge import MARKER
from tasks.pki.plan import WritePki
from tasks.plan import Plan, Step

NOW = datetime.now(UTC)


def bare(cluster: Cluster, host: Host) -> HostFacts:
    """A host on which nothing was ever done."""
    query = fact_query(cluster, host)
    files = {path: FileFact(path, "absent") for path in query.stat | query.contents}
    return HostFacts(
        host=host.name,
        hostname=host.name,
        arch="amd64",
        machine="x86_64",
        os_id="debian",
        os_version="12",
        kernel="6",
        systemd=252,
        login_user="root",
        cpus=2,
        memory_bytes=8 << 30,
        clock_offset=0.0,
        clock_error=0.0,
        missing_tools=(),
        etcd_version=None,
        etcd_user=False,
        service=ServiceFact(False),
        data_dir=DataDirFact("absent", (), "", 0, False, 1 << 40),
        files=files,
    )


class Hosts:
    """All hosts of a cluster, and the operator's CA."""

    def __init__(self, cluster: Cluster, authority: Authority) -> None:
        self.cluster = cluster
        self.authority: Authority | None = None
        self._made = authority
        self.facts = {host.name: bare(cluster, host) for host in cluster.hosts}
        self.fresh = 0
        self.statuses: dict[str, MemberStatus] = {}

    def plan(self) -> Plan:
        """What bootstrap-cluster would do now; a fresh identity is offered each time, as a new run does."""
        self.fresh += 1
        _, plan = plan_bootstrap(
            self.cluster,
            self.facts,
            self.authority,
            Identity(f"uuid-{self.fresh}", f"token-{self.fresh}"),
            self.statuses,
        )
        return plan

    def answers(self, *names: str, leader: str) -> None:
        """Have these members answer, one of them as the leader."""
        self.statuses = {
            name: MemberStatus(name, "", name, leader, "c", "3.6.16", 1, 1, None, 1, 1, 1, False, 1, ())
            for name in names
        }

    def carry_out(self, step: Step) -> None:
        """Do what the step says."""
        self.authority = self._made  # the CA exists before the first step on any host
        host, action = self.cluster.host(step.host), step.action
        match action:
            case bootstrap.EnsureAccount():
                self._change(host, etcd_user=True)
            case InstallRelease(version=version):
                for path in binary_paths(host):
                    self.put(host, path, b"\x7fELF " + path.encode(), 0o755)
                self.put(host, receipt_path(host), b"{}", 0o644)
                self._change(host, etcd_version=version)
            case WritePki():
                self._write_pki(host, action)
            case bootstrap.WriteConfig():
                self._write_config(host, action)
            case bootstrap.StartMember():
                self._start(host, action)
            case bootstrap.PassGate():
                assert self.facts[host.name].service.running
            case bootstrap.RecordFormed():
                self.put(host, formed_path(host), b"{}", 0o644)
            case _:
                raise AssertionError(f"the simulation does not know {action}")

    def _write_pki(self, host: Host, action: WritePki) -> None:
        issued = [(leaf, self._made.issue(leaf, NOW)) for leaf in action.leaves]
        for file in files_of(action, self._made, issued):
            self.put(host, file.path, file.content, file.mode, file.owner, file.group)
        for wanted in action.modes:
            owner, group = (wanted.owner or "me:me").split(":")
            seen = self.facts[host.name].files
            seen[wanted.path] = replace(seen[wanted.path], mode=wanted.mode, owner=owner, group=group)
        self.remove(host, f"{host.paths.pki_dir}/{MARKER}")

    def _write_config(self, host: Host, action: bootstrap.WriteConfig) -> None:
        for directory in action.dirs:
            facts = self.facts[host.name]
            facts.files[directory.path] = FileFact(directory.path, "dir", directory.mode, "root", "root")
        for file in action.files:
            self.put(host, file.path, file.content, file.mode, file.owner, file.group)
        if action.make_data_dir:
            self._change(host, data_dir=DataDirFact("empty", (), action.user, 0o700, False, 1 << 40))

    def _start(self, host: Host, action: bootstrap.StartMember) -> None:
        if action.give_to:
            data = self.facts[host.name].data_dir
            self._change(host, data_dir=replace(data, owner=action.give_to.partition(":")[0], mode=0o700))
        facts = self.facts[host.name]
        env = facts.file(host.paths.env_file).content
        assert env is not None
        assert facts.etcd_version
        assert facts.data_dir.kind != "absent"
        service = ServiceFact(
            True, "active", enabled=True, main_pid=7, environ=parse_env(env.decode()), exe_replaced=False
        )
        self._change(host, service=service, data_dir=replace(facts.data_dir, kind="etcd"))

    def put(self, host: Host, path: str, content: bytes, mode: int, owner: str = "root", group: str = "root") -> None:
        """Have a file on a host."""
        keep = None if path.endswith(".key") else content
        fact = FileFact(path, "file", mode, owner, group, len(content), hashlib.sha256(content).hexdigest(), keep)
        self.facts[host.name].files[path] = fact

    def remove(self, host: Host, path: str) -> None:
        """Have no such file on a host."""
        self.facts[host.name].files[path] = FileFact(path, "absent")

    def _change(self, host: Host, **changes: object) -> None:
        self.facts[host.name] = replace(self.facts[host.name], **changes)  # type: ignore[arg-type]
