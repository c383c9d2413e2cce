"""A real sshd on loopback, run as the current user, with keys of its own."""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from tasks.cluster.spec import Host, Jump, Paths, Ssh

USER = pwd.getpwuid(os.getuid()).pw_name
BINARY = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""


def keygen(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)], check=True)
    return path


@functools.cache
def rsa_keys() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="etcd-flows-test-keys-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    keygen(directory / "host_rsa", "rsa")
    return directory


def free_port(address: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@dataclass
class Sshd:
    directory: Path
    address: str = "127.0.0.1"
    options: tuple[str, ...] = ()
    key_types: tuple[str, ...] = ("ed25519", "rsa")
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        self.port = self.port or free_port(self.address)
        for kind in self.key_types:
            if kind == "rsa":  # costs seconds: made once per test run; RSA keys of two servers are equal
                for name in ("host_rsa", "host_rsa.pub"):
                    shutil.copy(rsa_keys() / name, self.directory / name)
            else:
                keygen(self.directory / f"host_{kind}", kind)
        keygen(self.directory / "login")
        shutil.copy(self.directory / "login.pub", self.directory / "authorized")

    @property
    def entry(self) -> str:
        return f"[{self.address}]:{self.port}"

    def public(self, kind: str = "ed25519") -> str:
        return " ".join((self.directory / f"host_{kind}.pub").read_text().split()[:2])

    def trust(self, *kinds: str) -> Path:
        path = self.directory / "known_hosts"
        path.write_text("".join(f"{self.entry} {self.public(kind)}\n" for kind in kinds or self.key_types))
        return path

    def start(self) -> Sshd:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.directory / "sshd_config"
        keys = "".join(f"HostKey {self.directory}/host_{kind}\n" for kind in self.key_types)
        config.write_text(
            f"Port {self.port}\nListenAddress {self.address}\n{keys}PidFile none\nUsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile {self.directory}/authorized\nPasswordAuthentication no\nPermitRootLogin yes\n"
            "KbdInteractiveAuthentication no\nMaxStartups 100\nLogLevel VERBOSE\n" + "\n".join(self.options) + "\n"
        )
        self.process = subprocess.Popen([BINARY, "-D", "-f", str(config), "-E", str(self.directory / "log")])
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if self.listens():
                return self
            time.sleep(0.02)
        raise RuntimeError((self.directory / "log").read_text())

    def listens(self) -> bool:
        try:
            socket.create_connection((self.address, self.port), 1).close()
        except OSError:
            return False
        return True

    def children(self) -> list[int]:
        assert self.process
        found: list[int] = []
        frontier = [self.process.pid]
        while frontier:
            parent = frontier.pop()
            try:
                kids = [int(kid) for kid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
            except OSError:
                continue
            found += kids
            frontier += kids
        return found

    def cut(self, how: int = signal.SIGKILL) -> None:
        """Kill (or freeze) the server's side of all connections, not what runs in them."""
        for pid in self.children():
            try:
                if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                    os.kill(pid, how)
            except OSError:
                continue

    def stop(self) -> None:
        if self.process:
            self.cut()
            self.process.terminate()
            self.process.wait(10)
            self.process = None
            until = time.monotonic() + 60
            while self.listens():  # a child that was just forked, for the probe above say, has the socket too
                assert time.monotonic() < until, "sshd has ended, and its port is still open"
                time.sleep(0.02)

    def host(self, **ssh: object) -> Host:
        settings = Ssh(
            address=self.address,
            port=self.port,
            user=USER,
            key=self.directory / "login",
            key_passphrase=None,
            agent=False,
            password=None,
            sudo="none",
            sudo_password=None,
            host_keys="known_hosts",
            known_hosts=self.directory / "known_hosts",
            host_key=None,
            connect_timeout=5.0,
            jump=None,
        )
        return make_host(replace(settings, **ssh))  # type: ignore[arg-type]

    def jump(self, **changes: object) -> Jump:
        jump = Jump(self.address, self.port, USER, self.directory / "login", None, self.public())
        return replace(jump, **changes)  # type: ignore[arg-type]


def make_host(ssh: Ssh, name: str = "etcd-01", prefix: str = "") -> Host:
    paths = Paths(
        prefix,
        f"{prefix}/opt/bin",
        f"{prefix}/etc/etcd/pki",
        f"{prefix}/etc/etcd/etcd.env",
        f"{prefix}/etc/etcd/etcdctl.env",
        f"{prefix}/etc/systemd/system/etcd.service",
        f"{prefix}/var/lib/etcd",
        f"{prefix}/var/lib/etcd-flows",
        f"{prefix}/usr/local/bin/etcdctl",
    )
    return Host(
        name,
        ssh.address,
        ssh.address,
        ssh.address,
        ssh.address,
        2379,
        2380,
        2381,
        (),
        "ssh",
        "systemd",
        ssh,
        paths,
    )


def local_host(prefix: str = "", name: str = "etcd-01") -> Host:
    ssh = Ssh(
        "127.0.0.1", 22, USER, None, None, False, None, "none", None, "known_hosts", Path("/dev/null"), None, 5.0, None
    )
    return replace(make_host(ssh, name, prefix), connection="local", service="supervisor")
