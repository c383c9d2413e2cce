"""Certificates as a real shell writes them and real etcd members use them, with mutual TLS on loopback."""

from __future__ import annotations

import getpass
import grp
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.cluster.spec import Cluster, Host
from tasks.errors import CommandFailed
from tasks.hosts.facts import HostFacts
from tasks.hosts.observe import observe
from tasks.hosts.query import FactQuery
from tasks.hosts.shell import FileWrite, Shell
from tasks.pki.apply import write_pki
from tasks.pki.authority import Authority, create_authority, load_authority
from tasks.pki.client import ensure_client
from tasks.pki.plan import PkiPlan, WritePki, fact_paths, plan_pki
from tests.unit.pki.factory import make_cluster, make_host

pytestmark = pytest.mark.component
GROUP = grp.getgrgid(os.getgid()).gr_name


@pytest.fixture(scope="session")
def binaries(etcd_binaries: Callable[..., Path]) -> Path:
    """A directory with etcd and etcdctl."""
    return etcd_binaries()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def local_cluster(base: Path, key_type: str) -> Cluster:
    hosts = []
    for name in ("e_1", "e_2", "e_3"):
        client, peer = free_ports(2)
        plain = make_host(name, "127.0.0.1", client_port=client, peer_port=peer, connection="local")
        paths = replace(
            plain.paths, prefix=str(base / name), pki_dir=f"{base / name}/pki", data_dir=f"{base / name}/data"
        )
        hosts.append(replace(plain, paths=paths, ssh=replace(plain.ssh, user=getpass.getuser(), sudo="none")))
    cluster = make_cluster(base / "state", hosts, key_type=key_type)
    return replace(cluster, etcd=replace(cluster.etcd, user=GROUP))


def look(host: Host) -> HostFacts:
    stats, contents = fact_paths(host)
    return observe(Shell(host), FactQuery.for_host(host, user=GROUP, stat=stats, contents=contents))


def planned(cluster: Cluster, authority: Authority | None) -> PkiPlan:
    return plan_pki(cluster, {host.name: look(host) for host in cluster.hosts}, authority, now=datetime.now(UTC))


def converge(cluster: Cluster) -> Authority:
    plan = planned(cluster, load_authority(cluster.pki, with_key=False))
    now = datetime.now(UTC)
    authority = (
        create_authority(cluster.pki, cluster.name, now) if plan.create_authority else load_authority(cluster.pki)
    )
    assert authority is not None
    for step in plan.steps:
        assert isinstance(step.action, WritePki)
        write_pki(Shell(cluster.host(step.host)), step.action, authority, now=now)
    return authority


@contextmanager
def running(cluster: Cluster, binaries: Path) -> Iterator[None]:
    members = [_start(cluster, host, binaries) for host in cluster.hosts]
    try:
        yield
    finally:
        for member in members:
            member.kill()
            member.wait()


def _start(cluster: Cluster, host: Host, binaries: Path) -> subprocess.Popen[bytes]:
    pki = host.paths.pki_dir
    words = {
        "name": host.name, "data-dir": host.paths.data_dir, "initial-cluster": cluster.initial_cluster,
        "initial-advertise-peer-urls": host.peer_url, "listen-peer-urls": host.peer_url,
        "advertise-client-urls": host.client_url, "listen-client-urls": host.client_url,
        "client-cert-auth": "true", "peer-client-cert-auth": "true", "log-level": "error", "unsafe-no-fsync": "true",
        "cert-file": f"{pki}/server.crt", "key-file": f"{pki}/server.key", "trusted-ca-file": f"{pki}/ca.crt",
        "peer-cert-file": f"{pki}/peer.crt", "peer-key-file": f"{pki}/peer.key",
        "peer-trusted-ca-file": f"{pki}/ca.crt",
    }  # fmt: skip
    with Path(host.paths.prefix, "log").open("wb") as log:
        flags = [f"--{key}={value}" for key, value in words.items()]
        return subprocess.Popen([binaries / "etcd", *flags], stdout=log, stderr=log)


