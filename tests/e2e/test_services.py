"""The service of docs/operations.md on a real host: installed as the page says, confined, back after a power cut."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.operator_host import HOME, PACKAGES, OperatorHost
from tests.lab.base import Image
from tests.lab.lab import Lab
from tests.lab.system import wait_until
from tests.wheel import build_wheel

UNIT = "etcd-flows-serve"


def test_serve_backs_up_by_schedule_before_and_after_a_power_cut(
    lab: Lab, etcd_release_dir: Path, tmp_path: Path
) -> None:
    member, host = lab.fresh(2, (Image(), Image(more=PACKAGES)))
    machine = OperatorHost(host)
    machine.install(build_wheel(tmp_path), etcd_release_dir)
    machine.follow("serve")
    machine.describe(member, "* * * * *")
    host.exec(f"rm {HOME}/.ssh/known_hosts")  # the page makes it
    machine.follow("start", member)
    assert machine.exposure(UNIT) < 2.0

    def journal() -> str:
        return host.exec(f"journalctl -b -u {UNIT} --no-pager")

    wait_until("the journal has it", lambda: "a worker runs" in journal(), 30)
    password = host.read(f"{HOME}/.local/state/etcd-flows.server/auth").strip().partition(":")[2]
    assert password not in journal(), "whoever may read the journal is not meant to have it"
    assert host.exec(f"ps -o user= -p $(systemctl show {UNIT} -p MainPID --value)").strip() == "etcd-flows"
    wait_until("a backup by schedule", lambda: bool(machine.snapshots()), 240, every=2)

    host.power_cycle()
    before = machine.snapshots()
    wait_until("it serves again", lambda: "a worker runs" in journal(), 300, every=1)
    wait_until("a backup by schedule", lambda: machine.snapshots()[0] not in before, 240, every=2)

    host.exec(f"systemctl stop {UNIT}", timeout=150)
    assert host.exec(f"systemctl show {UNIT} -p Result --value").strip() == "success"
    assert host.exec("pgrep -u etcd-flows", check=False) == ""
