"""The lab keeps its promises: what the other end-to-end tests stand on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import fabric

from tests.lab.hosts import LabHost
from tests.lab.lab import LABS, Lab, labs, sweep
from tests.lab.system import Process, mounts_below, processes_in, wait_until

Fresh = Callable[[int], list[LabHost]]


def reaches(address: str, port: int = 22, timeout: float = 1.5) -> bool:
    """Whether this process can open a connection."""
    try:
        with socket.create_connection((address, port), timeout=timeout) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def round_trip(address: str) -> float:
    """Seconds that opening a connection takes, the best of five."""
    times = []
    for _ in range(5):
        begin = time.monotonic()
        with contextlib.suppress(OSError), socket.create_connection((address, 22), timeout=5):
            times.append(time.monotonic() - begin)
    return min(times)


def ssh(lab: Lab, host: LabHost, user: str = "root") -> fabric.Connection:
    return fabric.Connection(host.address, user=user, connect_kwargs={"key_filename": str(lab.client_key)})


def test_hosts_are_real_machines(lab: Lab, fresh_hosts: Fresh) -> None:
    hosts = fresh_hosts(3)
    for host in hosts:
        with ssh(lab, host) as connection:
            seen = connection.run(
                "cat /proc/1/comm; hostname; systemctl is-system-running --wait", hide=True, in_stream=False, warn=True
            ).stdout
        assert seen.split() == ["systemd", host.name, "running"]
        assert all(reaches(a) for a in (host.address, host.address2, host.address6, host.address6_2))
    assert len({host.host_key for host in hosts}) == 3
    assert len({host.read("/etc/machine-id") for host in hosts}) == 3


def test_power_cut_keeps_the_disk_and_a_fresh_host_has_none(fresh_hosts: Fresh) -> None:
    host, other = fresh_hosts(2)
    host.write("/var/lib/thing", "kept\n")
    before = host.exec("cat /proc/sys/kernel/random/boot_id; cut -d' ' -f22 /proc/1/stat")
    host.exec("systemd-run --unit=busy sleep 1000")
    host.power_cut()
    assert not host.running
    assert not reaches(host.address)
    assert reaches(other.address)
    host.boot()
    assert host.read("/var/lib/thing") == "kept\n"
    assert host.exec("cat /proc/sys/kernel/random/boot_id; cut -d' ' -f22 /proc/1/stat") != before
    assert host.exec_result("systemctl is-active busy").stdout.strip() != "active"
    key = host.host_key
    (again, *_) = fresh_hosts(2)
    assert again.exec_result("test -e /var/lib/thing").returncode == 1
    assert again.host_key != key


def test_hosts_that_are_not_asked_for_are_off(fresh_hosts: Fresh) -> None:
    second = fresh_hosts(2)[1]
    fresh_hosts(1)
    assert not reaches(second.address)


def test_cut_off_and_reconnected(fresh_hosts: Fresh) -> None:
    host, other = fresh_hosts(2)
    host.cut_off()
    assert not reaches(host.address)
    assert not reaches(host.address2)
    assert host.exec("hostname").strip() == host.name, "the side door does not use the network"
    host.reconnect()
    assert reaches(host.address)
    host.cut_off("eth1")
    assert reaches(host.address)
    assert not reaches(host.address2)
    host.reconnect()
    host.cut_from(other)
    knock = f"timeout 1 bash -c 'head -c 4 </dev/tcp/{other.address}/22'"
    assert host.exec_result(knock).stdout != "SSH-"
    assert reaches(host.address)
    host.reconnect()
    assert host.exec_result(knock).stdout == "SSH-"


def test_ssh_alone_is_cut(lab: Lab, fresh_hosts: Fresh) -> None:
    host, bastion = fresh_hosts(2)
    host.cut_ssh()
    assert not reaches(host.address)
    host.open_ssh()
    host.ssh_only_from(bastion)
    assert not reaches(host.address)
    assert not reaches(host.address6)
    with fabric.Connection(
        host.address, user="root", gateway=ssh(lab, bastion), connect_kwargs={"key_filename": str(lab.client_key)}
    ) as connection:
        assert connection.run("hostname", hide=True, in_stream=False).stdout.strip() == host.name
    host.power_cycle()
    assert not reaches(host.address), "a firewall in the network outlives the host's reboot"
    host.open_ssh()
    with ssh(lab, host) as connection:
        assert connection.run("true", in_stream=False).ok
        host.drop_ssh_sessions()
        transport = connection.transport
        wait_until("the session is gone", lambda: not transport.is_active(), 5)
    assert reaches(host.address)


def test_slow_network(fresh_hosts: Fresh) -> None:
    (host,) = fresh_hosts(1)
    assert round_trip(host.address) < 0.05
    host.slow_network(80)
    assert 0.08 <= round_trip(host.address) < 0.3
    assert round_trip(host.address6) >= 0.08
    host.fast_network()
    assert round_trip(host.address) < 0.05


def test_small_and_slow_disk(fresh_hosts: Fresh) -> None:
    (host,) = fresh_hosts(1)
    host.small_disk(64)
    full = host.exec_result("dd if=/dev/zero of=/var/lib/etcd/big bs=1M count=100")
    assert "No space left" in full.stderr
    host.exec("rm /var/lib/etcd/big; echo 1 >/var/lib/etcd/one")
    host.power_cycle()
    assert host.read("/var/lib/etcd/one") == "1\n"
    assert host.exec("findmnt -n -o FSTYPE /var/lib/etcd").strip() == "ext4"
    write = "echo 2 >/var/lib/etcd/two; sync /var/lib/etcd/two"

    def took() -> float:
        begin = time.monotonic()
        host.exec(write)
        return time.monotonic() - begin

    assert took() < 0.3
    host.slow_disk(800)
    assert max(took() for _ in range(3)) > 0.3
    host.fast_disk()
    assert max(took() for _ in range(3)) < 0.3


def test_users_and_sshd_options(lab: Lab, fresh_hosts: Fresh) -> None:
    (host,) = fresh_hosts(1)
    host.add_user("admin", sudo="nopasswd")
    host.add_user("careful", sudo="password", password="correct horse")
    host.add_user("guest", sudo="none")
    with ssh(lab, host, "admin") as connection:
        assert connection.run("sudo -n id -u", hide=True, in_stream=False).stdout.strip() == "0"
    with ssh(lab, host, "careful") as connection:
        assert connection.run("sudo -n true", hide=True, in_stream=False, warn=True).failed
        assert connection.sudo("id -u", hide=True, in_stream=False, password="correct horse").stdout.strip() == "0"
    with ssh(lab, host, "guest") as connection:
        assert connection.run("sudo -n true", hide=True, in_stream=False, warn=True).failed
    with fabric.Connection(
        host.address,
        user="careful",
        connect_kwargs={"password": "correct horse", "look_for_keys": False, "allow_agent": False},
    ) as connection:
        assert connection.run("id -un", hide=True, in_stream=False).stdout.strip() == "careful"
    host.sshd_option("MaxSessions 1")
    assert "maxsessions 1" in host.exec("sshd -T")


_VICTIM = """
import sys, time
from tests.lab.lab import Lab
lab = Lab(sys.argv[1])
lab.enter()
host, = lab.fresh(1)
host.small_disk(16)
host.slow_network(1)
host.slow_disk(60_000)
import subprocess
subprocess.Popen(["sleep", "1000"], start_new_session=True)
print("up", flush=True)
time.sleep(1000)
"""


def test_next_lab_cleans_up_after_a_killed_one(lab: Lab, fresh_hosts: Fresh, tmp_path: Path) -> None:
    (mine,) = fresh_hosts(1)
    victim_id = f"victim-{os.getpid()}"
    victim = subprocess.Popen([sys.executable, "-c", _VICTIM, victim_id], stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "up\n"
    spaces = [f"efl-{victim_id}", f"efl-{victim_id}-etcd-01"]
    left = [process for space in spaces for process in processes_in(space)]
    assert len(left) > 5
    assert victim_id not in sweep(), "a lab whose owner lives is left alone"
    assert mine.running
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert any(process.alive for process in left)
    assert victim_id in sweep()
    wait_until("they are gone", lambda: not any(process.alive for process in left), 30)  # killed, but some still exit
    assert victim_id not in labs()
    assert not (LABS / victim_id).exists()
    assert not mounts_below(LABS / victim_id)
    assert victim_id not in subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
    assert mine.running
    assert reaches(mine.address)


def test_a_recorded_number_that_now_belongs_to_another_process_is_spared() -> None:
    bystander = subprocess.Popen(["sleep", "100"])
    try:
        seen = Process.of(bystander.pid)
        assert seen is not None
        Process(seen.pid, seen.start - 1).kill()
        assert bystander.poll() is None
        assert seen.alive
        seen.kill()
        assert bystander.wait(5) == -signal.SIGKILL
    finally:
        bystander.kill()
