"""A cluster with data to lose, and what has to be true when it has been brought back."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.product import KILLED, Done, Product, assert_healthy, cluster_id, etcdctl, leftovers, token
from tests.lab.hosts import LabHost
from tests.lab.system import wait_until

CONFIRM = ("--confirm", "prod-a")
#: Where the product keeps what belongs to a restore that is under way.
UNDER_WAY = "/var/lib/etcd-flows/restore"
HOLD = "/var/lib/etcd-flows/hold"


@dataclass
class Scene:
    """A cluster, a snapshot of it in a file, and what has been written since.

    Args:
        file: The snapshot on the operator's machine, made with plain etcdctl.
        old_id: etcd's cluster id before the restore.
    """

    product: Product
    hosts: list[LabHost]
    file: Path
    old_id: str

    def restore(self, *words: str, check: bool = True, **options: object) -> Done:
        """``disaster-restore --file``, confirmed; nothing is stored of what is there now, and it may be once more."""
        sure = (*CONFIRM, "--accept", "no-safety-snapshot", "--again")
        argv = ("disaster-restore", "--file", str(self.file), *sure, *words)
        done = self.product.run(*argv, **options)  # type: ignore[arg-type]
        assert not check or done.code == 0, done.output
        return done

    def write_more(self) -> None:
        """What a restore takes away again: another value, a new key, a key gone."""
        etcdctl(self.hosts[0], "put kept after")
        etcdctl(self.hosts[0], "put later 1")
        etcdctl(self.hosts[0], "del doomed")


def revision(host: LabHost) -> int:
    """The member's newest revision."""
    (status,) = json.loads(etcdctl(host, "endpoint status -w json"))
    return int(status["Status"]["header"]["revision"])


def data_dir(host: LabHost) -> str:
    """What the running member was started on."""
    return host.exec("tr '\\0' '\\n' </proc/$(pidof etcd)/environ | sed -n s/^ETCD_DATA_DIR=//p").strip()


def prepare(product: Product, hosts: list[LabHost], **keys: object) -> Scene:
    """Bootstrap, write, take a snapshot with etcdctl, write on."""
    product.describe(hosts, **keys)  # type: ignore[arg-type]
    product.bootstrap()
    return furnish(product, hosts)


def furnish(product: Product, hosts: list[LabHost]) -> Scene:
    """Write, take a snapshot with etcdctl, write on."""
    etcdctl(hosts[0], "put kept before")
    etcdctl(hosts[0], "put doomed 1")
    hosts[0].exec("for i in $(seq 20); do etcdctl put filler/$i $i; done")
    hosts[0].exec("rm -f /root/snap.db; etcdctl snapshot save /root/snap.db")
    file = product.directory / "snap.db"
    file.write_bytes((hosts[0].root / "root/snap.db").read_bytes())
    scene = Scene(product, hosts, file, cluster_id(hosts[0]))
    scene.write_more()
    return scene


def refresh(scene: Scene) -> None:
    """Have something to lose again, on the cluster as it is now."""
    scene.old_id = cluster_id(scene.hosts[0])
    scene.write_more()


def settled(scene: Scene) -> None:
    """Wait for what a killed run had begun on the hosts: it may just be ending the restore.

    Only for processes: what was pushed so far stays, to be resumed.
    """
    wait_until(
        "the remote scripts have ended",
        lambda: not any(left.startswith("/proc/") for host in scene.hosts for left in leftovers(host)),
        30,
    )


def killed(scene: Scene, point: str, *words: str) -> Done:
    done = scene.restore(*words, program=(*KILLED, point), check=False)
    assert done.code == -signal.SIGKILL, f"{point}: {done.output}"
    settled(scene)
    return done


def assert_restored(scene: Scene, hosts: list[LabHost] | None = None, *, converged: bool = True) -> None:
    """One healthy new cluster with exactly the snapshot's data, on all hosts; nothing half-done is left.

    Args:
        converged: Have a bootstrap say as well that there is nothing to do.
    """
    hosts = hosts or scene.hosts
    for host in hosts:
        values = etcdctl(host, "get '' --prefix --print-value-only").split()
        assert sorted(values) == sorted(["before", "1", *map(str, range(1, 21))]), f"{host.name}: {values}"
    assert_healthy(hosts)
    etcdctl(hosts[0], "del probe")
    ids = {cluster_id(host) for host in hosts}
    assert len(ids) == 1
    assert ids != {scene.old_id}
    assert len({token(host) for host in hosts}) == 1
    for host in hosts:
        assert revision(host) > 1_000_000_000
        assert re.fullmatch(r"/var/lib/etcd/restored-[0-9a-f]{8}", data_dir(host))
        assert host.exec("systemctl is-enabled etcd").strip() == "enabled"
        assert len(host.exec("pidof etcd").split()) == 1
        assert leftovers(host) == []
        assert host.exec(f"ls -d {UNDER_WAY} {HOLD} /etc/systemd/system/etcd.service.d 2>/dev/null; true") == ""
        assert host.exec("ls /var/lib/etcd/*.db /var/lib/etcd/.*.part 2>/dev/null; true") == ""
    if converged:
        again = scene.product.bootstrap().json
        assert again["plan"]["empty"], again["plan"]
