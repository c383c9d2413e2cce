"""A cluster whose members come and go, as facts: a replacement is played through, and cut anywhere, without a host."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

from tasks.cluster.spec import Cluster, Host
from tasks.etcd import bootstrap
from tasks.etcd.identity import Identity, formed_path
from tasks.etcd.members import Membership
from tasks.etcd.restored import hold_path, joined_path, replace_dir, replacement_path
from tasks.hosts.facts import DataDirFact, ServiceFact
from tasks.members import actions
from tasks.members.decide import decide
from tasks.members.plan import Joining, plan_replacement
from tasks.members.record import Replacement, record_on, to_json
from tasks.members.standing import Standing
from tasks.plan import Plan, Step
from tests.unit.restore.scene import Machines

VERSION = "3.6.16"


class Trio(Machines):
    """Three members, one of which (``target``) is to be replaced.

    Args:
        members: The member list, by id.
        lost: Ids whose member has started and whose data is gone since; they must never run again.
    """

    def __init__(self, cluster: Cluster, authority: object) -> None:
        super().__init__(cluster, authority)
        self.target = cluster.hosts[1]
        self.members = {f"a{n}": _entry(f"a{n}", host) for n, host in enumerate(cluster.hosts, 1)}
        self.runs_as = {host.name: f"a{n}" for n, host in enumerate(cluster.hosts, 1)}
        self.made = 0
        self.count = 0

    def copy(self) -> Trio:
        """Another one like it; to make one takes a while."""
        twin = copy(self)
        twin.facts = {name: replace(facts, files=dict(facts.files)) for name, facts in self.facts.items()}
        twin.members, twin.runs_as = dict(self.members), dict(self.runs_as)
        return twin

    @property
    def entry(self) -> Membership | None:
        """The target's entry in the member list."""
        found = [member for member in self.members.values() if self.target.peer_url in member.peer_urls]
        assert len(found) < 2, "one member twice"
        return found[0] if found else None

    def lose(self) -> None:
        """The target's member stops, and the data that it runs on is gone."""
        self.stop(self.target)
        facts = self.facts[self.target.name]
        self._change(self.target, data_dir=replace(facts.data_dir, kind="absent"))

    def swap(self) -> None:
        """A bare machine in its place."""
        self.lose()
        for path in list(self.facts[self.target.name].files):
            self.remove(self.target, path)
        nothing = DataDirFact("absent", (), "", 0, False, 1 << 40)
        self._change(self.target, data_dir=nothing, service=ServiceFact(False))

    def _run(self, host: Host) -> None:
        """What is enabled and not held starts by itself; without its data it would start anew."""
        if self.facts[host.name].data_dir.kind == "etcd":
            service = replace(self.facts[host.name].service, active="active", main_pid=9, environ=self._env(host))
            self._change(host, service=service)

    def standing(self) -> Standing:
        """What the other members say."""
        healthy = tuple(host.name for host in self.cluster.hosts if host != self.target)
        return Standing(tuple(self.members.values()), healthy, (), (VERSION,), 1)

    def plan_now(self) -> Plan:
        """What a run does now; each run offers a record of its own."""
        facts, host = self.facts[self.target.name], self.target
        begun = decide(host, facts, self.entry, record_on(host, facts), "token-1")
        record = begun.record or self._new_record(begun.old_id)
        via = self.cluster.hosts[0]
        joining = Joining(self.cluster, host, via, Identity("uuid-1", "token-1"), "unused", record.data_dir(host))
        return plan_replacement(joining, facts, record, self.standing())

    def _new_record(self, old_id: str) -> Replacement:
        self.made += 1
        number = f"{self.made:016x}"[::-1]
        return Replacement(number, "prod-a", "uuid-1", "token-1", self.target.name, old_id, (), 1.0)

    def carry_out(self, step: Step) -> None:  # noqa: C901 - one case for each action
        host, action = self.cluster.host(step.host), step.action
        match action:
            case actions.WriteReplacement(record=record):
                self.put(host, replacement_path(host), to_json(record), 0o600)
            case actions.RemoveMember(member_id=who):
                assert not self.facts[self.target.name].service.running, "removed while it runs"
                self.members.pop(who, None)
            case actions.AddLearner(peer_url=url):
                if all(url not in member.peer_urls for member in self.members.values()):
                    self.count += 1
                    new = Membership(f"b{self.count}", "", (url,), (), learner=True)
                    self.members[new.member_id] = new
            case actions.SwitchToJoin(config=config):
                assert self.facts[host.name].file(hold_path(host)).present
                assert not self.facts[host.name].service.running
                before = self.facts[host.name].data_dir
                again = before.path == config.data_dir
                assert not again or before.kind != "etcd", "it must begin with nothing"
                self._write_config(host, config)
                self._change(host, data_dir=DataDirFact("empty", (), "etcd", 0o700, False, 1 << 40, config.data_dir))
            case actions.StartJoined(data_dir=data, marker=marker, said=said):
                self._start_joined(host, data, marker, said)
            case actions.CatchUp() | bootstrap.PassGate():
                assert self.facts[host.name].service.running
            case actions.Compare():
                pass
            case actions.Promote(peer_url=url):
                (mine,) = [member for member in self.members.values() if url in member.peer_urls]
                self.members[mine.member_id] = replace(mine, learner=False)
            case bootstrap.RecordFormed():
                self.put(host, formed_path(host), b"{}", 0o644)
            case actions.EndReplacement():
                assert not self.facts[host.name].file(hold_path(host)).present
                for path in [path for path in self.facts[host.name].files if path.startswith(f"{replace_dir(host)}/")]:
                    self.remove(host, path)
            case _:
                super().carry_out(step)

    def _start_joined(self, host: Host, data: str, marker: str, said: str) -> None:
        facts = self.facts[host.name]
        assert self._env(host)["ETCD_DATA_DIR"] == data
        entry = self.entry
        assert entry is not None, "started without being a member"
        fresh = facts.data_dir.kind != "etcd"
        if fresh:
            assert not entry.client_urls, f"{entry.member_id} runs again without its data"
            self.runs_as[host.name] = entry.member_id
        assert self.runs_as[host.name] == entry.member_id, "its data is another member's"
        self.put(host, marker, said.encode(), 0o600)
        assert marker == joined_path(host)
        self.remove(host, hold_path(host))
        service = replace(facts.service, known=True, active="active", enabled=True, main_pid=9, environ=self._env(host))
        self._change(host, service=service, data_dir=replace(facts.data_dir, kind="etcd"))
        self.members[entry.member_id] = replace(entry, name=host.name, client_urls=(host.client_url,))

    def done(self) -> bool:
        """Whether the target is a full member that runs, and nothing is left over."""
        entry, facts = self.entry, self.facts[self.target.name]
        left = [p for p, f in facts.files.items() if p.startswith(f"{replace_dir(self.target)}/") and f.present]
        full = entry is not None and not entry.learner and entry.member_id != "a2"
        return full and facts.service.running and self.runs_as[self.target.name] == entry.member_id and not left  # type: ignore[union-attr]


def _entry(who: str, host: Host) -> Membership:
    return Membership(who, host.name, (host.peer_url,), (host.client_url,), learner=False)
