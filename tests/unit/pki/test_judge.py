from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.cluster.spec import Cluster
from tasks.errors import PkiError, Refused, Several
from tasks.hosts.facts import FileFact
from tasks.pki.apply import files_of, finish_script, write_pki
from tasks.pki.authority import Authority, create_authority, parse_authority
from tasks.pki.certificates import sans_of
from tasks.pki.client import ensure_client
from tasks.pki.expiry import expiries
from tasks.pki.judge import cert_path, key_path, marker_path
from tasks.pki.leaves import LEAF_NAMES, common_name, host_sans, leaves_for
from tasks.pki.plan import PkiPlan, WritePki, plan_pki
from tasks.pki.removal import removable
from tests.unit.pki.factory import NOW, Disk, make_cluster, make_host, make_pki


class World:
    """Three hosts in memory and the operator's state directory."""

    def __init__(self, state: Path) -> None:
        self.cluster = make_cluster(state)
        self.disks = {host.name: Disk(host) for host in self.cluster.hosts}
        self.authority: Authority | None = None

    def plan(self, cluster: Cluster | None = None, **time: float) -> PkiPlan:
        facts = {name: disk.facts() for name, disk in self.disks.items()}
        return plan_pki(cluster or self.cluster, facts, self.authority, now=NOW + timedelta(**time))

    def converge(self, cluster: Cluster | None = None, **time: float) -> PkiPlan:
        plan = self.plan(cluster, **time)
        if self.authority is None:
            self.authority = AUTHORITY
        for step in plan.steps:
            self.disks[step.host].apply(action_of(step.action), self.authority, now=NOW + timedelta(**time))
        return plan


AUTHORITY: Authority
OTHER: Authority


@pytest.fixture(scope="module", autouse=True)
def _authorities(tmp_path_factory: pytest.TempPathFactory) -> None:
    global AUTHORITY, OTHER
    base = tmp_path_factory.mktemp("ca")
    AUTHORITY = create_authority(make_pki(base / "a"), "prod-a", NOW)
    OTHER = create_authority(make_pki(base / "b"), "prod-b", NOW)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def settled(world: World) -> World:
    world.converge()
    return world


def action_of(action: object) -> WritePki:
    assert isinstance(action, WritePki)
    return action


def issued_names(plan: PkiPlan) -> dict[str, list[str]]:
    return {step.host: [leaf.name for leaf in action_of(step.action).leaves] for step in plan.steps}


def refused(world: World, cluster: Cluster | None = None) -> str:
    with pytest.raises((Refused, Several)) as caught:
        world.plan(cluster)
    assert caught.value.exit_code == 3
    assert "what to do" in str(caught.value)
    return str(caught.value)


def test_bare_hosts_get_everything_and_a_rerun_nothing(world: World) -> None:
    plan = world.converge()
    assert plan.create_authority
    assert issued_names(plan) == {name: list(LEAF_NAMES) for name in world.disks}
    assert plan.steps[0].why == "all certificates: missing"
    again = world.plan()
    assert (again.create_authority, again.adopt_authority, again.steps) == (False, None, ())
    modes = {
        path.rpartition("/")[2]: (f.mode, f"{f.owner}:{f.group}") for path, f in world.disks["etcd-01"].files.items()
    }
    assert modes["server.key"] == modes["peer.key"] == (0o640, "root:etcd")
    assert modes["etcdctl-etcd-client.key"] == modes["metrics-etcd-client.key"] == (0o600, "root:root")
    assert modes["ca.crt"] == modes["server.crt"] == (0o644, "root:root")
    assert "ca.key" not in modes


def test_ca_key_on_hosts_if_asked_for(world: World) -> None:
    cluster = make_cluster(world.cluster.pki.state_dir, ca_key="hosts")
    world.converge(cluster)
    assert world.disks["etcd-02"].files["/etc/etcd/pki/ca.key"].mode == 0o600
    assert world.plan(cluster).steps == ()
    assert "private key lies on etcd-01, etcd-02, etcd-03" in world.plan().notes[0]


def test_names_and_organizations_are_etcdadms(world: World) -> None:
    subjects = {
        leaf.name: (leaf.common_name, leaf.organization) for leaf in leaves_for(world.cluster.hosts[0], world.cluster)
    }
    assert subjects == {
        "server": ("etcd-01", None),
        "peer": ("etcd-01", None),
        "etcdctl-etcd-client": ("etcd-01-etcdctl", "system:masters"),
        "apiserver-etcd-client": ("etcd-01-kube-apiserver-etcd-client", "system:masters"),
        "metrics-etcd-client": ("etcd-01-metrics", None),
    }


