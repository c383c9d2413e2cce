"""The plan for a cluster that etcdadm made: what it keeps, that it converges from every cut, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError
from tasks.etcd.bootstrap import StartMember, WriteConfig
from tasks.etcd.envfile import parse_env
from tasks.etcd.identity import formed_path, identity_path
from tasks.etcd.install import binary_paths
from tasks.hosts.facts import DataDirFact, ServiceFact
from tasks.pki.authority import parse_authority
from tasks.pki.plan import WritePki
from tests import etcd_specs as specs
from tests import etcdadm
from tests.unit.flows.simulation import NOW, Hosts

VERSION, TOKEN = "3.5.35", "3f2a9c01"


@pytest.fixture(scope="module")
def ca() -> etcdadm.Authority:
    return etcdadm.Authority()


@pytest.fixture(scope="module")
def material(ca: etcdadm.Authority) -> dict[str, dict[str, tuple[bytes, int]]]:
    """etcdadm's files on each host; the keys are made once."""
    hosts, found = specs.cluster().hosts, {}
    for number, host in enumerate(hosts):
        there = [(member.name, member.address) for member in hosts[: number + 1]]
        found[host.name] = etcdadm.files(ca, host.name, host.address, there, None if number else TOKEN)
    return found


@pytest.fixture(scope="module")
def new(
    ca: etcdadm.Authority, material: dict[str, dict[str, tuple[bytes, int]]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Hosts]:
    """etcdadm's cluster, with or without the CA's key in the state directory."""
    state = tmp_path_factory.mktemp("state")

    def make(*, key: bool = False, extra_sans: tuple[str, ...] = ()) -> Hosts:
        plain = specs.cluster(etc_hosts=False, version=VERSION)
        cluster: Cluster = replace(plain, pki=replace(plain.pki, state_dir=state, extra_sans=extra_sans))
        known = parse_authority(ca.cert, "ca.crt", NOW)
        private: Any = load_pem_private_key(ca.key, None)
        hosts = Hosts(cluster, replace(known, key=private if key else None))
        hosts.authority = replace(known, key_here=True) if key else None
        for host in cluster.hosts:
            for path, (content, mode) in material[host.name].items():
                hosts.put(host, path, content, mode)
            for path in binary_paths(host):
                hosts.put(host, path, b"\x7fELF " + path.encode(), 0o755)
            running = parse_env(material[host.name][etcdadm.ENV][0].decode())
            change(
                hosts,
                host.name,
                etcd_version=VERSION,
                data_dir=DataDirFact("etcd", ("member",), "root", 0o700, False, 1 << 40),
                service=ServiceFact(True, "active", enabled=True, main_pid=3, environ=running, exe_replaced=False),
            )
        hosts.answers("etcd-01", "etcd-02", "etcd-03", leader="etcd-01")
        return hosts

    return make


def change(hosts: Hosts, name: str, **changes: Any) -> None:
    hosts.facts[name] = replace(hosts.facts[name], **changes)


def certificates(hosts: Hosts) -> dict[str, str | None]:
    names = [f"{etcdadm.PKI}/{name}.{kind}" for name in (*etcdadm.LEAVES, "ca") for kind in ("crt", "key")]
    return {f"{name} {path}": facts.file(path).sha256 for name, facts in hosts.facts.items() for path in names}


def finish(hosts: Hosts) -> None:
    for step in hosts.plan().steps:
        hosts.carry_out(step)


def test_what_stays_and_what_changes(new: Callable[..., Hosts]) -> None:
    hosts = new()
    plan = hosts.plan()
    assert [phase.name for phase in plan.phases] == [
        "prepare the hosts",
        "see that the members are healthy before the first is changed",
        "change etcd-02",
        "change etcd-03",
        "change etcd-01, the leader",
    ]
    assert [step.name for step in plan.phases[0].of("etcd-01")] == ["account", "pki"]
    assert [step.name for step in plan.phases[2].steps] == ["config", "restart", "gate", "formed"]
    assert "taking over a cluster that this tool did not make (etcd-01, etcd-02, etcd-03)" in plan.notes[0]
    assert "root -> etcd" in plan.notes[1]
    kept = certificates(hosts)
    finish(hosts)
    assert certificates(hosts) == kept
    again = hosts.plan()
    assert again.empty
    assert not any("taking over" in note for note in again.notes)
    for host in hosts.cluster.hosts:
        facts = hosts.facts[host.name]
        assert facts.data_dir.owner == "etcd"
        assert parse_env((facts.file(etcdadm.ENV).content or b"").decode())["ETCD_INITIAL_CLUSTER_TOKEN"] == TOKEN
        assert json.loads(facts.file(identity_path(host)).content or b"")["token"] == TOKEN


def test_without_the_ca_key_only_what_no_member_needs_is_left_out(new: Callable[..., Hosts]) -> None:
    hosts = new()
    plan = hosts.plan()
    assert not any(step.action.leaves for step in plan.steps if isinstance(step.action, WritePki))
    assert any("metrics-etcd-client is not issued on etcd-01, etcd-02, etcd-03" in note for note in plan.notes)
    hosts.remove(hosts.cluster.host("etcd-02"), f"{etcdadm.PKI}/etcdctl-etcd-client.crt")
    hosts.remove(hosts.cluster.host("etcd-02"), f"{etcdadm.PKI}/etcdctl-etcd-client.key")
    error = refused(hosts)
    assert "etcdctl-etcd-client" in str(error)
    assert "metrics" not in str(error)


def test_with_the_ca_key_what_is_missing_is_issued(new: Callable[..., Hosts]) -> None:
    hosts = new(key=True)
    kept = certificates(hosts)
    issued = [leaf.name for s in hosts.plan().steps if isinstance(s.action, WritePki) for leaf in s.action.leaves]
    assert issued == ["metrics-etcd-client"] * 3
    finish(hosts)
    assert certificates(hosts) == kept
    assert hosts.plan().empty


def test_names_that_people_asked_for_are_reason_enough(new: Callable[..., Hosts]) -> None:
    hosts = new(key=True, extra_sans=("vip.example.org",))
    pki = hosts.plan().phases[0].of("etcd-01")[1].action
    assert isinstance(pki, WritePki)
    assert [leaf.name for leaf in pki.leaves] == ["server", "peer", "metrics-etcd-client"]


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, 20), min_size=1, max_size=3), halfway=st.booleans())
def test_it_converges_from_every_cut(new: Callable[..., Hosts], cuts: list[int], halfway: bool) -> None:
    """Also where a member was stopped for its data to change hands, and no more."""
    hosts = new(key=True)
    kept = certificates(hosts)
    for cut in cuts:
        steps = hosts.plan().steps
        for step in steps[:cut]:
            hosts.carry_out(step)
        following = steps[cut] if cut < len(steps) else None
        if halfway and following and isinstance(following.action, StartMember) and following.action.give_to:
            stopped = replace(hosts.facts[following.host].service, active="inactive", main_pid=0, environ=None)
            change(hosts, following.host, service=stopped)
    finish(hosts)
    assert hosts.plan().empty
    assert certificates(hosts) == kept
    assert {hosts.facts[host.name].data_dir.owner for host in hosts.cluster.hosts} == {"etcd"}
    uuids = {json.loads(hosts.facts[h.name].file(identity_path(h)).content or b"")["uuid"] for h in hosts.cluster.hosts}
    assert len(uuids) == 1


