"""Facts of this machine, and of a supervisor's program, through the real script."""

from __future__ import annotations

import hashlib
import os
import platform
import pwd
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.cluster.spec import Host
from tasks.errors import AccessDenied
from tasks.hosts.facts import HostFacts
from tasks.hosts.observe import observe, parse
from tasks.hosts.query import FactQuery, script_for
from tasks.hosts.services import manager
from tasks.hosts.shell import open_shell
from tests.component.hosts.sshd import Sshd, local_host

pytestmark = pytest.mark.component


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.1)


def look(host: Host, *stat: str, contents: tuple[str, ...] = (), **changes: str) -> HostFacts:
    query = FactQuery.for_host(host, user="daemon", stat=stat, contents=contents)
    with open_shell(host) as shell:
        return observe(shell, replace(query, **changes))  # type: ignore[arg-type]


def test_host(sshd: Sshd) -> None:
    facts = look(sshd.host())
    assert facts.host == "etcd-01"
    assert facts.hostname == platform.node()
    assert facts.machine == platform.machine()
    assert facts.kernel == platform.release()
    assert facts.cpus >= 1
    assert facts.memory_bytes > 1 << 26
    assert facts.login_user == pwd.getpwuid(os.getuid()).pw_name
    assert facts.os_id
    assert facts.etcd_user
    assert facts.missing_tools == ()


def test_clock_is_right_within_its_own_error(sshd: Sshd) -> None:
    look(sshd.host())
    facts = look(sshd.host())
    assert facts.clock_offset is not None
    assert abs(facts.clock_offset) <= facts.clock_error + 0.005
    assert facts.clock_error < 2


def test_files(tmp_path: Path) -> None:
    odd = tmp_path / "an 'odd'\tname $(touch x)"
    odd.write_bytes(b"\0\xff\n")
    odd.chmod(0o640)
    (tmp_path / "link").symlink_to("/nonexistent")
    (tmp_path / "deep").mkdir(mode=0o750)
    absent = f"{tmp_path}/no/such/file"
    below_a_file = f"{odd}/x"
    stat = (f"{tmp_path}/link", f"{tmp_path}/deep", absent, below_a_file, "/dev/null", "/etc/passwd")
    facts = look(local_host(), *stat, contents=(str(odd),))
    fact = facts.file(str(odd))
    assert (fact.kind, fact.mode, fact.size, fact.content) == ("file", 0o640, 3, b"\0\xff\n")
    assert fact.sha256 == hashlib.sha256(b"\0\xff\n").hexdigest()
    assert fact.owner == odd.owner()
    assert [facts.file(path).kind for path in stat] == ["link", "dir", "absent", "absent", "other", "file"]
    passwd = facts.file("/etc/passwd")
    assert passwd.content is None
    assert passwd.sha256 == hashlib.sha256(Path("/etc/passwd").read_bytes()).hexdigest()
    with pytest.raises(KeyError):
        facts.file("/not/asked/for")


def test_a_program_is_hashed_like_a_small_file(sshd: Sshd, tmp_path: Path) -> None:
    large = tmp_path / "etcd"
    large.write_bytes(os.urandom(1 << 20) * 3)
    fact = look(sshd.host(), str(large)).file(str(large))
    assert (fact.size, fact.sha256) == (3 << 20, hashlib.sha256(large.read_bytes()).hexdigest())


def test_data_dir(tmp_path: Path) -> None:
    data = tmp_path / "data"

    def kind() -> tuple[str, tuple[str, ...]]:
        fact = look(local_host(), data_dir=str(data)).data_dir
        assert fact.free_bytes
        return fact.kind, fact.entries

    assert kind() == ("absent", ())
    data.mkdir(mode=0o700)
    assert kind() == ("empty", ())
    (data / "lost+found").mkdir()
    assert kind() == ("empty", ())
    (data / ".hidden\nname").touch()
    assert kind() == ("foreign", (".hidden\nname",))
    (data / "member").mkdir()
    assert kind()[0] == "etcd"
    fact = look(local_host(), data_dir=str(data)).data_dir
    assert (fact.mode, fact.owner, fact.mount_point) == (0o700, data.owner(), False)
    assert look(local_host(), data_dir="/proc").data_dir.mount_point
    assert look(local_host(), data_dir="/etc/passwd").data_dir.kind == "foreign"