def test_sans() -> None:
    host = make_host(
        "Etcd_1",
        "2001:DB8::1",
        peer_address="p.example.org.",
        listen_address="0.0.0.0",
        peer_listen_address="fe80::1%eth0",
    )
    wanted = ("etcd_1", "2001:db8::1", "p.example.org", "fe80::1", "127.0.0.1", "::1", "localhost", "10.9.8.7")
    assert host_sans(host, ("10.9.8.7", "::1")) == wanted


@given(st.text("ab-.", min_size=1, max_size=200), st.sampled_from(["", "-kube-apiserver-etcd-client"]))
def test_common_name_fits_and_keeps_its_end(name: str, suffix: str) -> None:
    made = common_name(name, suffix)
    assert len(made) <= 64
    assert made.endswith(suffix)
    assert (made == name + suffix) == (len(name + suffix) <= 64)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_cut_anywhere_then_only_unfinished_pairs_are_issued(settled: World, data: st.DataObject) -> None:
    """Some pairs are gone; the run that mends them is cut; the next one finishes exactly what is left."""
    disk = Disk(settled.disks["etcd-01"].host, dict(settled.disks["etcd-01"].files))
    damaged = data.draw(st.sets(st.sampled_from(LEAF_NAMES), min_size=1))
    for name in damaged:
        del disk.files[cert_path(disk.host, name)], disk.files[key_path(disk.host, name)]
    facts = {name: other.facts() for name, other in settled.disks.items()}

    def plan() -> PkiPlan:
        return plan_pki(settled.cluster, {**facts, disk.host.name: disk.facts()}, AUTHORITY, now=NOW)

    (step,) = plan().steps
    assert [leaf.name for leaf in action_of(step.action).leaves] == [name for name in LEAF_NAMES if name in damaged]
    writes = 1 + 2 * len(damaged)
    operations = data.draw(st.integers(0, writes))
    disk.apply(action_of(step.action), AUTHORITY, operations=operations)
    whole = [name for name in LEAF_NAMES if name in damaged][: max(0, operations - 1 - len(damaged))]
    (left,) = plan().steps
    unfinished = [name for name in LEAF_NAMES if name in damaged and name not in whole]
    assert [leaf.name for leaf in action_of(left.action).leaves] == unfinished
    if operations == writes:
        assert left.summary == "clear the marker of an earlier run"
    disk.apply(action_of(left.action), AUTHORITY)
    assert plan().steps == ()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_cut_while_replacing_pairs_never_leaves_a_mixed_pair_unnoticed(settled: World, data: st.DataObject) -> None:
    disk = Disk(settled.disks["etcd-01"].host, dict(settled.disks["etcd-01"].files))
    wider = make_cluster(settled.cluster.pki.state_dir, extra_sans=("vip.example.org",))
    facts = {name: other.facts() for name, other in settled.disks.items()}

    def step_of(cluster: Cluster) -> WritePki | None:
        plan = plan_pki(cluster, {**facts, disk.host.name: disk.facts()}, AUTHORITY, now=NOW)
        return next((action_of(step.action) for step in plan.steps if step.host == "etcd-01"), None)

    action = step_of(wider)
    assert action is not None
    assert [leaf.name for leaf in action.leaves] == ["server", "peer"]
    operations = data.draw(st.integers(1, 5))  # marker, two keys, two certificates
    disk.apply(action, AUTHORITY, operations=operations)
    left = step_of(data.draw(st.sampled_from([wider, settled.cluster])))
    assert left is not None
    assert [leaf.name for leaf in left.leaves] == ["server", "peer"][max(0, operations - 3) :]


def test_missing_sans_show_their_difference(settled: World) -> None:
    plan = settled.plan(make_cluster(settled.cluster.pki.state_dir, extra_sans=("10.9.9.9",)))
    assert issued_names(plan) == {name: ["server", "peer"] for name in settled.disks}
    assert "+ SAN 10.9.9.9" in plan.steps[0].changes
    assert plan.steps[0].why == "server, peer: names or addresses are missing in it"
    fewer = make_cluster(settled.cluster.pki.state_dir, [replace(settled.cluster.hosts[0], peer_address="10.1.0.1")])
    settled.disks = {"etcd-01": settled.disks["etcd-01"]}
    settled.converge(fewer)
    certificate = x509.load_pem_x509_certificate(
        settled.disks["etcd-01"].files["/etc/etcd/pki/peer.crt"].content or b""
    )
    assert {"10.0.0.11", "10.1.0.1"} <= set(sans_of(certificate))


