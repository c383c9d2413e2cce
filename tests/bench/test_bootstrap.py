"""How long a bootstrap takes, against the floor and against Ansible, measured in the same run.

The floor is what no tool can beat here: the very same bytes, all computed before, pushed to all hosts at once by
OpenSSH, services started at once, until the first linearizable read on every member. Absolute figures belong to the
machine; ratios travel. Interpreter start and everything else that a person waits for is counted. Nothing is asserted
about time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.bench.ansible import Ansible, installed
from tests.bench.measure import RUNS, Meter, Took, ratio, shown, steps
from tests.e2e.conftest import MakeProduct, PrefectServer
from tests.e2e.product import Product, assert_healthy
from tests.lab.base import Image
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import outside

#: Ansible needs Python on the hosts; all contestants get the same ones.
IMAGES = (Image(more=("python3",)),)
#: Phases of a bootstrap in which every host has a task of Prefect.
PHASES = 9

FLOOR = """set -e
useradd --system --user-group --no-create-home --home-dir /var/lib/etcd --shell /usr/sbin/nologin etcd
mkdir -p /opt/bin; install -d -o etcd -g etcd -m 700 /var/lib/etcd
head -c SIZE | tar -xzf - -C /opt/bin --strip-components=1 --wildcards '*/etcd' '*/etcdctl' '*/etcdutl'
tar -xpf - -C /; chgrp etcd /etc/etcd/etcd.env /etc/etcd/pki/server.key /etc/etcd/pki/peer.key
sync; systemctl -q enable etcd; systemctl --no-block start etcd
until etcdctl --command-timeout=1s get x >/dev/null 2>&1; do sleep 0.02; done
"""


def captured(host: LabHost) -> bytes:
    """Configuration and certificates of a finished member, as one archive."""
    host.exec(
        "tar -C / -cf /root/made.tar etc/etcd etc/systemd/system/etcd.service usr/local/bin/etcdctl var/lib/etcd-flows"
    )
    return (host.root / "root/made.tar").read_bytes()


def floor(lab: Lab, hosts: list[LabHost], release: Path, made: dict[str, bytes]) -> None:
    tarball = release.read_bytes()
    script = FLOOR.replace("SIZE", str(len(tarball)))

    def push(host: LabHost) -> None:
        command = ["ssh", "-q", "-i", str(lab.client_key), "-o", "StrictHostKeyChecking=no"]
        command += ["-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", f"root@{host.address}", script]
        subprocess.run(command, input=tarball + made[host.name], check=True, capture_output=True, timeout=120)

    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(push, hosts))


def timed(meter: Meter, product: Product, log: Path) -> Took:
    """A bootstrap; where its time goes is written to the log."""
    return meter.took(lambda: product.bootstrap(program=(sys.executable, "-m", "tests.bench.timed_run", str(log))))


def head(text: str) -> None:
    print(f"\n\n{text} (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")


@pytest.mark.parametrize("members", [3, 5])
def test_bootstrap(
    lab: Lab, make_product: MakeProduct, prefect_server: PrefectServer, tmp_path: Path, members: int
) -> None:
    product = make_product()
    release = next(product.mirror.glob("v3.6.*/*.tar.gz"))
    playbook = Ansible(lab, outside(installed), tmp_path, release)
    bare = [sys.executable, "-m", "tests.bench.prefect_alone", str(PHASES), str(members)]
    ours, again, least, theirs, theirs_again, prefect = [], [], [], [], [], []
    for run in range(RUNS):
        hosts = lab.fresh(members, IMAGES)
        product.describe(hosts)
        meter = Meter(hosts, prefect_server)
        ours.append(timed(meter, product, tmp_path / f"first-{run}"))
        again.append(timed(meter, product, tmp_path / f"again-{run}"))
        prefect.append(
            meter.took(lambda: subprocess.run(bare, env=product.environment(), check=True, capture_output=True))
        )
        assert_healthy(hosts)
        made = {host.name: captured(host) for host in hosts}
        hosts = lab.fresh(members, IMAGES)
        least.append(Meter(hosts, prefect_server).took(partial(floor, lab, hosts, release, made)))
        hosts = lab.fresh(members, IMAGES)
        playbook.describe(hosts)
        meter = Meter(hosts, prefect_server)
        theirs.append(meter.took(playbook.play))
        theirs_again.append(meter.took(playbook.play))
    head(f"bootstrap of {members} bare hosts, with a running Prefect server")
    print(shown("etcd-flows bootstrap-cluster", ours))
    print(shown("floor: same bytes, parallel ssh, first read", least))
    print(shown("plain Ansible", theirs))
    print(shown("of etcd-flows, Prefect doing nothing", prefect))
    print(ratio("etcd-flows to floor", ours, least, "at most 2"))
    print(ratio("Ansible to etcd-flows", theirs, ours, "at least 5"))
    print(shown("etcd-flows again, nothing to do", again) + "  target: at most 3 s")
    print(shown("Ansible again, nothing to do", theirs_again))
    print("  where etcd-flows' time goes", *steps(tmp_path / f"first-{run}" for run in range(RUNS)), sep="\n")
    print("  where it goes with nothing to do", *steps(tmp_path / f"again-{run}" for run in range(RUNS)), sep="\n")


def test_four_clusters_at_once(lab: Lab, make_product: MakeProduct, prefect_server: PrefectServer) -> None:
    """Twelve hosts of one machine: what is shown is how much the clusters hinder each other beside the CPU."""
    hosts = lab.fresh(12, IMAGES)
    products = [make_product() for _ in range(5)]
    for number, product in enumerate(products[:4]):
        product.describe(hosts[3 * number : 3 * number + 3], name=f"bench-{number}")

    def all_at_once() -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(Product.bootstrap, products[:4]))

    together = Meter(hosts, prefect_server).took(all_at_once)
    for number in range(4):
        assert_healthy(hosts[3 * number : 3 * number + 3])
    hosts = lab.fresh(3, IMAGES)
    products[4].describe(hosts)
    alone = Meter(hosts, prefect_server).took(products[4].bootstrap)
    head("12 hosts as four clusters at once")
    print(shown("four at once", [together]), shown("one alone", [alone]), sep="\n")
    print(ratio("four at once to one alone", [together], [alone], "below 4"))
