"""Clusters, and the files of a host kept in memory, for tests of the PKI room."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.cluster.spec import Cluster, EtcdSettings, Host, Paths, PkiSettings, Release, Ssh
from tasks.hosts.facts import DataDirFact, FileFact, HostFacts, ServiceFact
from tasks.hosts.shell import FileWrite
from tasks.pki.authority import Authority
from tasks.pki.judge import fact_paths, marker_path
from tasks.pki.plan import WritePki

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


def make_pki(state_dir: Path, **changes: Any) -> PkiSettings:
    base = PkiSettings(state_dir, "operator", None, "ec-p256", 3650, 365, ())
    return replace(base, **changes)


def make_host(name: str = "etcd-01", address: str = "10.0.0.11", **changes: Any) -> Host:
    ssh = Ssh(address, 22, "root", None, None, True, None, "auto", None, "known_hosts", Path("/k"), None, 10.0, None)
    etc = "/etc/etcd"
    paths = Paths(
        "",
        "/opt/bin",
        f"{etc}/pki",
        f"{etc}/etcd.env",
        f"{etc}/etcdctl.env",
        "/etc/systemd/system/etcd.service",
        "/var/lib/etcd",
        "/var/lib/etcd-flows",
        "/usr/local/bin/etcdctl",
    )
    base = Host(name, address, address, address, address, 2379, 2380, 2381, (), "ssh", "systemd", ssh, paths)
    return replace(base, **changes)


def make_cluster(state_dir: Path, hosts: Iterable[Host] | None = None, **pki: Any) -> Cluster:
    etcd = EtcdSettings(
        "etcd", 2**31, "periodic", "8h", 100, 1000, None, "TLS1.2", True, "info", "200M", (), False, 60.0
    )
    release = Release("3.6.16", "official", None, state_dir)
    chosen = tuple(hosts) if hosts is not None else tuple(make_host(f"etcd-0{i}", f"10.0.0.1{i}") for i in (1, 2, 3))
    return Cluster("prod-a", chosen, release, etcd, make_pki(state_dir, **pki))


@dataclass
class Disk:
    """A host's files, written and observed as the real ones are, but in memory; can be cut off after n operations."""

    host: Host
    files: dict[str, FileFact] = field(default_factory=dict)
    login: str = "root"

    def write(self, file: FileWrite) -> None:
        self.put(file.path, file.content, file.mode, file.owner, file.group)

    def put(self, path: str, content: bytes, mode: int = 0o644, owner: str = "root", group: str = "root") -> None:
        directory = path.rpartition("/")[0]
        self.files.setdefault(directory, FileFact(directory, "dir", 0o755, "root", "root"))
        self.files[path] = FileFact(path, "file", mode, owner, group, len(content), None, content)

    def facts(self) -> HostFacts:
        looked_at, read = fact_paths(self.host)
        files = {path: self.files.get(path, FileFact(path, "absent")) for path in (*looked_at, *read)}
        for path in looked_at:
            files[path] = replace(files[path], content=None)
        return HostFacts(
            self.host.name, self.host.name, "amd64", "x86_64", "debian", "12", "6.1", 252, self.login, 2, 2**32, 0.0,
            0.1, (), None, True, ServiceFact(True), DataDirFact("absent", (), "", 0, False, None), files,
        )  # fmt: skip

    def apply(self, action: WritePki, authority: Authority, *, now: datetime = NOW, operations: int = 10**6) -> None:
        """Carry out an action by the same list of writes, but stop after so many operations."""
        from tasks.pki.apply import files_of

        assert json.loads(action.fingerprint())["host"] == self.host.name
        issued = [(leaf, authority.issue(leaf, now)) for leaf in action.leaves]
        writes = files_of(action, authority, issued)
        for file in writes[:operations]:
            self.write(file)
        if operations <= len(writes):
            return
        for wanted in action.modes:
            owner, group = (wanted.owner or "me:me").split(":")
            self.files[wanted.path] = replace(self.files[wanted.path], mode=wanted.mode, owner=owner, group=group)
        if action.leaves or action.clear_marker:
            self.files.pop(marker_path(self.host), None)