def test_expiry_thresholds(settled: World) -> None:
    assert settled.plan(days=357).steps == ()
    assert "expires on" in settled.plan(days=359).steps[0].why
    assert "expired on" in settled.plan(days=366).steps[0].why
    assert "not valid yet" in settled.plan(hours=-1).steps[0].why


@pytest.mark.parametrize("days", [1, 3, 7, 20])
def test_short_lived_certificates_do_not_renew_forever(world: World, days: int) -> None:
    cluster = make_cluster(world.cluster.pki.state_dir, leaf_days=days)
    world.converge(cluster)
    assert world.plan(cluster).steps == ()
    assert world.plan(cluster, days=days * 0.9).steps != ()


def test_lost_key_is_issued_anew_lost_certificate_is_asked_about(settled: World) -> None:
    disk = settled.disks["etcd-01"]
    key = disk.files.pop("/etc/etcd/pki/peer.key")
    assert issued_names(settled.plan()) == {"etcd-01": ["peer"]}
    assert settled.plan().steps[0].why == "peer: the private key is missing"
    disk.files["/etc/etcd/pki/peer.key"] = key
    del disk.files["/etc/etcd/pki/peer.crt"]
    assert "private key without its certificate" in refused(settled)


@pytest.mark.parametrize("marker", [b"", b"server " + b"0" * 64 + b"\n"])
@pytest.mark.parametrize("key", [True, False])
def test_foreign_certificate_is_never_replaced(settled: World, key: bool, marker: bytes) -> None:
    disk = settled.disks["etcd-02"]
    foreign = OTHER.issue(leaves_for(disk.host, settled.cluster)[0], NOW)
    disk.put("/etc/etcd/pki/server.crt", foreign.cert_pem)
    disk.put(marker_path(disk.host), marker)
    if not key:
        del disk.files["/etc/etcd/pki/server.key"]
    text = refused(settled)
    assert text.startswith("etcd-02: /etc/etcd/pki/server.crt: CN=etcd-02")
    assert "O=prod-b" in text


@pytest.mark.parametrize(
    ("name", "fact", "says"),
    [
        ("server.crt", FileFact("", "link", 0o777), "symbolic link"),
        ("server.key", FileFact("", "dir", 0o700), "a directory"),
        ("peer.crt", FileFact("", "file", 0o600, "root", "root", 9), "could not be read"),
        ("ca.crt", FileFact("", "file", 0o644, "root", "root", 3, None, b"abc"), "no readable PEM"),
    ],
)
def test_what_cannot_be_judged_is_refused(settled: World, name: str, fact: FileFact, says: str) -> None:
    path = f"/etc/etcd/pki/{name}"
    settled.disks["etcd-01"].files[path] = replace(fact, path=path)
    assert says in refused(settled)


def test_all_conflicts_are_told_at_once(settled: World) -> None:
    for name in ("etcd-01", "etcd-03"):
        del settled.disks[name].files["/etc/etcd/pki/peer.crt"]
    text = refused(settled)
    assert "etcd-01: " in text
    assert "etcd-03: " in text


def test_host_with_another_ca(settled: World) -> None:
    settled.disks["etcd-01"].put("/etc/etcd/pki/ca.crt", OTHER.cert_pem)
    assert "the operator's CA is CN=etcd,O=prod-a" in refused(settled)
    settled.authority = None
    assert "do not agree on a CA" in refused(settled)
    settled.authority = AUTHORITY
    settled.disks["etcd-01"].put("/etc/etcd/pki/ca.crt", OTHER.cert_pem + AUTHORITY.cert_pem)
    assert settled.plan().steps == ()  # a bundle that holds ours will do


def test_hosts_ca_is_adopted_without_its_key(settled: World) -> None:
    settled.authority = None
    plan = settled.plan()
    assert (plan.create_authority, plan.adopt_authority, plan.steps) == (False, AUTHORITY.cert_pem, ())
    settled.authority = parse_authority(AUTHORITY.cert_pem, "x", NOW)
    assert settled.plan().steps == ()
    settled.disks["etcd-03"].files.clear()
    known = parse_authority(AUTHORITY.cert_pem, "x", NOW)
    for settled.authority in (None, known):
        text = refused(settled)
        assert "private key of the CA is needed" in text
        assert f"put the CA's ca.crt and ca.key into {settled.cluster.pki.state_dir}" in text
    settled.disks["etcd-02"].put("/etc/etcd/pki/ca.key", b"never seen", 0o600)
    assert "copy ca.crt and ca.key from etcd-02:/etc/etcd/pki" in refused(settled)
    settled.authority = replace(known, key_here=True)  # planning does not ask for the passphrase
    assert issued_names(settled.plan()) == {"etcd-03": list(LEAF_NAMES)}


