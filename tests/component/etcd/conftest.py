"""A real etcd on loopback, configured by the files that the product renders."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tasks.cluster.spec import Cluster, Host
from tasks.etcd.client import Client, connect
from tasks.etcd.config import config_files
from tests import etcd_specs as specs
from tests.component.etcd import pki
from tests.lab import releases
from tests.lab.system import outside


def binaries(version: str) -> Path:
    """The directory with etcd, etcdctl and etcdutl of that version."""
    try:
        return outside(lambda: releases.binaries(version))
    except releases.ReleaseUnavailable as error:
        pytest.skip(f"NOT RUN: {error}")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@dataclass
class Member:
    """A member with all its files on disk, and its process once it is started."""

    cluster: Cluster
    host: Host
    root: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()

    def start(self, *, ready: bool = True) -> None:
        script = f"set -a; . '{self.host.paths.env_file}'; exec '{self.host.paths.install_dir}/etcd'"
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(["env", "-i", "sh", "-c", script], stderr=log, stdout=log)
        if ready:
            self.wait()

    def wait(self, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process is not None and self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.host.metrics_url}/health", timeout=1):  # noqa: S310
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise AssertionError(self.log[-3000:])

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def client(self, timeout: float = 5.0) -> Client:
        folder = Path(self.host.paths.pki_dir)
        client_pair = folder / "etcdctl-etcd-client.crt", folder / "etcdctl-etcd-client.key"
        return connect(self.host.client_url, folder / "ca.crt", *client_pair, timeout, host=self.host.name)

    def etcdctl(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Through the wrapper, as root's shell would."""
        words = ["sh", self.host.paths.etcdctl_wrapper, *args]
        return subprocess.run(
            words, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **env}, timeout=30
        )


def build(
    root: Path, version: str, members: int = 1, where: Mapping[str, str] | None = None, **changes: object
) -> list[Member]:
    """Members with their files written, not started; ``where`` changes their hosts."""
    hosts = []
    pki.make(root / "pki")
    for number in range(1, members + 1):
        client, peer, metrics = free_ports(3)
        places = replace(
            specs.paths(str(root / f"m{number}")), install_dir=str(binaries(version)), pki_dir=str(root / "pki")
        )
        hosts.append(
            specs.host(
                f"m{number}",
                "127.0.0.1",
                client_port=client,
                peer_port=peer,
                metrics_port=metrics,
                service="supervisor",
                paths=places,
                **(where or {}),
            )
        )
    cluster = specs.cluster(*hosts, version=version, **changes)  # type: ignore[arg-type]
    built = []
    for host in hosts:
        for file in config_files(cluster, host, "test-token"):
            path = Path(file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
        built.append(Member(cluster, host, Path(host.paths.prefix)))
    return built


@pytest.fixture
def make_members(tmp_path: Path) -> Iterator[Callable[..., list[Member]]]:
    """``make_members("3.6.16", members=3, quota_bytes=...)``; all are stopped at the end."""
    made: list[Member] = []

    def make(version: str = "3.6.16", members: int = 1, **changes: Any) -> list[Member]:
        found = build(tmp_path, version, members, **changes)
        made.extend(found)
        return found

    yield make
    for member in made:
        member.stop()
