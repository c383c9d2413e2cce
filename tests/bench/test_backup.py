"""A backup of 1 GB to a real S3 server: ours, what people do instead, and what it can't be faster than.

All on this machine, in one run, taking turns. Ours is the whole command line with everything that it does: Prefect,
lock, hash, signature, retention.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pyrage
import pytest

from tasks.etcd.client import connect
from tests.bench.measure import RUNS
from tests.e2e.conftest import MakeProduct
from tests.e2e.product import ROOT, Product
from tests.lab import releases
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import locked, outside
from tests.s3.fixtures import running_s3
from tests.s3.server import S3Server

__all__ = ["running_s3"]

MIB = int(os.environ.get("BENCH_MIB", "1024"))
FLOOR = (sys.executable, "-m", "tests.bench.backup_floor")


def aws() -> Path:
    """The AWS CLI, in a virtual environment of its own."""
    home = releases.cache() / "awscli"
    with locked(releases.cache() / "awscli.lock"):
        if not (home / "bin/aws").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            subprocess.run([home / "bin/pip", "install", "-q", "awscli"], check=True)
    return home / "bin/aws"


@dataclass
class Scene:
    """One member with data, a bucket, and the operator."""

    product: Product
    host: LabHost
    s3: S3Server
    cli: Path
    tools: Path
    content: dict[str, Any]
    figures: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    written: int = 0
    stall: float = 0.0

    @property
    def endpoint(self) -> str:
        return f"https://{self.host.address}:2379"

    @property
    def certificate(self) -> list[str]:
        return [str(self.product.state / name) for name in ("ca.crt", "client.crt", "client.key")]

    @property
    def environment(self) -> dict[str, str]:
        owner = self.s3.owner
        aws = {"AWS_ACCESS_KEY_ID": owner.access_key, "AWS_SECRET_ACCESS_KEY": owner.secret_key}
        ours = {"KEY_ID": owner.access_key, "KEY_SECRET": owner.secret_key, "PYTHONPATH": str(ROOT)}
        return self.product.environment(AWS_DEFAULT_REGION="us-east-1", **aws, **ours)

    def measure(self, name: str, *commands: list[str]) -> None:
        """Run commands one after the other; keep wall clock, CPU seconds and the largest memory of any process."""
        wall = cpu = rss = 0.0
        for argv in commands:
            began = time.monotonic()
            child = subprocess.Popen(argv, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            _, said = child.communicate()
            assert child.returncode == 0, (argv, said.decode()[-2000:])
            wall += time.monotonic() - began
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu, rss = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
        self.figures.setdefault(name, []).append((wall, cpu, rss))

    def ours(self, name: str, **snapshots: Any) -> None:
        keys = {"access_key": "env:KEY_ID", "secret_key": "env:KEY_SECRET"}
        bucket = self.bucket()
        store = {
            "name": "s3",
            "s3": {"bucket": bucket, "endpoint": self.s3.tls_endpoint, "ca": str(self.s3.ca), **keys},
        }
        self.product.write(self.content | {"snapshots": {"stores": [store], **snapshots}})
        code = (
            "import resource, sys; from deployments.cli import main\ntry: main()\nfinally: print('peak', resource."
            "getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)"
        )
        argv = [sys.executable, "-c", code, "snapshot-backup", str(self.product.file), "--json"]
        began = time.monotonic()
        with Writer(self) as writer:
            done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, check=False)
        wall = time.monotonic() - began
        self.written += writer.count
        self.stall = max(self.stall, writer.stall)
        assert done.returncode == 0, done.stdout + done.stderr
        peak = float(done.stderr.rsplit("peak ", 1)[1].split()[0])
        report = json.loads(done.stdout)
        held = float(report["held_seconds"])
        staged = float(report["spooled_bytes"])
        codec = report["stores"]["s3"]["compression"]
        self.figures.setdefault(f"{name} [{codec}]", []).append((wall, held, peak))
        assert staged == 0
        self.s3.spare_memory()

    def bucket(self) -> str:
        self.s3.spare_memory()
        return self.s3.make_bucket()

    def aws(self, *words: str) -> list[str]:
        url, ca = self.s3.tls_endpoint, str(self.s3.ca)
        return [str(self.cli), "--endpoint-url", url, "--ca-bundle", ca, "s3", *words]

    def etcdctl(self, file: Path) -> list[str]:
        ca, cert, key = self.certificate
        words = ["--endpoints", self.endpoint, "--cacert", ca, "--cert", cert, "--key", key]
        return [str(self.tools / "etcdctl"), *words, "snapshot", "save", str(file)]


class Writer:
    """A client that writes as fast as it may, ten times a second at most, and fails if one write does."""

    def __init__(self, scene: Scene) -> None:
        ca, cert, key = (Path(path) for path in scene.certificate)
        self._client = connect(scene.endpoint, ca, cert, key, 30.0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._error: Exception | None = None
        self.count, self.stall = 0, 0.0

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()
        assert self._error is None, self._error

    def _write(self) -> None:
        try:
            while not self._over.wait(0.1):
                began = time.monotonic()
                self._client.put(b"/written/%d" % self.count, b"x" * 1000)
                self.count, self.stall = self.count + 1, max(self.stall, time.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - raised at the end
            self._error = error


def random_value(_number: int) -> bytes:
    return os.urandom(1 << 20)


def json_value(number: int) -> bytes:
    """About 32 KiB of objects as an API server keeps them."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "", "namespace": f"team-{number % 40}", "labels": {"app": f"service-{number % 300}"}},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/app:1.2.3", "args": ["--serve"] * 8}]},
        "status": {"phase": "Running", "conditions": [{"type": t, "status": "True"} for t in ("Ready", "Scheduled")]},
    }
    items = []
    for index in range(60):
        pod["metadata"]["name"] = f"service-{number}-{index}"  # type: ignore[index]
        pod["metadata"]["uid"] = os.urandom(16).hex()  # type: ignore[index]
        items.append(json.dumps(pod))
    return "\n".join(items).encode()