def test_a_stopped_member_gets_its_data_before_it_starts(new: Callable[..., Hosts]) -> None:
    hosts = new()
    stopped = replace(hosts.facts["etcd-02"].service, active="inactive", main_pid=0, environ=None)
    change(hosts, "etcd-02", service=stopped)
    start = next(step for step in hosts.plan().steps if step.key == "etcd-02/start")
    assert start.action == StartMember(restart=False, data_dir="/var/lib/etcd", give_to="etcd:etcd")


def test_the_way_back_is_etcdadms_unit_with_data_left_where_root_finds_it(new: Callable[..., Hosts]) -> None:
    hosts = new()
    write, restart, _ = hosts.plan().phases[2].undo
    assert isinstance(write.action, WriteConfig)
    contents = {file.path: file.content for file in write.action.files}
    assert contents[etcdadm.UNIT_FILE] == etcdadm.UNIT.encode()
    assert contents[etcdadm.ENV] == hosts.facts["etcd-02"].file(etcdadm.ENV).content
    assert restart.action == StartMember(restart=True)
    # Cut off after our unit was written: the way back from there needs data that is etcd's.
    for step in hosts.plan().phases[0].steps:
        hosts.carry_out(step)
    hosts.carry_out(hosts.plan().phases[1 if hosts.plan().phases[0].name.startswith("see") else 2].steps[0])
    _, again, _ = next(phase for phase in hosts.plan().phases if phase.name == "change etcd-02").undo
    assert again.action == StartMember(restart=True, data_dir="/var/lib/etcd", give_to="etcd:etcd")