def test_certificates_whose_ca_is_nowhere(settled: World) -> None:
    settled.authority = None
    for disk in settled.disks.values():
        del disk.files["/etc/etcd/pki/ca.crt"]
    assert "neither here nor on a host" in refused(settled)


def test_hosts_expired_or_impossible_ca(world: World) -> None:
    for disk in world.disks.values():
        disk.put("/etc/etcd/pki/ca.crt", AUTHORITY.issue(leaves_for(disk.host, world.cluster)[0], NOW).cert_pem)
    assert "do not agree" in refused(world)
    world.cluster = make_cluster(world.cluster.pki.state_dir, world.cluster.hosts[:1])
    assert "not a CA certificate" in refused(world)


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("server.key", {"mode": 0o644}, "~ /etc/etcd/pki/server.key: 0644 root:etcd -> 0640 root:etcd"),
        ("server.key", {"group": "users"}, "~ /etc/etcd/pki/server.key: 0640 root:users -> 0640 root:etcd"),
        ("etcdctl-etcd-client.key", {"mode": 0o604}, "0604 root:root -> 0600 root:root"),
        ("peer.crt", {"owner": "eve"}, "0644 eve:root -> 0644 root:root"),
        ("", {"mode": 0o700}, "~ /etc/etcd/pki: 0700 -> 0755"),
        ("", {"mode": 0o777}, "~ /etc/etcd/pki: 0777 -> 0755"),
    ],
)
def test_owner_and_mode_are_put_right(settled: World, name: str, change: dict[str, object], line: str) -> None:
    disk = settled.disks["etcd-01"]
    path = f"/etc/etcd/pki/{name}".rstrip("/")
    disk.files[path] = replace(disk.files[path], **change)  # type: ignore[arg-type]
    (step,) = settled.converge().steps
    assert line in step.changes[0]
    assert step.why == ""
    assert not action_of(step.action).needs_ca_key
    assert settled.plan().steps == ()


def test_owners_do_not_matter_where_we_are_not_root(settled: World) -> None:
    disk = settled.disks["etcd-01"]
    disk.host = replace(disk.host, connection="local", ssh=replace(disk.host.ssh, sudo="none"))
    disk.login = "me"
    cluster = make_cluster(settled.cluster.pki.state_dir, [disk.host])
    disk.files = {path: replace(fact, owner="me", group="me") for path, fact in disk.files.items()}
    settled.disks = {"etcd-01": disk}
    assert settled.plan(cluster).steps == ()
    disk.files["/etc/etcd/pki/peer.key"] = replace(disk.files["/etc/etcd/pki/peer.key"], mode=0o666)
    (step,) = settled.plan(cluster).steps
    assert "chown" not in finish_script(action_of(step.action))


def test_files_are_written_marker_then_keys_then_certificates(world: World) -> None:
    action = action_of(world.plan(make_cluster(world.cluster.pki.state_dir, ca_key="hosts")).steps[0].action)
    written = files_of(action, AUTHORITY, [(leaf, AUTHORITY.issue(leaf, NOW)) for leaf in action.leaves])
    names = [file.path.rpartition("/")[2] for file in written]
    keys, certs = [f"{name}.key" for name in LEAF_NAMES], [f"{name}.crt" for name in LEAF_NAMES]
    assert names == [".writing", "ca.key", "ca.crt", *keys, *certs]
    assert "PRIVATE" not in repr(written)
    assert all(b"PRIVATE" not in file.content for file in written if file.mode & 0o004)
    assert "PRIVATE" not in action.fingerprint()


def test_plan_of_another_ca_is_not_carried_out(settled: World) -> None:
    settled.disks["etcd-01"].files.pop("/etc/etcd/pki/peer.key")
    action = action_of(settled.plan().steps[0].action)
    with pytest.raises(PkiError, match="not the one that the plan was made with"):
        write_pki(None, action, OTHER, now=NOW)  # type: ignore[arg-type]