def test_what_cannot_be_seen_is_not_absent(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    host = local_host()
    query = FactQuery.for_host(host, user="nobody", stat=(f"{closed}/file",), contents=())
    if os.getuid() != 0:
        with pytest.raises(AccessDenied, match="cannot be looked at"), open_shell(host) as shell:
            observe(shell, query)
        return
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and parent not in (Path("/"), Path("/tmp")):
            parent.chmod(parent.stat().st_mode | 0o011)
    for wanted in (
        query,
        replace(query, stat=frozenset(), data_dir=f"{closed}/data"),
        replace(query, data_dir=str(closed)),
    ):
        done = subprocess.run(
            ["sh", "-c", script_for(wanted)],
            capture_output=True,
            check=True,
            user="nobody",
            env={"PATH": "/usr/bin:/bin"},
        )
        with pytest.raises(AccessDenied, match="cannot be looked at"):
            parse(wanted, done.stdout)


def test_etcd_version_and_missing_tools(tmp_path: Path) -> None:
    binary = tmp_path / "etcd"
    binary.write_text("#!/bin/sh\necho 'etcd Version: 3.6.16'\necho 'Git SHA: x'\n")
    assert look(local_host(), etcd=str(binary)).etcd_version is None
    binary.chmod(0o755)
    assert look(local_host(), etcd=str(binary)).etcd_version == "3.6.16"
    binary.write_text("#!/bin/sh\nexit 1\n")
    assert look(local_host(), etcd=str(binary)).etcd_version is None


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Host]:
    prefix = tmp_path / "m1"
    (prefix / "etc").mkdir(parents=True)
    program = "/usr/bin/env -i ETCD_NAME=m1 GOMAXPROCS=2 TOKEN=hidden /bin/sleep 1000"
    (prefix / "etc/supervisord.conf").write_text(
        f"[supervisord]\nlogfile={prefix}/var/log/supervisord.log\npidfile={prefix}/run/supervisord.pid\n"
        f"childlogdir={prefix}/var/log\ndirectory={prefix}\nsilent=true\n"
        f"[unix_http_server]\nfile={prefix}/run/s.sock\nchmod=0700\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{prefix}/run/s.sock\n"
        f"[program:etcd]\ncommand={program}\nautostart=true\nstartsecs=1\n"
    )
    yield local_host(str(prefix))
    pid = prefix / "run/supervisord.pid"
    if pid.exists():
        os.kill(int(pid.read_text()), 15)
        until = time.monotonic() + 10
        while pid.exists() and time.monotonic() < until:
            time.sleep(0.05)


def test_supervisor(supervised: Host) -> None:
    services = manager(supervised)
    assert not look(local_host("/nowhere")).service.known
    with open_shell(supervised) as shell:
        assert look(supervised).service.active == "inactive"
        assert shell.run(services.status()).text == "inactive 0"
        shell.run(services.stop())
        shell.run(services.start_no_block())
        shell.run(services.start_no_block())
        wait_for(lambda: look(supervised).service.active == "active")
        service = look(supervised).service
        assert service.running
        assert (service.known, service.enabled) == (True, True)
        assert shell.run(services.status()).text == f"active {service.main_pid}"
        assert service.environ == {"ETCD_NAME": "m1", "GOMAXPROCS": "2"}
        assert service.exe_replaced is False
        assert service.started_at == pytest.approx(time.time(), abs=20)
        shell.run(services.restart(), timeout=90)
        again = look(supervised).service
        assert again.running
        assert again.main_pid != service.main_pid
        conf = Path(supervised.paths.prefix) / "etc/supervisord.conf"
        conf.write_text(conf.read_text().replace("GOMAXPROCS=2", "GOMAXPROCS=3"))
        shell.run(services.restart(), timeout=90)
        assert look(supervised).service.environ == {"ETCD_NAME": "m1", "GOMAXPROCS": "3"}
        shell.run(services.stop(), timeout=90)
        assert not look(supervised).service.running
        shell.run(services.stop(), timeout=90)