def test_a_member_without_data_in_a_cluster_taken_over_is_refused_at_every_stage(new: Callable[..., Hosts]) -> None:
    """Each member's note that the cluster has formed comes right after its gate."""
    hosts = new()
    for step in hosts.plan().steps:
        hosts.carry_out(step)
        seen = dict(hosts.facts)
        change(hosts, "etcd-03", data_dir=replace(seen["etcd-03"].data_dir, kind="empty"))
        refused(hosts)
        hosts.facts = seen
    assert all(hosts.facts[h.name].file(formed_path(h)).present for h in hosts.cluster.hosts)


def refused(hosts: Hosts) -> EtcdFlowsError:
    with pytest.raises(EtcdFlowsError) as caught:
        hosts.plan()
    assert caught.value.exit_code == 3
    return caught.value


def setting(name: str, value: str) -> Callable[[Hosts, Host], None]:
    def apply(hosts: Hosts, host: Host) -> None:
        service = hosts.facts[host.name].service
        change(hosts, host.name, service=replace(service, environ=(service.environ or {}) | {name: value}))

    return apply


def unit(old: str, new_text: str) -> Callable[[Hosts, Host], None]:
    def apply(hosts: Hosts, host: Host) -> None:
        assert old in etcdadm.UNIT
        hosts.put(host, etcdadm.UNIT_FILE, etcdadm.UNIT.replace(old, new_text).encode(), 0o644)

    return apply


def other_cluster(hosts: Hosts, host: Host) -> None:
    hosts.statuses[host.name] = replace(hosts.statuses[host.name], cluster_id="d")


def stopped_elsewhere(hosts: Hosts, host: Host) -> None:
    content = hosts.facts[host.name].file(etcdadm.ENV).content or b""
    hosts.put(host, etcdadm.ENV, content.replace(b"=/var/lib/etcd", b"=/srv/etcd"), 0o600)
    data = DataDirFact("absent", (), "", 0, False, 1 << 40)
    change(hosts, host.name, service=ServiceFact(True, "inactive", enabled=True), data_dir=data)


def no_data_here(hosts: Hosts, host: Host) -> None:
    change(hosts, host.name, data_dir=DataDirFact("empty", (), "root", 0o700, False, 1 << 40))


@pytest.mark.parametrize(
    ("differ", "said"),
    [
        (setting("ETCD_DATA_DIR", "/srv/etcd"), "keeps its data in /srv/etcd"),
        (stopped_elsewhere, "keeps its data in /srv/etcd"),
        (no_data_here, "its data is not in /var/lib/etcd"),
        (setting("ETCD_WAL_DIR", "/srv/wal"), "write-ahead log in /srv/wal"),
        (setting("ETCD_PEER_TRUSTED_CA_FILE", "/etc/etcd/pki/peer-ca.crt"), "ETCD_PEER_TRUSTED_CA_FILE=/etc/etcd"),
        (unit("ExecStart=/opt/bin/etcd", "ExecStart=/opt/bin/etcd --max-txn-ops=9 \\\n --name x"), "--max-txn-ops"),
        (unit("Type=notify", "Type=notify\nUser=nobody"), "runs as nobody"),
        (other_cluster, "not of one cluster"),
    ],
)
def test_what_would_not_survive_a_takeover_is_refused(
    new: Callable[..., Hosts], differ: Callable[[Hosts, Host], None], said: str
) -> None:
    hosts = new()
    differ(hosts, hosts.cluster.host("etcd-02"))
    error = refused(hosts)
    assert said in str(error)
    assert "what to do" in str(error)


@pytest.mark.parametrize(
    "same",
    [
        unit("Type=notify", "Type=notify\nUser=root"),
        unit("ExecStart=/opt/bin/etcd", "ExecStart=-/opt/bin/etcd"),
        setting("ETCD_WAL_DIR", "/var/lib/etcd/member/wal"),
        setting("ETCD_DATA_DIR", "/var/lib/etcd/"),
    ],
)
def test_what_means_the_same_is_taken_over(new: Callable[..., Hosts], same: Callable[[Hosts, Host], None]) -> None:
    hosts = new()
    same(hosts, hosts.cluster.host("etcd-02"))
    finish(hosts)
    assert hosts.plan().empty


def test_another_version_is_an_upgrade(new: Callable[..., Hosts]) -> None:
    hosts = new()
    hosts.cluster = replace(hosts.cluster, release=replace(hosts.cluster.release, version="3.6.16"))
    assert f'say `version: "{VERSION}"` below `etcd`' in str(refused(hosts))
