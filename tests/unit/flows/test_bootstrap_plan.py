"""bootstrap-cluster's plan: what it does on bare hosts, that it converges from every cut, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.check_cluster import check_drift
from flows.destroy_cluster import plan_destroy
from tasks.errors import EtcdFlowsError, Refused, Several
from tasks.etcd.envfile import parse_env
from tasks.etcd.identity import formed_path, identity_path
from tasks.hosts.facts import DataDirFact, FileFact
from tasks.pki.authority import Authority, create_authority
from tasks.plan import Plan
from tests import etcd_specs as specs
from tests.unit.flows.simulation import NOW, Hosts


@pytest.fixture(scope="module")
def new_hosts(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Hosts]:
    pki = replace(specs.cluster().pki, state_dir=tmp_path_factory.mktemp("state") / "pki")
    authority: Authority = create_authority(pki, "prod-a", NOW)

    def make(**changes: Any) -> Hosts:
        cluster = replace(specs.cluster(etc_hosts=False, **changes), pki=pki)
        return Hosts(cluster, authority)

    return make


def finish(hosts: Hosts) -> Plan:
    plan = hosts.plan()
    for step in plan.steps:
        hosts.carry_out(step)
    return plan


def test_bare_hosts(new_hosts: Callable[..., Hosts]) -> None:
    plan = new_hosts().plan()
    assert [phase.name for phase in plan.phases] == [
        "prepare the hosts",
        "start the members",
        "pass the gate",
        "note that the cluster has formed",
    ]
    assert [step.name for step in plan.phases[0].of("etcd-02")] == ["account", "release", "pki", "config"]
    assert plan.phases[1].hosts == ("etcd-01", "etcd-02", "etcd-03")
    assert plan.phases[2].hosts == ("etcd-01", "etcd-02", "etcd-03")


def test_a_finished_cluster_needs_nothing(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    assert not finish(hosts).empty
    assert hosts.plan().empty


def test_equal_facts_give_equal_plans_and_the_digest_sees_a_change(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    first = hosts.plan()
    hosts.fresh = 0
    assert hosts.plan().digest == first.digest
    hosts.fresh = 0
    hosts.cluster = replace(hosts.cluster, etcd=replace(hosts.cluster.etcd, heartbeat_ms=200))
    assert hosts.plan().digest != first.digest


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, 18), min_size=1, max_size=3), order=st.randoms(use_true_random=False))
def test_it_converges_from_every_cut(new_hosts: Callable[..., Hosts], cuts: list[int], order: object) -> None:
    """Runs are killed after any number of steps, hosts of a phase advancing unevenly; the last run ends it."""
    hosts = new_hosts()
    for cut in cuts:
        left = cut
        for phase in hosts.plan().phases:
            names = list(phase.hosts)
            order.shuffle(names)  # type: ignore[attr-defined]
            steps = [step for name in names for step in phase.of(name)][:left]
            for step in steps:
                hosts.carry_out(step)
            left -= len(steps)
            if len(steps) < len(phase.steps):
                break
    finish(hosts)
    assert hosts.plan().empty
    envs = [hosts.facts[h.name].file(h.paths.env_file).content or b"" for h in hosts.cluster.hosts]
    assert len({parse_env(env.decode())["ETCD_INITIAL_CLUSTER_TOKEN"] for env in envs}) == 1
    identities = [json.loads(hosts.facts[h.name].file(identity_path(h)).content or b"") for h in hosts.cluster.hosts]
    assert len({identity["uuid"] for identity in identities}) == 1


def changed_heartbeat(hosts: Hosts) -> Plan:
    finish(hosts)
    hosts.cluster = replace(hosts.cluster, etcd=replace(hosts.cluster.etcd, heartbeat_ms=200))
    return hosts.plan()


def test_changed_settings_go_member_by_member_the_leader_last(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    hosts.answers("etcd-01", "etcd-02", "etcd-03", leader="etcd-01")
    plan = changed_heartbeat(hosts)
    assert [phase.hosts for phase in plan.phases] == [
        ("etcd-01", "etcd-02", "etcd-03"),  # all healthy?
        ("etcd-02",),
        ("etcd-03",),
        ("etcd-01",),
    ]
    assert {step.name for step in plan.phases[0].steps} == {"gate"}
    assert [step.name for step in plan.phases[1].steps] == ["config", "restart", "gate"]
    assert "- ETCD_HEARTBEAT_INTERVAL=100" in plan.phases[1].steps[0].changes
    finish(hosts)
    assert hosts.plan().empty


def test_members_that_do_not_answer_are_changed_first_and_never_taken_back(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    hosts.answers("etcd-01", "etcd-03", leader="etcd-01")
    plan = changed_heartbeat(hosts)
    assert [phase.hosts for phase in plan.phases] == [
        ("etcd-02",),
        ("etcd-01", "etcd-03"),
        ("etcd-03",),
        ("etcd-01",),
    ]
    assert [bool(phase.undo) for phase in plan.phases] == [False, False, True, True]


def test_the_way_back_is_what_was_in_force(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    hosts.answers("etcd-01", "etcd-02", "etcd-03", leader="etcd-01")
    plan = changed_heartbeat(hosts)
    hosts.carry_out(plan.phases[1].steps[0])  # cut off between writing and restarting
    again = hosts.plan().phases[1]
    assert [step.name for step in again.undo] == ["undo", "restart", "gate"]
    for step in again.undo:
        hosts.carry_out(step)
    running = hosts.facts["etcd-02"].service.environ
    assert running
    assert running["ETCD_HEARTBEAT_INTERVAL"] == "100"


def test_a_changed_unit_is_a_reason_to_restart(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    finish(hosts)
    hosts.cluster = replace(hosts.cluster, etcd=replace(hosts.cluster.etcd, memory_low="1G"))
    restart = hosts.plan().phases[0].steps[1]
    assert (restart.why, *restart.changes) == ("unit: - MemoryLow=200M", "unit: + MemoryLow=1G")


def test_a_change_that_was_written_but_not_restarted_is_noticed(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    finish(hosts)
    hosts.cluster = replace(hosts.cluster, etcd=replace(hosts.cluster.etcd, heartbeat_ms=200))
    hosts.carry_out(hosts.plan().phases[0].steps[0])
    again = hosts.plan().phases[0]
    assert [step.name for step in again.steps] == ["restart", "gate"]
    assert "ETCD_HEARTBEAT_INTERVAL: 100 -> 200" in again.steps[0].why


def test_a_stopped_member_is_started(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    finish(hosts)
    facts = hosts.facts["etcd-02"]
    hosts.facts["etcd-02"] = replace(
        facts, service=replace(facts.service, active="inactive", main_pid=0, environ=None, exe_replaced=None)
    )
    assert [step.key for step in hosts.plan().steps] == ["etcd-02/start", "etcd-02/gate"]


def refused(hosts: Hosts) -> EtcdFlowsError:
    with pytest.raises((Refused, Several)) as caught:
        hosts.plan()
    assert caught.value.exit_code == 3
    return caught.value


def test_foreign_data_is_refused(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    for name, kind, entries in (("etcd-01", "foreign", ("important.db",)), ("etcd-03", "etcd", ("member",))):
        data = DataDirFact(kind, entries, "root", 0o700, False, 1)  # type: ignore[arg-type]
        hosts.facts[name] = replace(hosts.facts[name], data_dir=data)
    error = refused(hosts)
    assert isinstance(error, Several)
    assert [one.host for one in error.errors] == ["etcd-01", "etcd-03"]
    assert "important.db" in str(error)


def identity(hosts: Hosts, name: str, **changes: str) -> None:
    host = hosts.cluster.host(name)
    record = json.loads(hosts.facts[name].file(identity_path(host)).content or b"") | changes
    hosts.put(host, identity_path(host), json.dumps(record).encode(), 0o644)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cluster": "prod-b"}, "belongs to the cluster 'prod-b'"),
        ({"member": "etcd-09"}, "is the member 'etcd-09'"),
        ({"peer_url": "https://10.9.9.9:2380"}, "https://10.9.9.9:2380"),
        ({"token": "other"}, "different initial-cluster tokens"),
        ({"uuid": "other"}, "different cluster UUIDs"),
    ],
)
def test_a_changed_identity_is_refused(new_hosts: Callable[..., Hosts], changes: dict[str, str], said: str) -> None:
    hosts = new_hosts()
    finish(hosts)
    identity(hosts, "etcd-02", **changes)
    assert said in str(refused(hosts))


def test_a_damaged_identity_is_refused(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    finish(hosts)
    host = hosts.cluster.host("etcd-02")
    hosts.put(host, identity_path(host), b'{"cluster": "prod', 0o644)
    assert "damaged" in str(refused(hosts))


def test_before_any_data_exists_a_corrected_file_may_be_used(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    for step in hosts.plan().phases[0].steps:
        hosts.carry_out(step)
    moved = replace(hosts.cluster.hosts[1], peer_address="10.0.1.12", peer_listen_address="10.0.1.12")
    hosts.cluster = replace(hosts.cluster, hosts=(hosts.cluster.hosts[0], moved, hosts.cluster.hosts[2]))
    finish(hosts)
    assert hosts.plan().empty


def test_lost_data_in_a_formed_cluster_is_refused(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    finish(hosts)
    facts = hosts.facts["etcd-03"]
    hosts.facts["etcd-03"] = replace(facts, data_dir=replace(facts.data_dir, kind="empty"))
    error = refused(hosts)
    assert error.host == "etcd-03"
    assert "has lost its data" in str(error)


def test_a_run_that_was_killed_before_the_gates_is_made_good(new_hosts: Callable[..., Hosts]) -> None:
    """Else data that a member loses later would not be noticed as lost."""
    hosts = new_hosts()
    for phase in hosts.plan().phases[:2]:
        for step in phase.steps:
            hosts.carry_out(step)
    names = [host.name for host in hosts.cluster.hosts]
    wanted = [f"{name}/gate" for name in names] + [f"{name}/formed" for name in names]
    assert [step.key for step in hosts.plan().steps] == wanted
    finish(hosts)
    assert hosts.plan().empty


def test_a_member_that_never_got_up_is_not_taken_for_one_that_lost_its_data(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    prepare, start, gates, _ = hosts.plan().phases
    for step in (*prepare.steps, *start.of("etcd-01"), *start.of("etcd-02")):
        hosts.carry_out(step)
    for step in (*gates.of("etcd-01"), *gates.of("etcd-02")):
        hosts.carry_out(step)
    finish(hosts)
    assert hosts.plan().empty


def test_a_wiped_host_in_a_formed_cluster_is_refused(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    finish(hosts)
    wiped = Hosts(hosts.cluster, hosts._made).facts["etcd-03"]
    hosts.facts["etcd-03"] = wiped
    assert refused(hosts).host == "etcd-03"


def test_data_of_another_version_is_not_installed_over(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    finish(hosts)
    hosts.facts["etcd-01"] = replace(hosts.facts["etcd-01"], etcd_version="3.5.35")
    error = refused(hosts)
    assert error.host == "etcd-01"
    assert "3.5.35" in str(error)


def test_the_state_directory_is_not_needed_when_nothing_is_issued(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    finish(hosts)
    hosts.authority = None
    hosts.cluster = replace(hosts.cluster, pki=replace(hosts.cluster.pki, state_dir=Path("/nowhere")))
    assert hosts.plan().empty


def test_unknown_is_not_absent(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    host = hosts.cluster.hosts[0]
    del hosts.facts[host.name].files[formed_path(host)]
    with pytest.raises(KeyError):
        hosts.plan()
    assert isinstance(FileFact("x", "absent").present, bool)


def test_destroying_what_the_file_names_tells_of_members_that_it_does_not_name(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    finish(hosts)
    part = replace(hosts.cluster, hosts=hosts.cluster.hosts[:1])
    others = [host.name for host in hosts.cluster.hosts[1:]]
    (note,) = plan_destroy(part, hosts.facts, delete_data=False).notes
    assert note.startswith(", ".join(others))
    assert plan_destroy(hosts.cluster, hosts.facts, delete_data=False).notes == ()


def test_a_member_that_the_file_has_lost_is_told_of_and_a_first_run_may_be_corrected(
    new_hosts: Callable[..., Hosts],
) -> None:
    hosts = new_hosts()
    finish(hosts)
    lost = hosts.cluster.hosts[-1].name
    hosts.cluster = replace(hosts.cluster, hosts=hosts.cluster.hosts[:-1])
    (note,) = (note for note in hosts.plan().notes if "not in the cluster file" in note)
    assert note.startswith(f"{lost} is a member")
    for host in hosts.cluster.hosts:
        seen = hosts.facts[host.name]
        files = {**seen.files, formed_path(host): FileFact(formed_path(host), "absent")}
        hosts.facts[host.name] = replace(seen, data_dir=replace(seen.data_dir, kind="absent", entries=()), files=files)
    assert not [note for note in hosts.plan().notes if "not in the cluster file" in note]


def test_drift_of_several_hosts_is_told_host_by_host(new_hosts: Callable[..., Hosts]) -> None:
    hosts = new_hosts()
    hosts.cluster = replace(hosts.cluster, pki=replace(hosts.cluster.pki, state_dir=Path("/nowhere")))
    names = [host.name for host in hosts.cluster.hosts[:2]]
    for name in names:
        seen = hosts.facts[name]
        foreign = replace(seen.data_dir, kind="foreign", entries=("holiday.jpg",))
        hosts.facts[name] = replace(seen, data_dir=foreign)
    found = check_drift(hosts.cluster, hosts.facts)
    assert [(finding.host, finding.level) for finding in found] == [(name, "error") for name in names]
    assert all("holiday.jpg" in finding.text and "move it away" in finding.remedy for finding in found)
