"""What the preflight's scripts print, read back."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import CommandFailed, HostError
from tasks.preflight.connect import Outcome, Target, judge_bash, judge_curl, script_for
from tasks.preflight.connect import parse as parse_knocks
from tasks.preflight.probe import ProbeQuery, kernel_address, parse, written_paths
from tasks.preflight.probe import script_for as probe_script
from tasks.preflight.seen import HostProbe, Socket
from tests import etcd_specs

HOST = etcd_specs.host()
QUERY = ProbeQuery(HOST, written_paths(HOST), (), measure=True, doors=True, big_endian=False)
TARGET = Target("etcd-02", "peer", "10.0.0.12", 2380, 3)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def output(*more: str) -> bytes:
    count = len(QUERY.paths)
    rows = [f"path\t{number}\tdir\tyes" for number in range(count)]
    rows += [f"near\t{b64(chr(10).join(['/'] * count))}", "mount\t/\trw,relatime", "uid\t0", "swap\t0 0", "end\tyes"]
    rows.append(f"disks\t{b64('Avail Mounted on' + chr(10) + chr(10).join(['1000 /'] * count))}")
    return "\n".join([*rows, *more, ""]).encode()


def test_least_output_leaves_the_rest_unknown() -> None:
    probe = parse(QUERY, output())
    assert [probe.sockets, probe.addresses, probe.fsync_ms, probe.timesync] == [None] * 4
    assert probe.paths["/opt/bin"].options == {"rw", "relatime"}
    assert probe.paths["/opt/bin"].free_bytes == 1000
    assert probe.root


def test_everything() -> None:
    holder = f"holder\t4711\t12\t{b64('nginx')}\t{b64('nginx.service')}"
    probe = parse(
        QUERY,
        output(
            *(
                "sockets\tknown",
                "socket\t0B0012C6\t094C\t4711",
                "socket\t0000000000000000FFFF00000100007F\t094B\t9",
                holder,
            ),
            *("addresses\tknown", "address\t10.0.0.11", f"address6\tfd{'0' * 29}1"),
            *("fsync\t 0.0145442  0.001", "timesync\tactive", "door_open\tpeer", "container\tyes", "selinux\t1"),
        ),
    )
    assert probe.sockets == (Socket("198.18.0.11", 2380, 12, "nginx", "nginx.service"), Socket("127.0.0.1", 2379))
    assert probe.addresses == frozenset({"10.0.0.11", "fd00::1"})
    assert probe.fsync_ms == pytest.approx((14.5442, 1.0))
    assert (probe.timesync, probe.container, probe.selinux) == (True, True, "enforcing")
    assert probe.doors == {"peer"}


def test_byte_orders() -> None:
    assert kernel_address("0100007F", big_endian=False) == "127.0.0.1"
    assert kernel_address("7F000001", big_endian=True) == "127.0.0.1"
    assert kernel_address("980100FD000018000000000011000000", big_endian=False) == "fd00:198:18::11"


@given(st.integers(0, 5000))
def test_cut_output_is_an_error_or_the_whole(cut: int) -> None:
    whole = output("fsync\t 0.001")
    try:
        probe = parse(QUERY, whole[:cut])
    except HostError:
        return
    assert isinstance(probe, HostProbe)
    assert len(probe.paths) == len(QUERY.paths)


def test_damaged_output() -> None:
    with pytest.raises(CommandFailed):
        parse(QUERY, output("sockets\tknown", "socket\tnonsense"))
    with pytest.raises(CommandFailed):
        parse(QUERY, output("fsync\tx"))


BASH: list[tuple[int, str, Outcome]] = [
    (0, "microseconds 412", "connected"),
    (1, "bash: connect: Connection refused\nbash: /dev/tcp/10.0.0.12/2380: Connection refused", "refused"),
    (1, "bash: connect: No route to host", "no-route"),
    (1, "bash: connect: Network is unreachable", "no-route"),
    (1, "bash: two.example: Name or service not known\nbash: /dev/tcp: Invalid argument", "unresolved"),
    (1, "bash: two.example: Temporary failure in name resolution", "unresolved"),
    (124, "", "timeout"),
    (1, "bash: connect: Connection timed out", "timeout"),
    (1, "something else", "failed"),
]


@pytest.mark.parametrize(("code", "said", "outcome"), BASH)
def test_bash(code: int, said: str, outcome: Outcome) -> None:
    knock = judge_bash("etcd-01", TARGET, code, said)
    assert knock.outcome == outcome
    assert knock.ms == (0.412 if outcome == "connected" else None)


CURL: list[tuple[int, str, Outcome]] = [
    (52, "curl: (52) Empty reply from server\nseconds 0.000512 0.000100", "connected"),
    (1, "seconds 0.000512 0.000100\ncurl: (1) Received HTTP/0.9 when not allowed", "connected"),
    (
        7,
        "curl: (7) Failed to connect to 10.0.0.12 port 2380 after 0 ms: Couldn't connect to server\nseconds 0.0 0.0",
        "refused",
    ),
    (7, "seconds 0.000000 0.00002\ncurl: (7) Failed to connect: No route to host", "no-route"),
    (28, "curl: (28) Connection timed out\nseconds 0.000000 0.000000", "timeout"),
    (6, "curl: (6) Could not resolve host: two.example\nseconds 0.000000 0.000000", "unresolved"),
    (3, "curl: (3) bad URL", "failed"),
]


@pytest.mark.parametrize(("code", "said", "outcome"), CURL)
def test_curl(code: int, said: str, outcome: Outcome) -> None:
    knock = judge_curl("etcd-01", TARGET, code, said)
    assert knock.outcome == outcome
    assert knock.ms == (pytest.approx(0.412) if outcome == "connected" else None)
    assert outcome == "connected" or "curl" in knock.said


def test_without_bash_and_curl_nothing_is_known() -> None:
    assert [knock.outcome for knock in parse_knocks(HOST, (TARGET,), b"way\tnone\n")] == ["unknown"]


def test_scripts_quote_what_they_are_given() -> None:
    odd = replace(HOST, paths=replace(HOST.paths, data_dir="/srv/it's here; rm -rf $HOME"))
    script = probe_script(replace(QUERY, host=odd, paths=written_paths(odd), names=("a'b",)))
    assert "'/srv/it'\"'\"'s here; rm -rf $HOME'" in script
    assert "look_name 0 'a'\"'\"'b' &" in script
    six = script_for((replace(TARGET, address="fd00::2"),))
    assert "knock 0 fd00::2 '[fd00::2]' 2380 3 3 &" in six


def test_a_running_member_is_neither_measured_nor_stood_in_for() -> None:
    quiet = probe_script(replace(QUERY, measure=False, doors=False))
    calls = quiet.rpartition("\n}\n")[2]
    assert "look_rest" in calls
    assert not any(word in calls for word in ("look_fsync", "open_door", "close_doors"))
