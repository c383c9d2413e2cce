"""A monitoring host as facts that steps change: a plan is played through without a host."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from tasks.cluster.spec import Cluster
from tasks.etcd.bootstrap import EnsureAccount
from tasks.hosts.facts import DataDirFact, FileFact, HostFacts, ServiceFact
from tasks.monitoring import actions
from tasks.monitoring.leaving import leave_phases
from tasks.monitoring.look import UnitFact, WatchFacts
from tasks.monitoring.packages import NAMES, PackageFact
from tasks.monitoring.plan import plan_watch
from tasks.monitoring.programs import ALERTMANAGER, PROGRAMS, program
from tasks.monitoring.wanted import Inputs, fact_paths
from tasks.plan import Plan, Step


def machine(name: str) -> HostFacts:
    """A machine on which nothing of ours was ever done."""
    data = DataDirFact("absent", (), "", 0, False, 1 << 40)
    return HostFacts(
        *(name, name, "amd64", "x86_64", "debian", "12", "6", 252, "root", 2, 8 << 30, 0.0, 0.0, (), None, False),
        ServiceFact(False),
        data,
        {},
    )


class MonitoringHost:
    """Files, units and accounts of one, shared by all clusters that are watched there."""

    def __init__(self) -> None:
        self.files: dict[str, FileFact] = {}
        self.units: dict[str, UnitFact] = {}
        self.accounts: set[str] = set()
        self.packages = {name: PackageFact(candidate="99.0") for name in NAMES}
        self.kept = b""  # Grafana's password with the operator

    def facts(self, cluster: Cluster) -> WatchFacts:
        """What a run of this cluster sees."""
        stat, contents = fact_paths(cluster)
        seen = {path: self.files.get(path, FileFact(path, "absent")) for path in stat | contents}
        shown = {path: fact if path in contents else replace(fact, content=None) for path, fact in seen.items()}
        roots = tuple(f"{one.clusters}/" for one in PROGRAMS)
        below = frozenset(path for path in self.files if path.startswith(roots))
        below |= {path.rpartition("/")[0] for path in self.files if path.endswith("/release.json")}
        parts = {
            path: (fact.content or b"").decode()
            for path, fact in self.files.items()
            if path.startswith(f"{ALERTMANAGER.clusters}/") and path.endswith(".json")
        }
        host = replace(machine("watcher"), files=shown)
        return WatchFacts(host, dict(self.units), frozenset(self.accounts), below, parts, self.packages)

    def plan(self, cluster: Cluster, inputs: Inputs | None = None) -> Plan:
        """What enable-monitoring would do now."""
        given = inputs or Inputs({}, {})
        if self.kept:
            given = replace(given, grafana_password=hashlib.sha256(self.kept).hexdigest())
        return plan_watch(cluster, self.facts(cluster), given, None)

    def put(self, path: str, content: bytes, mode: int = 0o644, group: str = "root") -> None:
        """Have a file there."""
        digest = hashlib.sha256(content).hexdigest()
        self.files[path] = FileFact(path, "file", mode, "root", group, len(content), digest, content)

    def carry_out(self, step: Step) -> None:
        """Do what the step says."""
        match step.action:
            case EnsureAccount(user=user):
                self.accounts.add(user)
            case actions.InstallProgram(name=name, version=version):
                self._install(name, version)
            case actions.Configure() as action:
                self._configure(action)
            case actions.RunProgram() as action:
                unit = program(action.name)
                self.units[unit.unit] = UnitFact(True, True, True, unit.unit_file, action.marker)
                self.put(action.note, b"")
            case actions.ProveTargets(notes=notes):
                for note in notes:
                    self.files.pop(note, None)
            case actions.ProveReceivers(record=record, proven=proven):
                self.put(record, proven.encode())
            case _:
                self._carry_out_more(step)

    def _carry_out_more(self, step: Step) -> None:
        match step.action:
            case actions.InstallPackages(names=packages):
                self.packages |= {name: PackageFact("1:99.0") for name in packages}
            case actions.RemovePrograms() as action:
                self._remove(action)
            case actions.KeepPassword() as action:
                self._keep(action)
            case actions.ProveGrafana(note=note):
                self.files.pop(note, None)
            case _:
                raise AssertionError(f"the scene does not know {step.action}")

    def leave(self, cluster: Cluster) -> list[Step]:
        """Take a cluster off it; returns the steps."""
        steps = [step for phase in leave_phases(cluster, self.facts(cluster)) for step in phase.steps]
        for step in steps:
            self.carry_out(step)
        return steps

    def _remove(self, action: actions.RemovePrograms) -> None:
        homes = tuple(home.removesuffix("*") for home in action.homes)
        for path in list(self.files):
            if path in action.paths or (homes and path.startswith(homes)):
                del self.files[path]
        for unit in action.units:
            self.units.pop(unit, None)

    def _keep(self, action: actions.KeepPassword) -> None:
        there = self.files.get(action.path)
        self.kept = (there.content if there else None) or self.kept or b"made"
        self.put(action.path, self.kept, 0o640, action.group)
        self.put(action.secret_key, b"key", 0o640, action.group)

    def _install(self, name: str, version: str) -> None:
        one = program(name)
        sums = {}
        for binary in one.product.programs:
            self.put(one.binary(version, binary), binary.encode(), 0o755)
            sums[binary] = hashlib.sha256(binary.encode()).hexdigest()
        self.put(one.receipt(version), json.dumps({"binaries": sums}).encode())

    def _configure(self, action: actions.Configure) -> None:
        self.put(action.note, b"")
        for file in action.files:
            content = file.content if file.content is not None else str(file.secret).encode()
            self.put(file.path, content, file.mode, file.group)
        for path in action.remove:
            self.files.pop(path, None)
        for path, owner in action.dirs:
            parent = path.removesuffix("/textfile")
            self.files[parent] = FileFact(parent, "dir", 0o755, owner, owner)
