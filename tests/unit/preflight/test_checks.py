"""Every check of the preflight: what is said of good hosts, of bad ones, and of what could not be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.cluster.spec import Cluster
from tasks.errors import HostUnreachable, InputError
from tasks.findings import Finding, Level, worst
from tasks.hosts.facts import DataDirFact, ServiceFact
from tasks.preflight.checks import CHECKS
from tasks.preflight.connect import without_gone
from tasks.preflight.seen import Lookup, Socket, WayStep
from tasks.preflight.waivers import apply_waivers, check_waivers, refusals, waived_notes
from tests import etcd_specs
from tests.unit.preflight.scene import DISK, GIB, Scene

RUNNING = ServiceFact(True, "active", True, 77)


def plain() -> Cluster:
    return etcd_specs.cluster()


def named() -> Cluster:
    hosts = [replace(host, peer_address=f"{host.name}.example") for host in plain().hosts]
    return etcd_specs.cluster(*hosts)


def data(kind: str = "absent", free: int | None = 100 * GIB, entries: tuple[str, ...] = ()) -> DataDirFact:
    return DataDirFact(kind, entries, "root", 0o755, False, free)  # type: ignore[arg-type]


def paths(scene: Scene, path: str, **changes: object) -> None:
    scene.probed("etcd-02", paths={**scene.probes["etcd-02"].paths, path: replace(DISK, **changes)})  # type: ignore[arg-type]


def timings(scene: Scene, ms: float) -> None:
    scene.outcomes["etcd-02", "etcd-01", "peer"] = {"ms": ms}


def lookup(scene: Scene, addresses: tuple[str, ...], code: int = 0) -> None:
    scene.probed("etcd-02", names={**scene.probes["etcd-02"].names, "etcd-01.example": Lookup(addresses, code)})


def unnamed(scene: Scene) -> None:
    scene.probed("etcd-02", names={})


def taken(address: str, port: int, pid: int = 12, unit: str = "nginx.service") -> Callable[[Scene], None]:
    return lambda scene: scene.probed("etcd-02", sockets=(Socket(address, port, pid, "nginx", unit),))


def seen(**changes: object) -> Callable[[Scene], None]:
    return lambda scene: scene.seen("etcd-02", **changes)


def probed(**changes: object) -> Callable[[Scene], None]:
    return lambda scene: scene.probed("etcd-02", **changes)


def way(mode: int, owner: str = "root", group: str = "root") -> Callable[[Scene], None]:
    return probed(way=(WayStep("/var", 0o755, "root", "root"), WayStep("/var/lib", mode, owner, group)))


def knock(kind: str, outcome: str) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        scene.outcomes["etcd-02", "etcd-03", kind] = {"outcome": outcome, "ms": None}

    return change


BAD: list[tuple[Level, str, str, Callable[[Scene], None]]] = [
    ("warning", "cpu", "1 CPU", seen(cpus=1)),
    ("warning", "cpu", "could not be seen", seen(cpus=0)),
    ("warning", "memory", "less than 2 GiB", seen(memory_bytes=GIB)),
    ("warning", "memory", "etcd.quota is 8.0 GiB", seen(memory_bytes=4 * GIB)),
    ("warning", "memory", "of swap in use", probed(swap=(GIB, GIB // 2))),
    ("warning", "memory", "could not be seen", seen(memory_bytes=0)),
    ("warning", "architecture", "amd64: etcd-01, etcd-03; arm64: etcd-02", seen(arch="arm64")),
    ("error", "sudo", "does not become root", probed(root=False)),
    ("error", "tools", "missing: tar", seen(missing_tools=("tar",))),
    ("error", "systemd", "does not run", seen(systemd=None)),
    ("warning", "systemd", "systemd 239 does not know", seen(systemd=239)),
    ("warning", "os", "could not be seen", seen(os_id="")),
    ("warning", "clock", "0.6 s ahead of", seen(clock_offset=0.65)),
    ("error", "clock", "40.0 s behind", seen(clock_offset=-39.99)),
    ("warning", "clock", "could not be read", seen(clock_offset=None)),
    ("warning", "clock", "could only be measured to 3.0 s", seen(clock_error=3.0, clock_offset=2.0)),
    ("warning", "clock", "no time service", probed(timesync=False)),
    ("warning", "clock", "no time service", probed(timesync=None)),
    ("error", "disk-space", "100 MiB free for /var/lib/etcd; less than 512 MiB", seen(data_dir=data(free=100 << 20))),
    ("warning", "disk-space", "less than etcd.quota", seen(data_dir=data(free=6 * GIB))),
    ("warning", "disk-space", "less than twice etcd.quota", seen(data_dir=data(free=10 * GIB))),
    ("warning", "disk-space", "could not be seen", seen(data_dir=data(free=None))),
    ("error", "disk-space", "the release needs", lambda s: paths(s, "/opt/bin", free_bytes=50 << 20)),
    ("warning", "disk-space", "could not be seen", lambda s: paths(s, "/opt/bin", free_bytes=None)),
    ("warning", "disk-speed", "etcd's guide: below 10 ms", probed(fsync_ms=(1.0,) * 98 + (30.0,) * 2)),
    ("warning", "disk-speed", "above etcd.heartbeat_ms (100)", probed(fsync_ms=(1.0,) * 98 + (200.0,) * 2)),
    ("error", "disk-speed", "above half of etcd.election_ms (1000)", probed(fsync_ms=(1.0,) * 98 + (900.0,) * 2)),
    ("error", "disk-speed", "above half of", probed(fsync_ms=(3000.0,))),
    ("warning", "disk-speed", "nothing was measured", probed(fsync_ms=())),
    ("warning", "disk-speed", "no file could be made", probed(fsync_ms=None, fsync_failed="create")),
    ("warning", "disk-speed", "not measured", seen(data_dir=data("etcd"))),
    ("error", "data-dir", "holds what is not etcd's: cats", seen(data_dir=data("foreign", entries=("cats",)))),
    (
        "error",
        "paths",
        "/etc/etcd/pki: /etc is mounted read-only",
        lambda s: paths(s, "/etc/etcd/pki", options=frozenset({"ro"}), writable=False, mount="/etc"),
    ),
    ("error", "paths", "nothing can be made in /etc", lambda s: paths(s, "/etc/etcd", near="/etc", writable=False)),
    ("error", "paths", "/opt is in the way", lambda s: paths(s, "/opt/bin", near="/opt", directory=False)),
    ("error", "paths", "noexec", lambda s: paths(s, "/opt/bin", options=frozenset({"rw", "noexec"}))),
    ("error", "paths", "/var/lib is root:root 0700", way(0o700)),
    ("warning", "paths", "/var/lib is root:data 0750", way(0o750, group="data")),
    ("error", "ports", "10.0.0.12:2380 is taken by nginx (pid 12, nginx.service)", taken("10.0.0.12", 2380)),
    ("error", "ports", "[::]:2379 is taken", taken("::", 2379)),
    ("error", "ports", "127.0.0.1:2381 is taken by somebody who could not be seen", taken("127.0.0.1", 2381, 0, "")),
    ("warning", "ports", "another preflight", taken("10.0.0.12", 2380, 12, "etcd-flows-preflight-peer-2380.service")),
    ("warning", "ports", "could not be seen", probed(sockets=None)),
    ("error", "addresses", "10.0.0.12 is not an address", probed(addresses=frozenset({"127.0.0.1", "10.9.9.9"}))),
    ("warning", "addresses", "could not be seen", probed(addresses=None)),
    ("error", "connectivity", "10.0.0.13:2380 (peers): no answer", knock("peer", "timeout")),
    ("error", "connectivity", "10.0.0.13:2380 (peers): refused", knock("peer", "refused")),
    ("warning", "connectivity", "10.0.0.13:2379 (clients): no route", knock("client", "no-route")),
    ("warning", "connectivity", "port for peers could not be seen", knock("peer", "unknown")),
    ("warning", "connectivity", "takes 180 ms; etcd.heartbeat_ms is 100", lambda s: timings(s, 180)),
]


@pytest.mark.parametrize(("level", "check", "text", "change"), BAD)
def test_one_fault_gives_one_finding(level: Level, check: str, text: str, change: Callable[[Scene], None]) -> None:
    scene = Scene(plain())
    assert scene.told() == [], "the scene is good to begin with"
    change(scene)
    (finding,) = scene.told()
    assert (finding.level, finding.check) == (level, check)
    assert text in finding.text
    assert finding.host in ("etcd-02", None)
    assert check in CHECKS
    assert finding.remedy or level == "warning"


NAMED: list[tuple[Level, str, Callable[[Scene], None]]] = [
    ("error", "etcd-01.example (etcd-01) does not resolve: unknown", lambda s: lookup(s, (), 2)),
    ("error", "did not answer in time", lambda s: lookup(s, (), 124)),
    ("error", "that is this host itself, not etcd-01", lambda s: lookup(s, ("127.0.1.1",))),
    ("warning", "not an address of etcd-01", lambda s: lookup(s, ("10.0.0.44",))),
]


@pytest.mark.parametrize(("level", "text", "change"), NAMED)
def test_names(level: Level, text: str, change: Callable[[Scene], None]) -> None:
    scene = Scene(named())
    assert scene.told() == []
    change(scene)
    (finding,) = scene.told()
    assert (finding.level, finding.check, finding.host) == (level, "names", "etcd-02")
    assert text in finding.text
    assert finding.remedy


def test_without_getent_names_are_unknown_not_ok() -> None:
    scene = Scene(named())
    unnamed(scene)
    assert {(f.level, f.check, f.host) for f in scene.told()} == {("warning", "names", "etcd-02")}
    assert not [f for f in scene.findings() if f.check == "names" and f.host == "etcd-02" and f.level == "ok"]


def test_a_host_that_knows_itself_as_loopback_is_warned() -> None:
    scene = Scene(named())
    scene.probed("etcd-01", names={**scene.probes["etcd-01"].names, "etcd-01.example": Lookup(("127.0.1.1",), 0)})
    assert [(f.level, f.host) for f in scene.told()] == [("warning", "etcd-01")]


def test_a_lone_slow_write_is_no_error() -> None:
    scene = Scene(plain())
    scene.probed("etcd-02", fsync_ms=(1.0,) * 20 + (900.0,))
    assert [f.level for f in scene.told()] == ["warning"]


def test_timings_that_fit_are_proposed() -> None:
    scene = Scene(plain())
    timings(scene, 180)
    assert scene.told()[0].remedy == "etcd.heartbeat_ms: 200, etcd.election_ms: 2000"
    again = Scene(etcd_specs.cluster(heartbeat_ms=200, election_ms=2000))
    timings(again, 180)
    assert again.told() == []


def test_a_running_member_holds_its_own_ports() -> None:
    scene = Scene(plain())
    scene.seen("etcd-02", service=RUNNING, data_dir=data("etcd"))
    scene.probed("etcd-02", sockets=(Socket("10.0.0.12", 2380, 77, "etcd", "etcd.service"),), doors=frozenset())
    assert {f.check for f in scene.told()} == {"disk-speed"}
    scene.probed("etcd-02", sockets=(Socket("10.0.0.12", 2380, 78, "etcd", "other.service"),))
    assert {f.check for f in scene.told() if f.level == "error"} == {"ports"}


def test_a_member_that_systemd_was_about_to_start_again_may_hold_its_ports_by_now() -> None:
    scene = Scene(plain())
    scene.seen("etcd-02", service=ServiceFact(True, "activating"), data_dir=data("etcd"))
    scene.probed("etcd-02", sockets=(Socket("10.0.0.12", 2380, 78, "etcd", "etcd.service"),), doors=frozenset())
    assert not [finding for finding in scene.told() if finding.level == "error"]
    scene.probed("etcd-02", sockets=(Socket("10.0.0.12", 2380, 78, "etcd", "other.service"),))
    assert {f.check for f in scene.told() if f.level == "error"} == {"ports"}


def test_a_worker_whose_clock_is_off_is_told_so_and_no_host_is_blamed() -> None:
    scene = Scene(plain())
    for name in scene.facts:
        scene.seen(name, clock_offset=-60.0)
    (finding,) = scene.told()
    assert (finding.check, finding.host) == ("clock", None)
    assert "the clock of this machine is 60.0 s ahead" in finding.text


def test_two_clocks_have_the_worker_as_judge() -> None:
    scene = Scene(etcd_specs.cluster(*plain().hosts[:2]))
    scene.seen("etcd-02", clock_offset=40.0)
    assert [(f.level, f.host) for f in scene.told()] == [("error", "etcd-02")]


def test_a_host_that_could_not_be_asked_hides_nobody_else() -> None:
    scene = Scene(plain())
    del scene.facts["etcd-01"], scene.probes["etcd-01"]
    scene.errors["etcd-01"] = HostUnreachable("no answer", host="etcd-01", remedy="wake it up")
    taken("10.0.0.12", 2380)(scene)
    errors = {(f.check, f.host) for f in scene.told() if f.level == "error"}
    assert errors == {("reachable", "etcd-01"), ("ports", "etcd-02")}
    reasons = refusals(scene.findings())
    assert [reason.host for reason in reasons] == ["etcd-02"], "the other one is told by its own error"
    unseen = [f for f in scene.told() if f.check == "connectivity"]
    assert {(f.level, f.host) for f in unseen} == {("warning", "etcd-02"), ("warning", "etcd-03")}


def test_a_single_member_needs_to_reach_nobody() -> None:
    scene = Scene(etcd_specs.cluster(plain().hosts[0]))
    assert scene.told() == []
    assert not [finding for finding in scene.findings() if finding.check == "connectivity"]


def test_members_on_one_machine_have_no_way_between_them() -> None:
    scene = Scene(plain())
    scene.cluster = plain()
    for name in scene.probes:
        scene.probed(name, doors=frozenset(), timesync=None)
    assert scene.told() == []


def test_an_architecture_that_is_not_released() -> None:
    scene = Scene(etcd_specs.cluster(plain().hosts[0]))
    scene.seen("etcd-01", arch="armv6l", machine="armv6l")
    (finding,) = scene.told()
    assert (finding.level, finding.check) == ("error", "architecture")
    assert "etcd is released for amd64" in finding.text
    own = Scene(etcd_specs.cluster(plain().hosts[0], source="/srv/builds"))
    own.seen("etcd-01", arch="armv6l", machine="armv6l")
    assert own.told() == []


@given(st.sets(st.integers(0, len(BAD) - 1), max_size=6))
def test_faults_on_different_hosts_are_all_told(chosen: set[int]) -> None:
    """Each fault's finding is there whatever else is wrong on other hosts: nothing hides anything."""
    alone, together = Scene(plain()), Scene(plain())
    for number in chosen:
        BAD[number][3](alone)
    for number in chosen:
        BAD[number][3](together)
    together.errors["etcd-03"] = HostUnreachable("gone", host="etcd-03", remedy="look")
    del together.facts["etcd-03"], together.probes["etcd-03"]
    of_host = [{(f.level, f.check, f.text) for f in s.told() if f.host == "etcd-02"} for s in (alone, together)]
    separate = {f for f in of_host[0] if f[1] not in ("connectivity", "clock")}
    assert separate <= of_host[1]