@pytest.mark.parametrize(
    ("kind", "make"), [("incompressible", random_value), ("Kubernetes-like", json_value)], ids=["random", "json"]
)
def test_backup(
    lab: Lab,
    make_product: MakeProduct,
    running_s3: S3Server,
    tmp_path: Path,
    kind: str,
    make: Callable[[int], bytes],
) -> None:
    product, (host,) = make_product(), lab.fresh(1)
    content = product.describe([host])
    product.bootstrap()
    tools = outside(lambda: releases.binaries("3.6.16"))
    scene = Scene(product, host, running_s3, outside(aws), tools, content)
    _fill(scene, make)
    file = tmp_path / "snapshot.db"
    identity = pyrage.x25519.Identity.generate()
    for _ in range(RUNS):
        file.unlink(missing_ok=True)
        scene.measure("etcdctl snapshot save; aws s3 cp", scene.etcdctl(file), scene.aws("cp", str(file), _url(scene)))
        size = file.stat().st_size
        packed = tmp_path / "snapshot.db.zst"
        pack = ["zstd", "-q", "-f", "-3", "-T0", str(file), "-o", str(packed)]
        file2 = tmp_path / "again.db"
        file2.unlink(missing_ok=True)
        copy = scene.aws("cp", str(packed), _url(scene))
        scene.measure("etcdctl snapshot save; zstd -3; aws s3 cp", scene.etcdctl(file2), pack, copy)
        stream = [*FLOOR, "stream", scene.endpoint, *scene.certificate]
        scene.measure("floor: bare gRPC stream in Python", stream)
        bucket = scene.bucket()  # first: it may start the server afresh, elsewhere
        upload = [*FLOOR, "upload", scene.s3.tls_endpoint, str(scene.s3.ca), bucket, str(file)]
        scene.measure("floor: bare parallel upload of the same bytes", upload)
        scene.ours("ours")
        scene.ours("ours, encrypted", encryption={"recipients": [str(identity.to_public())]})
    _print(scene, kind, size)


def _url(scene: Scene) -> str:
    return f"s3://{scene.bucket()}/snapshot.db"


def _fill(scene: Scene, make: Callable[[int], bytes]) -> None:
    ca, cert, key = (Path(path) for path in scene.certificate)
    size = len(make(0))
    with connect(scene.endpoint, ca, cert, key, 60.0) as client, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: client.put(b"/data/%d" % number, make(number)), range((MIB << 20) // size)))


def _print(scene: Scene, kind: str, size: int) -> None:
    print(f"\nbackup of {size / 1e9:.2f} GB, {kind}; {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    walls = {}
    for name, values in scene.figures.items():
        walls[name] = median(wall for wall, _, _ in values)
        spread = f"({min(v[0] for v in values):.1f} to {max(v[0] for v in values):.1f})"
        more = (
            f"member held {median(v[1] for v in values):.1f} s, peak RSS {max(v[2] for v in values):.0f} MB, staged 0"
        )
        print(f"  {name:<52} {walls[name]:6.1f} s {spread:<16} {more if name.startswith('ours') else ''}")
    ours = next(wall for name, wall in walls.items() if name.startswith("ours ["))
    locked_ = next(wall for name, wall in walls.items() if name.startswith("ours, encrypted"))
    floor = max(wall for name, wall in walls.items() if name.startswith("floor"))
    stock = min(wall for name, wall in walls.items() if name.startswith("etcdctl"))
    print(
        f"  {scene.written} writes by a client during ours, none failed, the slowest took {scene.stall * 1000:.0f} ms"
    )
    saved = walls["etcdctl snapshot save; aws s3 cp"]
    for name, value, target in (
        ("save and upload take so many times as long as ours", saved / ours, ">= 1.5"),
        ("the best of the stock tools takes so many times as long", stock / ours, ">= 1.0"),
        ("ours takes so many times as long as the slower floor", ours / floor, "<= 1.2"),
        ("encrypted takes so many times as long as in clear", locked_ / ours, "<= 1.3"),
    ):
        print(f"  {name:<58} {value:5.2f}  target {target}")
