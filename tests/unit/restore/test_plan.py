"""The plan of a restore: its order, and that it ends well from every cut, with reboots and losses in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.planning import plan_bootstrap
from tasks.cluster.spec import Cluster, Hook, RestoreSettings
from tasks.errors import Refused
from tasks.etcd.identity import Identity, identity_path
from tasks.etcd.restored import hold_path, record_path, under_way
from tasks.hosts.facts import FileFact
from tasks.pki.authority import Authority, create_authority
from tasks.plan import Phase, Plan, Step
from tasks.restore.actions import Hold, LiftAndStart, RunHook
from tasks.restore.back import plan_back, record_to_take_back
from tasks.restore.hooks import AFTER, BEFORE, without
from tasks.restore.plan import check_order, needs_source, plan_restore
from tasks.restore.record import Record, find_record, from_json, to_json
from tasks.restore.stand import may_have_served, stands, still_old
from tests import etcd_specs as specs
from tests.unit.flows.simulation import NOW
from tests.unit.restore.scene import Machines, record

SOURCE = Path("/tmp/snapshot.db")
Make = Callable[..., Machines]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    pki = replace(specs.cluster().pki, state_dir=tmp_path_factory.mktemp("state") / "pki")
    authority: Authority = create_authority(pki, "prod-a", NOW)

    def machines(count: int = 3) -> Machines:
        hosts = tuple(specs.host(f"etcd-0{n}", f"10.0.0.1{n}") for n in range(1, count + 1))
        return Machines(replace(specs.cluster(*hosts, etc_hosts=False), pki=pki), authority)

    return machines


def plan_of(machines: Machines, wanted: Record) -> Plan:
    """What a run does now: it reads the record if there is one."""
    known = find_record(machines.cluster, machines.facts) or wanted
    return plan_restore(machines.cluster, machines.facts, known, SOURCE)


def carry_out(machines: Machines, plan: Plan, until: int = 1 << 30) -> None:
    """Do the first so many steps; after each, what must never be is looked for."""
    for step in plan.steps[:until]:
        machines.carry_out(step)
        assert_never_both(machines)


def assert_never_both(machines: Machines) -> None:
    """No member may run the old data while another runs the restored one."""
    running = {machines.runs_on(host) for host in machines.cluster.hosts} - {""}
    assert len(running) <= 1, running


def assert_restored(machines: Machines, wanted: Record) -> None:
    cluster = machines.cluster
    for host in cluster.hosts:
        assert machines.runs_on(host) == wanted.data_dir(host)
        assert host.paths.data_dir in machines.data[host.name] or not machines.data[host.name] - {wanted.data_dir(host)}
    assert under_way(cluster, machines.facts) == ()
    _, plan = plan_bootstrap(cluster, machines.facts, machines.authority, Identity("other", "other"))
    assert plan.empty, [step.summary for step in plan.steps]


def test_the_order_of_a_restore(make: Make) -> None:
    machines = make()
    plan = plan_of(machines, record(machines.cluster))
    assert [phase.name for phase in plan.phases] == [
        "write the restore's record to all members",
        "bring the snapshot to all members and unpack it beside their data",
        "stop and hold all members",
        "switch to the restored data",
        "start etcd-01 (1 of 3)",
        "start etcd-02 (2 of 3)",
        "start etcd-03 (3 of 3)",
        "prove what they serve",
        "note that the cluster has formed",
        "put the record away",
    ]
    gates = [type(step.action).__name__ for step in plan.steps if step.name == "gate"]
    assert gates == ["StayUp", "PassGate", "PassGate"]


@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("lost", [False, True])
def test_a_whole_restore(make: Make, count: int, lost: bool) -> None:
    machines = make(count)
    wanted = record(machines.cluster)
    if lost:
        machines.lose_data()
    carry_out(machines, plan_of(machines, wanted))
    assert_restored(machines, wanted)


def test_twice_in_a_row(make: Make) -> None:
    machines = make()
    carry_out(machines, plan_of(machines, record(machines.cluster)))
    again = record(machines.cluster, id="fedcba9876543210", token="fresher")
    carry_out(machines, plan_of(machines, again))
    assert_restored(machines, again)


@settings(max_examples=40)
@given(data=st.data())
def test_cut_anywhere_again_and_again(make: Make, data: st.DataObject) -> None:
    """Each run is cut after some steps, hosts lose their power in between; a run that nobody cuts ends it."""
    machines = make(data.draw(st.sampled_from([1, 3, 5]), "members"))
    wanted = record(machines.cluster)
    for _ in range(data.draw(st.integers(1, 4), "cuts")):
        plan = plan_of(machines, wanted)
        carry_out(machines, plan, data.draw(st.integers(0, len(plan.steps)), "steps"))
        for host in machines.cluster.hosts:
            if data.draw(st.booleans(), f"{host.name} reboots"):
                machines.reboot(host)
                assert_never_both(machines)
    if find_record(machines.cluster, machines.facts) or machines.facts["etcd-01"].data_dir.path == "":
        carry_out(machines, plan_of(machines, wanted))
    assert_restored(machines, wanted)


@settings(max_examples=40)
@given(data=st.data())
def test_taken_back_from_anywhere(make: Make, data: st.DataObject) -> None:
    machines = make(data.draw(st.sampled_from([1, 3, 5]), "members"))
    cluster, wanted = machines.cluster, record(machines.cluster)
    plan = plan_of(machines, wanted)
    carry_out(machines, plan, data.draw(st.integers(1, len(plan.steps)), "steps"))
    for _ in range(data.draw(st.integers(0, 3), "cuts")):
        back = plan_back(cluster, machines.facts, wanted)
        carry_out(machines, back, data.draw(st.integers(0, len(back.steps)), "steps of the way back"))
    carry_out(machines, plan_back(cluster, machines.facts, wanted))
    for host in cluster.hosts:
        assert machines.runs_on(host) == host.paths.data_dir
    assert under_way(cluster, machines.facts) == ()
    _, bootstrap = plan_bootstrap(cluster, machines.facts, machines.authority, Identity("other", "other"))
    assert bootstrap.empty, [step.summary for step in bootstrap.steps]


def test_a_rerun_needs_no_bytes_once_all_have_unpacked(make: Make) -> None:
    machines = make()
    wanted = record(machines.cluster)
    plan = plan_of(machines, wanted)
    assert needs_source(machines.cluster, machines.facts, wanted)
    carry_out(machines, plan, next(n for n, step in enumerate(plan.steps) if step.name == "hold"))
    assert not needs_source(machines.cluster, machines.facts, wanted)
    carry_out(machines, plan_restore(machines.cluster, machines.facts, wanted, None))
    assert_restored(machines, wanted)


def test_it_may_have_served_from_the_start_that_forms_a_quorum_on(make: Make) -> None:
    machines = make()
    wanted = record(machines.cluster)
    served = []
    for step in plan_of(machines, wanted).steps:
        machines.carry_out(step)
        if isinstance(step.action, LiftAndStart):
            served.append(may_have_served(wanted, stands(machines.cluster, machines.facts, wanted)))
    assert served == [False, True, True]


def test_the_old_members_go_on_until_the_first_is_stopped(make: Make) -> None:
    machines = make()
    wanted = record(machines.cluster)
    seen = []
    for step in plan_of(machines, wanted).steps:
        machines.carry_out(step)
        seen.append((step.name, still_old(machines.cluster, machines.facts, wanted)))
    first = next(n for n, (name, _) in enumerate(seen) if name == "hold")
    assert [old for _, old in seen] == [n < first for n in range(len(seen))]


def test_nothing_else_is_done_while_a_restore_is_under_way(make: Make) -> None:
    machines = make()
    carry_out(machines, plan_of(machines, record(machines.cluster)), 8)
    with pytest.raises(Refused, match="a restore of this cluster is under way"):
        machines.plan()


def test_a_member_that_was_started_by_hand_on_its_old_data_is_stopped_again(make: Make) -> None:
    """Somebody removed the hold in the middle of it."""
    machines = make()
    wanted = record(machines.cluster)
    plan = plan_of(machines, wanted)
    carry_out(machines, plan, next(n for n, step in enumerate(plan.steps) if step.name == "switch"))
    host = machines.cluster.host("etcd-02")
    machines.remove(host, hold_path(host))
    machines.reboot(host)
    assert machines.runs_on(host) == host.paths.data_dir
    carry_out(machines, plan_of(machines, wanted))
    assert_restored(machines, wanted)


def plan_with(cluster: Cluster, *phases: tuple[Step, ...]) -> Plan:
    return Plan("disaster-restore", cluster.name, tuple(Phase(f"phase {n}", steps) for n, steps in enumerate(phases)))


def test_no_plan_that_could_lose_data_is_carried_out(make: Make) -> None:
    machines = make()
    cluster, wanted = machines.cluster, record(machines.cluster)
    seen = stands(cluster, machines.facts, wanted)

    def start(name: str) -> Step:
        return Step(name, "start", "", LiftAndStart(wanted.data_dir(cluster.host(name)), wanted.id))

    def hold(name: str) -> Step:
        return Step(name, "hold", "", Hold(wanted.id))

    holds = tuple(hold(host.name) for host in cluster.hosts)
    recorded = {name: replace(one, recorded=True) for name, one in seen.items()}
    with pytest.raises(AssertionError, match="while another may run the old data"):
        check_order(plan_with(cluster, holds[:2], (start("etcd-01"),)), cluster, recorded)
    with pytest.raises(AssertionError, match="starts 2 members at once"):
        check_order(plan_with(cluster, holds, (start("etcd-01"), start("etcd-02"))), cluster, recorded)
    with pytest.raises(AssertionError, match="before the record is on all of them"):
        check_order(plan_with(cluster, holds), cluster, seen)
    check_order(plan_with(cluster, holds, (start("etcd-01"),), (start("etcd-02"),)), cluster, recorded)


# --- hooks ------------------------------------------------------------------------------------------------------------


def names_of(plan: Plan) -> list[str]:
    return [phase.name for phase in plan.phases]


def test_clients_are_stopped_before_the_members_and_let_back_after_the_proof(make: Make) -> None:
    """Before the stop as long as a member may serve the old data; after the proof until the record is put away."""
    machines = make()
    elsewhere = specs.host("10.0.0.99", "10.0.0.99")
    hooks = RestoreSettings((Hook("stop", elsewhere, "stop\nall", 60),), (Hook("start", elsewhere, "start", 60),))
    machines.cluster = replace(machines.cluster, restore=hooks)
    wanted, places = record(machines.cluster), []
    plan = plan_of(machines, wanted)
    names = names_of(plan)
    assert names[names.index(BEFORE) + 1] == "stop and hold all members"
    assert names[names.index(AFTER) + 1] == "put the record away"
    assert plan.phases[names.index(BEFORE)].steps[0].summary == "run `stop ...` (at most 60 s)"
    for step in plan.steps:
        if not isinstance(step.action, RunHook):
            machines.carry_out(step)
        if find_record(machines.cluster, machines.facts):
            names = names_of(plan_of(machines, wanted))
            places.append((BEFORE in names, AFTER in names, step.name))
    held = [before for before, _, name in places if name == "hold"]
    assert held == [True, True, False]
    assert all(before for before, _, name in places if name in ("record", "push", "unpack"))
    assert not any(before for before, _, name in places if name in ("switch", "start", "gate", "prove", "finish"))
    assert all(after for _, after, _ in places)


def test_the_way_back_stops_clients_only_if_they_may_be_served(make: Make) -> None:
    machines = make()
    elsewhere = specs.host("10.0.0.99", "10.0.0.99")
    hooks = RestoreSettings((Hook("stop", elsewhere, "stop", 60),), (Hook("start", elsewhere, "start", 60),))
    machines.cluster = replace(machines.cluster, restore=hooks)
    wanted, seen = record(machines.cluster), []
    for step in plan_of(machines, wanted).steps:
        if not isinstance(step.action, RunHook):
            machines.carry_out(step)
        if step.name == "start":
            names = names_of(plan_back(machines.cluster, machines.facts, wanted))
            seen.append(BEFORE in names)
            assert AFTER in names
    assert seen == [False, True, True]


def test_hooks_on_dead_hosts_are_left_out(make: Make) -> None:
    one, two = (Hook("stop", host, "stop", 60) for host in make().cluster.hosts[:2])
    assert without(RestoreSettings((one, two), (two,)), ["etcd-02"]) == RestoreSettings((one,), ())


# --- the record -------------------------------------------------------------------------------------------------------


def test_a_record_is_read_as_it_was_written(make: Make) -> None:
    wanted = record(make().cluster, dead=("etcd-04",), keys=None)
    assert from_json(to_json(wanted)) == wanted


def test_hosts_that_have_different_records_are_refused(make: Make) -> None:
    machines = make()
    one, other = machines.cluster.hosts[:2]
    machines.put(one, record_path(one), to_json(record(machines.cluster)), 0o600)
    assert find_record(machines.cluster, machines.facts) == record(machines.cluster)
    machines.put(other, record_path(other), to_json(record(machines.cluster, token="another")), 0o600)
    with pytest.raises(Refused, match="different restores"):
        find_record(machines.cluster, machines.facts)


def test_a_damaged_record_is_refused(make: Make) -> None:
    machines = make()
    host = machines.cluster.hosts[0]
    machines.put(host, record_path(host), to_json(record(machines.cluster))[:100], 0o600)
    with pytest.raises(Refused, match="is damaged"):
        find_record(machines.cluster, machines.facts)


def test_no_way_back_to_members_that_could_not_decide(make: Make) -> None:
    machines = make()
    carry_out(machines, plan_of(machines, record(machines.cluster, had_quorum=False)), 8)
    with pytest.raises(Refused, match="no way back"):
        record_to_take_back(machines.cluster, machines.facts)


def test_unknown_is_not_absent(make: Make) -> None:
    machines = make()
    host = machines.cluster.hosts[0]
    machines.facts[host.name].files[record_path(host)] = FileFact(record_path(host), "file", 0o600, "root", "root", 9)
    with pytest.raises(Refused, match="is damaged"):
        find_record(machines.cluster, machines.facts)
    assert identity_path(host) in machines.facts[host.name].files
