"""Large files to and from real hosts, over connections that break.

``ETCD_FLOWS_TEST_TRANSFER_MB=2048`` moves two gibibytes each way; the usual size goes over more than one connection.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tasks.cluster.load import load_cluster
from tasks.cluster.spec import Host
from tasks.errors import CommandFailed
from tasks.hosts import pool, transfer
from tasks.hosts.shell import close_all, open_shell
from tasks.hosts.transfer import PUSH_RANGE, pull_file, push_file
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab

Fresh = Callable[[int], list[LabHost]]
MIB = 1 << 20
SIZE = int(os.environ.get("ETCD_FLOWS_TEST_TRANSFER_MB", "48")) * MIB + 4711


def described(lab: Lab, hosts: list[LabHost], directory: Path) -> tuple[Host, ...]:
    """The hosts as a cluster file has them."""
    file = directory / "cluster.yaml"
    file.write_text(yaml.safe_dump(lab.cluster("prod-a", hosts, pki={"state_dir": str(directory / "state")})))
    return load_cluster(file).cluster.hosts


def random_file(path: Path, size: int) -> str:
    """A file that can't be compressed; returns its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for start in range(0, size, 8 * MIB):
            piece = os.urandom(min(8 * MIB, size - start))
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def test_large_files_both_ways_and_through_cuts(
    lab: Lab, fresh_hosts: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machines = fresh_hosts(2)
    host, other = described(lab, machines, tmp_path)
    source, remote = tmp_path / "source", "/var/lib/here/snapshot.db"
    sha256 = random_file(source, SIZE)
    if SIZE < 256 * MIB:
        monkeypatch.setattr(pool, "RENEW_AFTER", 20 * MIB)  # several connections also for a small file
        monkeypatch.setattr(transfer, "PUSH_RANGE", 12 * MIB)
    with open_shell(host) as shell, open_shell(other) as second:
        moved = push_file(shell, source, remote, mode=0o640)
        assert (moved.bytes, moved.sent, moved.cuts) == (SIZE, SIZE, 0)
        said = machines[0].exec(f"sha256sum {remote}; stat -c '%a %U:%G' {remote}; ls -A {Path(remote).parent}")
        assert said.split() == [sha256, remote, "640", "root:root", "snapshot.db"]

        pulled, started = hashlib.sha256(), time.monotonic()
        for piece in pull_file(shell, remote):
            pulled.update(piece)
        seconds = time.monotonic() - started
        assert pulled.hexdigest() == sha256
        with capsys.disabled():
            rates = (SIZE / MIB / took for took in (moved.seconds, seconds))
            print("\n{} MiB: there {:.0f} MiB/s, back {:.0f} MiB/s".format(SIZE // MIB, *rates))

        with ThreadPoolExecutor(2) as both:
            sending = both.submit(push_file, second, source, remote, sha256=sha256)
            growing = f"/var/lib/here/.snapshot.db.etcd-flows-{sha256[:8]}"
            until_size(machines[1], growing, SIZE // 4)
            machines[1].drop_ssh_sessions()
            until_size(machines[1], growing, SIZE // 2)
            machines[1].refuse_ssh()
            time.sleep(1.5)
            machines[1].open_ssh()
            moved = sending.result()
        assert moved.cuts >= 2
        assert moved.sent <= SIZE, "what was there was not sent again"
        assert machines[1].exec(f"sha256sum {remote}").split()[0] == sha256

        pulled, received, cut = hashlib.sha256(), 0, False
        for piece in pull_file(second, remote):
            pulled.update(piece)
            received += len(piece)
            if received > SIZE // 3 and not cut:
                machines[1].drop_ssh_sessions()
                cut = True
        assert cut
        assert (received, pulled.hexdigest()) == (SIZE, sha256)
    close_all()


def until_size(machine: LabHost, path: str, size: int) -> None:
    end = time.monotonic() + 600
    place = machine.root / path.lstrip("/")
    while not place.exists() or place.stat().st_size < size:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_full_disk_and_a_login_that_is_not_root(lab: Lab, fresh_hosts: Fresh, tmp_path: Path) -> None:
    (machine,) = fresh_hosts(1)
    machine.small_disk(24, "/srv")
    machine.add_user("careful", sudo="nopasswd")
    content = lab.cluster("prod-a", [machine], pki={"state_dir": str(tmp_path / "state")})
    content["hosts"] = [machine.ssh_spec("careful")]
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(content))
    (host,) = load_cluster(tmp_path / "cluster.yaml").cluster.hosts
    large, small = tmp_path / "large", tmp_path / "small"
    random_file(large, 40 * MIB)
    random_file(small, 5 * MIB)
    with open_shell(host) as shell:
        with pytest.raises(CommandFailed, match=r"needs 41943040 bytes more, there are \d+ free on /srv") as caught:
            push_file(shell, large, "/srv/snapshot.db")
        assert caught.value.host == machine.name
        assert machine.exec("ls -A /srv").split() == ["lost+found"]
        push_file(shell, small, "/srv/snapshot.db", owner="careful:careful", mode=0o600)
        assert machine.exec("stat -c '%a %U:%G %s' /srv/snapshot.db").split() == ["600", "careful:careful", "5242880"]
        assert b"".join(pull_file(shell, "/srv/snapshot.db")) == small.read_bytes()
    close_all()


def test_ranges_fit_between_two_key_exchanges() -> None:
    """SSH exchanges keys at 512 MiB: what is moved before the pool renews, and one more range, stay below that."""
    assert pool.RENEW_AFTER + PUSH_RANGE < 500 * MIB