def etcdctl(binaries: Path, host: Host, login: Sequence[str], *words: str) -> subprocess.CompletedProcess[str]:
    flags = [f"--endpoints={host.client_url}", "--dial-timeout=2s", "--command-timeout=3s", *login]
    command = [str(binaries / "etcdctl"), *flags, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def eventually(attempt: Callable[[], subprocess.CompletedProcess[str]], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while (result := attempt()).returncode != 0:
        assert time.monotonic() < until, result.stderr
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("key_type", ["ec-p256", "rsa-2048"])
def test_three_members_with_mutual_tls(tmp_path: Path, binaries: Path, key_type: str) -> None:
    cluster = local_cluster(tmp_path, key_type)
    authority = converge(cluster)
    assert planned(cluster, authority).steps == ()
    mine = ensure_client(cluster.pki, authority, datetime.now(UTC))
    first, last = cluster.hosts[0], cluster.hosts[-1]
    pki = first.paths.pki_dir
    operator = (f"--cacert={mine.ca}", f"--cert={mine.cert}", f"--key={mine.key}")
    with running(cluster, binaries):
        eventually(lambda: etcdctl(binaries, first, operator, "put", "greeting", "hello"))
        for name in ("etcdctl-etcd-client", "apiserver-etcd-client", "metrics-etcd-client"):
            login = (f"--cacert={pki}/ca.crt", f"--cert={pki}/{name}.crt", f"--key={pki}/{name}.key")
            assert etcdctl(binaries, last, login, "get", "--print-value-only", "greeting").stdout == "hello\n"
        assert etcdctl(binaries, last, (f"--cacert={mine.ca}",), "get", "greeting").returncode != 0
        foreign = ensure_client(
            replace(cluster.pki, state_dir=tmp_path / "f"),
            create_authority(replace(cluster.pki, state_dir=tmp_path / "f"), "other", datetime.now(UTC)),
            datetime.now(UTC),
        )
        stranger = (f"--cacert={mine.ca}", f"--cert={foreign.cert}", f"--key={foreign.key}")
        assert etcdctl(binaries, last, stranger, "get", "greeting").returncode != 0
        # Members take a re-issued pair at the next handshake, without a restart.
        wider = replace(cluster, pki=replace(cluster.pki, extra_sans=("127.0.0.9",)))
        assert {step.host for step in planned(wider, authority).steps} == {"e_1", "e_2", "e_3"}
        converge(wider)
        assert planned(wider, authority).steps == ()
        assert etcdctl(binaries, last, operator, "get", "--print-value-only", "greeting").stdout == "hello\n"
        assert "127.0.0.9" in _served(last, mine.ca, mine.cert, mine.key)


def _served(host: Host, ca: Path, cert: Path, key: Path) -> str:
    files = ["-CAfile", str(ca), "-cert", str(cert), "-key", str(key)]
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{host.client_port}", *files]
    pem = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False).stdout
    text = ["openssl", "x509", "-noout", "-ext", "subjectAltName"]
    return subprocess.run(text, input=pem, capture_output=True, timeout=30, check=True).stdout.decode()


class Cut(Exception):
    pass


class CutShell(Shell):
    """A real shell whose connection breaks after so many files."""

    left = 0

    def write_files(
        self,
        files: Sequence[FileWrite],
        *,
        root: bool = True,
        timeout: float = 120.0,
        before: str = "",
        after: str = "",
    ) -> None:
        super().write_files(files[: self.left], root=root, timeout=timeout, before=before)
        raise Cut


@pytest.mark.slow
def test_cut_after_each_file_then_run_again(tmp_path: Path) -> None:
    cluster = local_cluster(tmp_path, "ec-p256")
    cluster = replace(cluster, hosts=cluster.hosts[:1])
    authority = create_authority(cluster.pki, cluster.name, datetime.now(UTC))
    host, shell = cluster.hosts[0], CutShell(cluster.hosts[0])
    for left in range(13):  # marker, ca.crt, five keys, five certificates
        shutil.rmtree(host.paths.pki_dir, ignore_errors=True)
        (action,) = [step.action for step in planned(cluster, authority).steps]
        assert isinstance(action, WritePki)
        shell.left = left
        with pytest.raises(Cut):
            write_pki(shell, action, authority, now=datetime.now(UTC))
        (again,) = [step.action for step in planned(cluster, authority).steps]
        assert isinstance(again, WritePki)
        assert again.leaves == action.leaves[max(0, left - 7) :]
        write_pki(Shell(host), again, authority, now=datetime.now(UTC))
        assert planned(cluster, authority).steps == ()
        assert not Path(host.paths.pki_dir, ".writing").exists()


def test_modes_on_a_real_disk_are_put_right(tmp_path: Path) -> None:
    cluster = local_cluster(tmp_path, "ec-p256")
    authority = converge(cluster)
    pki = Path(cluster.hosts[1].paths.pki_dir)
    assert {path.name: path.stat().st_mode & 0o7777 for path in pki.glob("*r.*")} == {
        "server.crt": 0o644,
        "server.key": 0o640,
        "peer.crt": 0o644,
        "peer.key": 0o640,
    }
    (pki / "server.key").chmod(0o666)
    (pki / "etcdctl-etcd-client.key").chmod(0o644)
    pki.chmod(0o777)
    (step,) = planned(cluster, authority).steps
    assert isinstance(step.action, WritePki)
    assert not step.action.needs_ca_key
    write_pki(Shell(cluster.hosts[1]), step.action, replace(authority, key=None), now=datetime.now(UTC))
    assert planned(cluster, authority).steps == ()
    modes = [path.stat().st_mode & 0o7777 for path in (pki, pki / "server.key", pki / "etcdctl-etcd-client.key")]
    assert modes == [0o755, 0o640, 0o600]


def test_ended_certificates_are_issued_anew(tmp_path: Path) -> None:
    cluster = local_cluster(tmp_path, "ec-p256")
    authority = converge(cluster)
    later = datetime.now(UTC) + timedelta(days=400)
    facts = {host.name: look(host) for host in cluster.hosts}
    plan = plan_pki(cluster, facts, authority, now=later)
    assert all("expired on" in step.why for step in plan.steps)
    assert len(plan.steps) == 3


def test_key_never_leaves_through_messages(tmp_path: Path) -> None:
    cluster = local_cluster(tmp_path, "ec-p256")
    authority = create_authority(cluster.pki, cluster.name, datetime.now(UTC))
    Path(cluster.hosts[0].paths.prefix).mkdir()
    action = planned(cluster, authority).steps[0].action
    assert isinstance(action, WritePki)
    Path(cluster.hosts[0].paths.pki_dir, "peer.key").mkdir(parents=True)  # makes the write fail on the way
    with pytest.raises(CommandFailed) as caught:
        write_pki(Shell(cluster.hosts[0]), action, authority, now=datetime.now(UTC))
    assert "PRIVATE" not in str(caught.value)
    assert "peer.key" in str(caught.value)
