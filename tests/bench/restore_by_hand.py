"""The runbook that disaster-restore replaces, with ssh, scp and etcdutl: in sequence as people do it, or all at once.

Its members, their settings and the place of their data are those that it finds; nothing is proven, nothing is kept of
what was there but the old data dir beside the new one.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab.hosts import LabHost
from tests.lab.lab import Lab

SNAPSHOT = "/var/lib/by-hand.db"  # on the filesystem of the data

RESTORE = f"""set -e
. /etc/etcd/etcd.env
mv -- "$ETCD_DATA_DIR" "$ETCD_DATA_DIR.old"
/opt/bin/etcdutl snapshot restore {SNAPSHOT} --data-dir "$ETCD_DATA_DIR" --name "$ETCD_NAME" \\
  --initial-cluster "$ETCD_INITIAL_CLUSTER" --initial-cluster-token "$ETCD_INITIAL_CLUSTER_TOKEN" \\
  --initial-advertise-peer-urls "$ETCD_INITIAL_ADVERTISE_PEER_URLS" --bump-revision 1000000000 --mark-compacted
chown -R etcd:etcd "$ETCD_DATA_DIR"
rm {SNAPSHOT}
"""
READ = "until etcdctl --command-timeout=1s get x >/dev/null 2>&1; do sleep 0.02; done"

Hosts = list[LabHost]


@dataclass(frozen=True)
class ByHand:
    """An operator with the snapshot on his machine."""

    lab: Lab
    hosts: Hosts
    file: Path

    def in_sequence(self) -> dict[str, float]:
        """Step by step, host by host.

        Returns:
            Seconds of each step.
        """

        def one_by_one(work: Callable[[LabHost], None]) -> None:
            for host in self.hosts:
                work(host)

        return self._steps(one_by_one)

    def at_once(self) -> dict[str, float]:
        """Each step on all hosts at the same time: what can't be beaten with the same bytes and the same programs."""

        def all_hosts(work: Callable[[LabHost], None]) -> None:
            with ThreadPoolExecutor(len(self.hosts)) as pool:
                list(pool.map(work, self.hosts))

        return self._steps(all_hosts)

    def _steps(self, each: Callable[[Callable[[LabHost], None]], None]) -> dict[str, float]:
        steps = {
            "stop": lambda host: self._ssh(host, "systemctl stop etcd"),
            "copy": self._copy,
            "restore": lambda host: self._ssh(host, RESTORE),
            "start": lambda host: self._ssh(host, "systemctl start --no-block etcd"),
            "first read": lambda host: self._ssh(host, READ),
        }
        took = {}
        for name, work in steps.items():
            began = time.monotonic()
            each(work)
            took[name] = time.monotonic() - began
        return took

    def _options(self) -> list[str]:
        wanted = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR")
        return ["-i", str(self.lab.client_key), *(word for option in wanted for word in ("-o", option))]

    def _ssh(self, host: LabHost, script: str) -> None:
        _run("ssh", *self._options(), f"root@{host.address}", script)

    def _copy(self, host: LabHost) -> None:
        _run("scp", "-q", *self._options(), str(self.file), f"root@{host.address}:{SNAPSHOT}")


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
