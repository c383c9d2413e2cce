"""Reading what the fact script prints, without a host."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import AccessDenied, CommandFailed, EtcdFlowsError
from tasks.hosts.observe import parse
from tasks.hosts.query import FactQuery, script_for

QUERY = FactQuery("h", frozenset({"/b"}), frozenset({"/a"}), "/var/lib/etcd", "/opt/bin/etcd", "etcd", "systemd")


def blob(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


BASE = [
    "begin\t1000.5",
    f"machine\t{blob('aarch64')}",
    f"os\t{blob('ubuntu' + chr(10) + '24.04')}",
    f"systemd\t{blob('systemd 255 (255.4-1ubuntu8)')}",
    "uptime\t100.5",
    "memory_kib\t2048",
    f"etcd\t{blob('etcd Version: 3.6.16')}",
    "user\tyes",
    "missing\ttar",
    "file\t0\tfile\t640 root etcd 3",
    f"content\t0\t{blob('abc')}",
    "sha256\t0\tff",
    "file\t1\tabsent",
    "data_free\t 12345",
    "data_attributes\t700 etcd",
    "data_dir\tetcd",
    f"data_entry\t{blob('member')}",
    "end\t1000.7",
]
UNIT = "LoadState=loaded\nActiveState=activating\nUnitFileState=enabled\nMainPID=77\nNeedDaemonReload=yes\n"


def output(*more: str, without: str = "\0") -> bytes:
    return "\n".join([*(line for line in BASE if not line.startswith(without)), *more]).encode()


def test_everything() -> None:
    unit = blob(UNIT + "ExecMainStartTimestampMonotonic=50000000")
    more = (f"service_systemd\t{unit}", f"service_environ\t{blob('ETCD_NAME=a=b' + chr(10) + 'GOMAXPROCS=2')}")
    facts = parse(QUERY, output(*more, "service_replaced\tyes"), began=1000.0, ended=1000.4)
    assert (facts.arch, facts.machine, facts.os_id, facts.os_version) == ("arm64", "aarch64", "ubuntu", "24.04")
    assert (facts.systemd, facts.etcd_version, facts.etcd_user) == (255, "3.6.16", True)
    assert (facts.memory_bytes, facts.missing_tools) == (2048 * 1024, ("tar",))
    assert facts.clock_offset == pytest.approx(0.4)
    assert facts.clock_error == pytest.approx(0.1)
    a, b = facts.file("/a"), facts.file("/b")
    assert (a.kind, a.mode, a.owner, a.group, a.size, a.sha256, a.content) == (
        "file",
        0o640,
        "root",
        "etcd",
        3,
        "ff",
        b"abc",
    )
    assert not b.present
    data = facts.data_dir
    assert (data.kind, data.owner, data.mode, data.free_bytes, data.entries) == (
        "etcd",
        "etcd",
        0o700,
        12345,
        ("member",),
    )
    service = facts.service
    assert (service.known, service.active, service.enabled, service.main_pid) == (True, "activating", True, 77)
    assert (service.stale, service.started_at, service.exe_replaced) == (True, 950.0, True)
    assert service.environ == {"ETCD_NAME": "a=b", "GOMAXPROCS": "2"}


def test_no_unit_and_no_answer() -> None:
    assert not parse(QUERY, output()).service.known
    assert not parse(QUERY, output(f"service_systemd\t{blob('LoadState=not-found')}")).service.known
    assert parse(QUERY, output(), began=5, ended=5).clock_offset is None


@pytest.mark.parametrize("state", ["disabled", "static", "masked", ""])
def test_only_enabled_is_enabled(state: str) -> None:
    unit = blob(f"LoadState=loaded\nUnitFileState={state}\n")
    assert not parse(QUERY, output(f"service_systemd\t{unit}")).service.enabled


@pytest.mark.parametrize("missing", ["begin", "end", "data_dir", "file\t0", "file\t1"])
def test_what_is_missing_is_damage_not_absence(missing: str) -> None:
    with pytest.raises(CommandFailed, match="damaged"):
        parse(QUERY, output(without=missing))


def test_what_was_denied_is_not_absence() -> None:
    with pytest.raises(AccessDenied, match="/b cannot be looked at"):
        parse(QUERY, output("denied\t1", without="file\t1"))
    with pytest.raises(AccessDenied, match="/var/lib/etcd"):
        parse(QUERY, output("data_dir\tdenied", without="data_dir"))


@pytest.mark.parametrize(
    ("said", "active", "pid"),
    [
        ("etcd                             RUNNING   pid 4242, uptime 0:00:05", "active", 4242),
        ("etcd                             STARTING  ", "activating", 0),
        ("etcd                             BACKOFF   Exited too quickly", "activating", 0),
        ("etcd                             FATAL     Exited too quickly", "failed", 0),
        ("etcd                             STOPPED   Nov 24 12:00 AM", "inactive", 0),
        ("unix:///x/s.sock no such file", "inactive", 0),
    ],
)
def test_supervisor(said: str, active: str, pid: int) -> None:
    query = FactQuery("h", QUERY.stat, QUERY.contents, "/d", "/e", "u", "supervisor", ("ctl", "/x/conf"))
    stat = "S " + " ".join(["0"] * 18) + " 5000 0"
    service = parse(query, output(f"service_supervisor\t{blob(said)}", f"service_stat\t{stat}")).service
    assert (service.known, service.active, service.main_pid) == (True, active, pid)
    assert service.started_at == (950.0 if pid else None)


@given(st.lists(st.sampled_from(BASE) | st.text(max_size=30), max_size=30))
def test_damaged_output_is_one_clear_error(lines: list[str]) -> None:
    try:
        parse(QUERY, "\n".join(lines).encode(errors="replace"))
    except EtcdFlowsError as error:
        assert error.host == "h"  # noqa: PT017 - it may also be read without an error


def test_private_keys_are_never_fetched() -> None:
    with pytest.raises(ValueError, match="private key"):
        FactQuery("h", frozenset(), frozenset({"/etc/etcd/pki/ca.key"}), "/d", "/e", "u", "systemd")
    with pytest.raises(ValueError, match="absolute"):
        FactQuery("h", frozenset({"x"}), frozenset(), "/d", "/e", "u", "systemd")


def test_paths_are_quoted() -> None:
    query = FactQuery("h", frozenset({"/a'; rm -rf /; '"}), frozenset(), "/d d", "/e", "u", "systemd")
    script = script_for(query)
    assert "look_file 0 stat '/a'\"'\"'; rm -rf /; '\"'\"''\n" in script
    assert "look_data_dir '/d d' ''\n" in script
