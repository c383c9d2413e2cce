"""A restore of 1 GB onto three members: ours, the runbook by hand in sequence, and the same all at once, in turns.

All begin with the snapshot's file on the operator's machine and a cluster that serves a gigabyte of old data. Ours is
the whole command line with everything that it does: Prefect, lock, hashes, record, proof. The others end with the first
linearizable read on each member, and prove nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest

from tests.bench.measure import RUNS, Meter, Took, ratio, shown, steps
from tests.bench.restore_by_hand import ByHand
from tests.bench.test_backup import MIB, json_value, random_value
from tests.e2e.conftest import MakeProduct, PrefectServer
from tests.e2e.product import Product, assert_healthy, etcdctl
from tests.lab import releases
from tests.lab.base import Image
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import outside, wait_until

#: As hosts are set up by their distributions: Ubuntu's have zstd, since their initramfs is packed with it.
IMAGES = (Image(more=("zstd",)),)
FILL_PORT = 32379


@contextmanager
def _scratch_member(tools: Path, directory: Path) -> Iterator[str]:
    """A member on this machine that syncs nothing; yields its endpoint."""
    client, peer = f"http://127.0.0.1:{FILL_PORT}", f"http://127.0.0.1:{FILL_PORT + 1}"
    argv = [str(tools / "etcd"), "--unsafe-no-fsync", "--data-dir", str(directory), "--quota-backend-bytes=8589934592"]
    argv += ["--listen-client-urls", client, "--advertise-client-urls", client]
    argv += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
    member = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    health = [str(tools / "etcdctl"), "--endpoints", client, "endpoint", "health"]
    try:
        wait_until("the member serves", lambda: subprocess.run(health, capture_output=True).returncode == 0, 30)
        yield client
    finally:
        member.kill()
        member.wait()


def snapshot_of(make: Callable[[int], bytes], tools: Path, directory: Path) -> tuple[Path, int]:
    """A snapshot's file of a gigabyte of values, and how many keys are in it."""
    count, file = (MIB << 20) // len(make(0)), directory / "snap.db"
    with _scratch_member(tools, directory / "scratch") as endpoint:

        def put(number: int) -> None:
            pair = {"key": b64encode(b"/data/%d" % number).decode(), "value": b64encode(make(number)).decode()}
            request = urllib.request.Request(f"{endpoint}/v3/kv/put", json.dumps(pair).encode())  # noqa: S310 - ours
            urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 - likewise

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, range(count)))
        subprocess.run(
            [str(tools / "etcdctl"), "--endpoints", endpoint, "snapshot", "save", str(file)],
            check=True,
            capture_output=True,
        )
    shutil.rmtree(directory / "scratch")
    return file, count


@dataclass
class Scene:
    """The cluster, the operator, and what has been measured."""

    product: Product
    hosts: list[LabHost]
    meter: Meter
    directory: Path
    took: dict[str, list[Took]] = field(default_factory=dict)
    phases: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    logs: list[Path] = field(default_factory=list)

    def measure(self, name: str, work: Callable[[], dict[str, float]]) -> None:
        """Do something, keep what it took, whole and by steps; then remove the data that it left behind."""
        found: dict[str, float] = {}
        self.took.setdefault(name, []).append(self.meter.took(lambda: found.update(work())))
        for step, seconds in found.items():
            self.phases.setdefault(name, {}).setdefault(step, []).append(seconds)
        assert_healthy(self.hosts)
        for host in self.hosts:
            host.exec(
                ". /etc/etcd/etcd.env; rm -rf /var/lib/etcd.old; find /var/lib/etcd -mindepth 1 -maxdepth 1"
                " ! -path $ETCD_DATA_DIR ! -name member -exec rm -rf {} +"
            )
            assert etcdctl(host, "get probe --print-value-only").strip()
        os.sync()

    def ours(self, file: Path, keys: int, *words: str) -> dict[str, float]:
        """``disaster-restore``, which has to tell that all keys are there on every member."""
        log = self.directory / f"log-{time.monotonic_ns()}"
        argv = ("disaster-restore", "--file", str(file), "--confirm", "prod-a", "--again", *words)
        answer = self.product.must(*argv, program=(sys.executable, "-m", "tests.bench.timed_run", str(log))).json
        assert {proof["keys"] for proof in answer["proof"]} == {keys}
        self.logs.append(log)
        return {
            "members down until clients can write": answer["seconds_until_writable"],
            "until it is proven": answer["seconds_until_proven"],
        }

    def medians(self, name: str) -> str:
        """Seconds of each step."""
        return ", ".join(f"{step} {median(values):.1f}" for step, values in self.phases[name].items())


OURS, SAFE = "ours", "ours, with a snapshot of the old data first"
HAND, FLOOR = "by hand, host by host", "floor: the same, all hosts at once"


@pytest.mark.parametrize(
    ("kind", "make", "target"),
    [("incompressible", random_value, "at most 1.1"), ("Kubernetes-like", json_value, "below 1")],
    ids=["random", "json"],
)
def test_restore(
    lab: Lab,
    make_product: MakeProduct,
    prefect_server: PrefectServer,
    tmp_path: Path,
    kind: str,
    make: Callable[[int], bytes],
    target: str,
) -> None:
    tools = outside(lambda: releases.binaries(releases.VERSIONS[0]))
    file, keys = snapshot_of(make, tools, tmp_path)
    product, hosts = make_product(), lab.fresh(3, IMAGES)
    product.describe(hosts)  # no store: what the old members hold is stored by nobody
    product.bootstrap()
    scene = Scene(product, hosts, Meter(hosts, prefect_server), tmp_path)
    hand = ByHand(lab, hosts, file)
    hand.at_once()  # a gigabyte to lose, for the first one too
    for _ in range(RUNS):
        scene.measure(HAND, hand.in_sequence)
        scene.measure(FLOOR, hand.at_once)
        scene.measure(OURS, lambda: scene.ours(file, keys, "--accept", "no-safety-snapshot"))
    logs = list(scene.logs)
    product.describe(hosts, snapshots={"stores": [{"name": "local", "directory": str(tmp_path / "store")}]})
    scene.measure(SAFE, lambda: scene.ours(file, keys))
    _print(scene, kind, target, file.stat().st_size, logs)


def _print(scene: Scene, kind: str, target: str, size: int, logs: list[Path]) -> None:
    took = scene.took
    machine = f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    print(f"\n\nrestore of {size / 1e9:.2f} GB onto 3 members, {kind} ({machine})")
    for name in (HAND, FLOOR, OURS, SAFE):
        print(shown(name, took[name]), f"    {scene.medians(name)} s", sep="\n")
    print(ratio("by hand to ours", took[HAND], took[OURS], "at least 2"))
    print(ratio("ours to the floor", took[OURS], took[FLOOR], target))
    print("  where the time of ours goes", *steps(logs), sep="\n")
