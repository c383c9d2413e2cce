"""Hosts as facts that a restore's steps change: plans are played through, and cut anywhere, without a host."""

from __future__ import annotations

import json
from dataclasses import replace

from tasks.cluster.spec import Cluster, Host
from tasks.etcd import bootstrap
from tasks.etcd.envfile import parse_env
from tasks.etcd.identity import formed_path
from tasks.etcd.restored import (
    back_path,
    drop_in_path,
    former_paths,
    hold_path,
    last_path,
    record_path,
    restore_dir,
    unpacked_path,
)
from tasks.hosts.facts import DataDirFact
from tasks.plan import Step
from tasks.restore import actions
from tasks.restore.record import Record, to_json
from tests import etcd_specs as specs
from tests.unit.flows.simulation import Hosts

NEW = "new"
OLD = "old"


def record(cluster: Cluster, **changes: object) -> Record:
    plain = Record(
        id="0123456789abcdef",
        cluster=cluster.name,
        uuid="uuid-1",
        snapshot="20261124T143000Z-6f3a9c1e",
        taken=1.0,
        sha256="a" * 64,
        bytes=20512,
        trailer=True,
        revision=100,
        keys=20,
        version=cluster.release.version,
        token="fresh",
        bump=1_000_000_000,
        members=tuple((host.name, host.peer_url) for host in cluster.hosts),
        dead=(),
        had_quorum=True,
        began=2.0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


class Machines(Hosts):
    """Hosts that can be restored. What runs where is judged as a real host would: by hold, settings and data.

    Args:
        data: By host, which data dirs there are.
    """

    def __init__(self, cluster: Cluster, authority: object) -> None:
        super().__init__(cluster, authority)  # type: ignore[arg-type]
        for phase in self.plan().phases:
            for step in phase.steps:
                self.carry_out(step)
        self.data = {host.name: {host.paths.data_dir} for host in cluster.hosts}
        self.kept: dict[str, dict[str, bytes]] = {host.name: {} for host in cluster.hosts}

    def lose_data(self) -> None:
        """All members stop, and their data is gone."""
        for host in self.cluster.hosts:
            self.data[host.name] = set()
            self.stop(host)
            self._change(host, data_dir=replace(self.facts[host.name].data_dir, kind="absent"))

    def stop(self, host: Host) -> None:
        """Nothing runs any more."""
        service = replace(self.facts[host.name].service, active="inactive", main_pid=0, environ=None)
        self._change(host, service=service)

    def reboot(self, host: Host) -> None:
        """The host loses its power and boots: what is enabled and not held starts."""
        self.stop(host)
        facts = self.facts[host.name]
        if facts.service.enabled and not facts.file(hold_path(host)).present:
            self._run(host)

    def runs_on(self, host: Host) -> str:
        """The data dir of the running member; empty if none runs."""
        return (self.facts[host.name].service.environ or {}).get("ETCD_DATA_DIR", "")

    def _env(self, host: Host) -> dict[str, str]:
        return parse_env((self.facts[host.name].file(host.paths.env_file).content or b"").decode())

    def _run(self, host: Host) -> None:
        env = self._env(host)
        if env["ETCD_DATA_DIR"] not in self.data[host.name]:
            return
        service = replace(self.facts[host.name].service, active="active", enabled=True, main_pid=9, environ=env)
        self._change(host, service=service)

    def carry_out(self, step: Step) -> None:  # noqa: C901 - one case for each action
        host, action = self.cluster.host(step.host), step.action
        match action:
            case actions.WriteRecord(record=record):
                self.put(host, record_path(host), to_json(record), 0o600)
            case actions.PushSnapshot() | actions.StayUp() | actions.Prove():
                pass
            case actions.Unpack(record=record):
                self.data[host.name].add(record.data_dir(host))
                self.put(host, unpacked_path(host), record.id.encode() + b"\n", 0o600)
            case actions.Hold(restore=restore):
                self.put(host, hold_path(host), restore.encode(), 0o644)
                self.put(host, drop_in_path(host), b"", 0o644)
                self.stop(host)
            case actions.Switch(config=config):
                self._switch(host, config)
            case actions.LiftAndStart(data_dir=wanted):
                assert not wanted or self._env(host)["ETCD_DATA_DIR"] == wanted
                self.remove(host, hold_path(host))
                self._run(host)
            case bootstrap.PassGate():
                assert self.runs_on(host)
            case actions.Finish(record=record):
                self.put(host, last_path(host), to_json(record), 0o600)
                self._put_away(host)
            case actions.TurnBack(record=record):
                for path, content in self.kept[host.name].items():
                    self.put(host, path, content, 0o600)
                self.put(host, record_path(host), to_json(record), 0o600)
                self.put(host, back_path(host), record.id.encode(), 0o644)
            case actions.SwitchBack():
                self._switch_back(host)
            case actions.FinishBack():
                self._put_away(host)
            case _:
                super().carry_out(step)

    def _switch(self, host: Host, config: bootstrap.WriteConfig) -> None:
        facts = self.facts[host.name]
        assert facts.file(hold_path(host)).present
        assert not facts.service.running
        assert config.data_dir in self.data[host.name]
        env = former_paths(host)[0]
        if not facts.file(env).present:
            now = (host.paths.env_file, f"{host.paths.record_dir}/identity.json", host.paths.data_pointer)
            for former, path in zip(former_paths(host), now, strict=True):
                content = facts.file(path).content
                if content is not None:
                    self.put(host, former, content, 0o600)
        self._write_config(host, config)
        self._change(host, data_dir=DataDirFact("etcd", ("member",), "etcd", 0o700, False, 1 << 40, config.data_dir))

    def _switch_back(self, host: Host) -> None:
        facts = self.facts[host.name]
        assert facts.file(hold_path(host)).present
        env, identity, pointer = (facts.file(path).content for path in former_paths(host))
        if env is None:
            return
        self.put(host, host.paths.env_file, env, 0o640, "root", "etcd")
        self.put(host, f"{host.paths.record_dir}/identity.json", identity or b"", 0o644)
        path = (pointer or b"").decode().strip()
        if path:
            self.put(host, host.paths.data_pointer, path.encode(), 0o644)
        else:
            self.remove(host, host.paths.data_pointer)
        self._change(host, data_dir=DataDirFact("etcd", ("member",), "etcd", 0o700, False, 1 << 40, path))

    def _put_away(self, host: Host) -> None:
        files = self.facts[host.name].files
        assert not files[hold_path(host)].present
        self.kept[host.name] = {
            path: fact.content
            for path, fact in files.items()
            if path.startswith(f"{restore_dir(host)}/") and fact.content is not None and path != back_path(host)
        }
        for path in [path for path in files if path.startswith(f"{restore_dir(host)}/")]:
            self.remove(host, path)
        self.remove(host, drop_in_path(host))
        if not self.facts[host.name].file(formed_path(host)).present:
            self.put(host, formed_path(host), json.dumps({"uuid": "uuid-1"}).encode(), 0o644)


def cluster(count: int = 3) -> Cluster:
    return specs.cluster(*(specs.host(f"etcd-0{n}", f"10.0.0.1{n}") for n in range(1, count + 1)))