def test_fingerprint_tells_actions_apart(settled: World) -> None:
    wider = make_cluster(settled.cluster.pki.state_dir, extra_sans=("a.b",))
    other = make_cluster(settled.cluster.pki.state_dir, extra_sans=("a.c",))
    one, same, two = (action_of(settled.plan(c).steps[0].action).fingerprint() for c in (wider, wider, other))
    assert one == same
    assert one != two


def test_expiries(settled: World) -> None:
    disk = settled.disks["etcd-01"]
    disk.put("/etc/etcd/pki/peer.crt", b"broken")
    del disk.files["/etc/etcd/pki/metrics-etcd-client.crt"]
    found = {entry.name: entry for entry in expiries(disk.host, disk.facts(), now=NOW + timedelta(days=364, hours=1))}
    assert list(found) == ["ca", "server", "peer", "etcdctl-etcd-client", "apiserver-etcd-client"]
    assert found["server"].days_left == 0
    assert found["server"].issuer == "CN=etcd,O=prod-a"
    assert "10.0.0.11" in found["server"].sans
    assert (found["peer"].not_after, found["peer"].days_left) == (None, None)
    assert expiries(disk.host, disk.facts(), now=NOW + timedelta(days=366))[1].days_left == -1


def test_operators_client(tmp_path: Path) -> None:
    settings_ = make_pki(tmp_path / "s")
    authority = create_authority(settings_, "prod-a", NOW)
    files = ensure_client(settings_, authority, NOW)
    first = files.cert.read_bytes()
    assert {path.stat().st_mode & 0o777 for path in (files.cert, files.key)} == {0o600}
    ensure_client(settings_, replace(authority, key=None), NOW + timedelta(days=330))
    assert files.cert.read_bytes() == first
    ensure_client(settings_, authority, NOW + timedelta(days=336))
    second = files.cert.read_bytes()
    assert second != first
    files.cert.write_bytes(first)  # as if killed between the two files
    ensure_client(settings_, authority, NOW)
    assert files.cert.read_bytes() not in (first, second)
    files.cert.write_bytes(OTHER.issue(leaves_for(make_host(), make_cluster(tmp_path))[2], NOW).cert_pem)
    with pytest.raises(Refused, match="was not signed by"):
        ensure_client(settings_, authority, NOW)
    files.cert.unlink()
    with pytest.raises(PkiError, match="not in the state directory"):
        ensure_client(settings_, replace(authority, key=None), NOW)


def test_removable_is_what_the_hosts_ca_signed(settled: World) -> None:
    disk = settled.disks["etcd-01"]
    everything = [f"/etc/etcd/pki/{name}{end}" for name in LEAF_NAMES for end in (".key", ".crt")]
    found = removable(settled.cluster, disk.host, disk.facts())
    assert list(found) == [*everything, "/etc/etcd/pki/ca.crt"]  # ca.crt last: it tells whose the others are
    disk.put("/etc/etcd/pki/server.crt", OTHER.issue(leaves_for(disk.host, settled.cluster)[0], NOW).cert_pem)
    del disk.files["/etc/etcd/pki/peer.crt"]
    disk.put(marker_path(disk.host), b"")
    kept = {"/etc/etcd/pki/server.crt", "/etc/etcd/pki/server.key", "/etc/etcd/pki/peer.crt", "/etc/etcd/pki/peer.key"}
    left = [path for path in everything if path not in kept]
    assert list(removable(settled.cluster, disk.host, disk.facts())) == [
        *left,
        marker_path(disk.host),
        "/etc/etcd/pki/ca.crt",
    ]
    disk.files.clear()
    assert removable(settled.cluster, disk.host, disk.facts()) == ()


def test_the_only_copy_of_the_ca_key_is_never_removable(world: World, tmp_path: Path) -> None:
    cluster = make_cluster(tmp_path / "s", ca_key="hosts")
    world.converge(cluster)
    disk = world.disks["etcd-01"]
    path = "/etc/etcd/pki/ca.key"
    assert not {path, "/etc/etcd/pki/ca.crt"} & set(removable(cluster, disk.host, disk.facts()))
    create_authority(cluster.pki, cluster.name, NOW)
    assert path not in removable(cluster, disk.host, disk.facts())  # the operator's is of another CA
    (tmp_path / "s" / "ca.crt").write_bytes(AUTHORITY.cert_pem)
    (tmp_path / "s" / "ca.key").write_bytes(AUTHORITY.key_pem())
    assert removable(cluster, disk.host, disk.facts())[-2:] == (path, "/etc/etcd/pki/ca.crt")