LEVELS = st.sampled_from(["ok", "warning", "error"])
FINDINGS = st.lists(
    st.builds(
        Finding, LEVELS, st.sampled_from([*CHECKS, "reachable"]), st.text(max_size=5), st.sampled_from(["a", None])
    ),
    max_size=12,
)


@given(FINDINGS, st.sets(st.sampled_from(CHECKS)))
def test_waivers_touch_errors_of_their_checks_and_nothing_else(findings: list[Finding], names: set[str]) -> None:
    result = apply_waivers(findings, names)
    assert len(result) == len(findings)
    for before, after in zip(findings, result, strict=True):
        if before.level == "error" and before.check in names:
            assert after == replace(before, level="waived")
        else:
            assert after == before
    left = [f for f in findings if f.level == "error" and f.check not in names and f.check != "reachable"]
    assert len(refusals(result)) == len(left)
    assert len(waived_notes(result)) == sum(f.level == "waived" for f in result)
    assert (worst(result) == "error") == any(f.level == "error" for f in result)


def test_unknown_waivers_are_refused() -> None:
    assert check_waivers(["ports", "clock", "ports"]) == {"ports", "clock"}
    with pytest.raises(InputError) as told:
        check_waivers(["disk-sped"])
    assert "did you mean disk-speed?" in str(told.value)
    with pytest.raises(InputError, match="can't be waived"):
        check_waivers(["reachable"])


def test_a_door_that_another_run_closed_says_nothing() -> None:
    scene = Scene(plain())
    knock("peer", "refused")(scene)
    knock("client", "refused")(scene)
    assert len([each for knocks in scene.knocks().values() for each in knocks if each.outcome == "refused"]) == 2
    kept = without_gone(scene.knocks(), {"etcd-03": frozenset({"peer"})})
    assert [each.target.kind for knocks in kept.values() for each in knocks if each.outcome == "refused"] == ["client"]
    unknown = [each for knocks in kept.values() for each in knocks if each.outcome == "unknown"]
    assert [(each.target.host, each.target.kind) for each in unknown] == [("etcd-03", "peer")]
