"""A new cluster that begins with a snapshot's data: where it may begin, and that it ends well from every cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.planning import plan_bootstrap
from tasks.cluster.spec import Cluster
from tasks.errors import Refused
from tasks.etcd.identity import Identity
from tasks.hosts.facts import DataDirFact
from tasks.pki.authority import create_authority
from tasks.restore.actions import Hold
from tasks.restore.fresh import data_refusals, made_from, other_members, other_request
from tasks.restore.plan import plan_restore
from tasks.restore.record import BOOTSTRAP, Record, find_record
from tests import etcd_specs as specs
from tests.unit.flows.simulation import NOW, Hosts, bare
from tests.unit.restore.scene import Machines, record

SOURCE = Path("/tmp/snapshot.db")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    pki = replace(specs.cluster().pki, state_dir=tmp_path_factory.mktemp("state") / "pki")
    hosts = tuple(specs.host(f"etcd-0{n}", f"10.0.0.1{n}") for n in range(1, 4))
    made = replace(specs.cluster(*hosts, etc_hosts=False), pki=pki)
    create_authority(pki, made.name, NOW)
    return made


def bare_machines(cluster: Cluster) -> Machines:
    """Hosts on which etcd and certificates are, and nothing of a cluster: a plan's first phase has been carried out."""
    authority = create_authority(cluster.pki, cluster.name, NOW)
    machines = Machines.__new__(Machines)
    Hosts.__init__(machines, cluster, authority)
    machines.data = {host.name: set() for host in cluster.hosts}
    machines.kept = {host.name: {} for host in cluster.hosts}
    for step in machines.plan().phases[0].steps:
        if step.name != "config":
            machines.carry_out(step)
    return machines


def begun(cluster: Cluster) -> Record:
    return record(cluster, flow=BOOTSTRAP, had_quorum=False)


@given(cuts=st.lists(st.integers(0, 30), max_size=4))
@settings(max_examples=40)
def test_cut_anywhere_it_ends_as_one_cluster_with_that_data(cluster: Cluster, cuts: list[int]) -> None:
    machines, wanted = bare_machines(cluster), begun(cluster)
    for cut in [*cuts, 1 << 30]:
        known = find_record(cluster, machines.facts)
        if known is None:
            if made_from(cluster, machines.facts) == wanted:
                break
            assert data_refusals(cluster, machines.facts) == ()
            known = wanted
        for step in plan_restore(cluster, machines.facts, known, SOURCE).steps[:cut]:
            machines.carry_out(step)
            assert len({machines.runs_on(host) for host in cluster.hosts} - {""}) <= 1
    for host in cluster.hosts:
        assert machines.runs_on(host) == wanted.data_dir(host)
    assert made_from(cluster, machines.facts) == wanted
    _, plan = plan_bootstrap(cluster, machines.facts, machines.authority, Identity("other", "other"))
    assert plan.empty, [step.summary for step in plan.steps]


def test_its_plan_is_a_bootstrap_that_stops_nobody(cluster: Cluster) -> None:
    facts = {host.name: bare(cluster, host) for host in cluster.hosts}
    plan = plan_restore(cluster, facts, begun(cluster), SOURCE)
    assert plan.flow == "bootstrap-cluster"
    assert not any("their data" in phase.name or "stop and" in phase.name for phase in plan.phases)
    assert sum(isinstance(step.action, Hold) for step in plan.steps) == 3, "a reboot in between must start nobody"


@pytest.mark.parametrize("kind", ["etcd", "foreign"])
def test_hosts_with_data_are_refused(cluster: Cluster, kind: str) -> None:
    facts = {host.name: bare(cluster, host) for host in cluster.hosts}
    there = DataDirFact(kind, ("member",), "etcd", 0o700, False, 1 << 40)  # type: ignore[arg-type]
    facts["etcd-02"] = replace(facts["etcd-02"], data_dir=there)
    (refused,) = data_refusals(cluster, facts)
    assert (refused.host, refused.exit_code) == ("etcd-02", 3)


def test_what_was_begun_for_others_or_as_something_else_is_refused(cluster: Cluster) -> None:
    known = begun(cluster)
    assert other_members(cluster, known) == ()
    assert "etcd-03" in other_members(replace(cluster, hosts=cluster.hosts[:2]), known)[0].message
    assert other_request(known, clone=False) == ()
    assert "is no clone" in other_request(known, clone=True)[0].message
    (restore,) = other_request(record(cluster), clone=False)
    assert isinstance(restore, Refused)
    assert "disaster-restore prod-a --confirm prod-a" in str(restore.remedy)


def test_the_command_that_goes_on_is_said_whole(cluster: Cluster) -> None:
    clone = record(cluster, flow=BOOTSTRAP, clone=True, of_cluster="prod-b", snapshot="file:/x.db", bump=0)
    assert clone.again == "etcd-flows bootstrap-cluster prod-a --from-snapshot /x.db --clone --from-cluster prod-b"
