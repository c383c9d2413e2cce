"""A lab: hosts on two switches in a network namespace of their own, cleaned up even after a kill -9.

Labs are told apart by their id, so several can run at once, all with the same addresses: 198.18.0.0/24 and
198.18.1.0/24 (reserved for tests, RFC 2544), fd00:198:18::/64 and fd00:198:18:1::/64. This machine is .1 in each.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.lab import base, cgroups
from tests.lab.hosts import LabHost
from tests.lab.machine import Place
from tests.lab.system import (
    NETNS_DIR,
    LabError,
    Process,
    ancestors,
    delete_namespace,
    enter,
    locked,
    missing,
    outside,
    processes_in,
    run,
    unmount_below,
    wait_until,
)

LABS = Path(os.environ.get("ETCD_FLOWS_LAB_DIR", "/var/tmp/etcd-flows-lab"))
PREFIX = "efl-"


def unusable() -> str | None:
    """Why no lab can run on this machine, or None when one can."""
    reason = missing()
    if reason is None and not base.Image().path.is_dir() and shutil.which("debootstrap") is None:
        reason = "the hosts' base image is not made yet and package debootstrap is missing (make lab-tools installs it)"
    return reason


class Lab:
    """Hosts that boot on demand. Owned by this process unless ``keep``: then it lives until ``make lab-down``."""

    def __init__(self, lab_id: str, keep: bool = False) -> None:
        if reason := unusable():
            raise LabError(reason)
        self.id = lab_id
        self.namespace = PREFIX + lab_id
        self.directory = LABS / lab_id
        self.keep = keep
        self.hosts: list[LabHost] = []
        self.client_key = self.directory / "id_ed25519"
        self._bases: dict[base.Image, Path] = {}
        with locked(LABS / ".lock"):
            if self.directory.exists():
                raise LabError(f"there is a lab {lab_id} already (python -m tests.lab down {lab_id})")
            self.directory.mkdir(mode=0o755)
            self.record()
        self._build_network()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {lab_id}", "-f", self.client_key)

    def _build_network(self) -> None:
        run("ip", "netns", "add", self.namespace)
        batch = ["link set lo up"]
        for index, prefix6 in enumerate(("fd00:198:18::1/64", "fd00:198:18:1::1/64")):
            batch += [
                # a bridge without an address of its own changes it whenever a port comes or goes
                f"link add br{index} address 02:00:5e:{index:02x}:00:fe type bridge forward_delay 0",
                f"addr add 198.18.{index}.1/24 dev br{index}",
                f"link set br{index} up",
                f"addr add {prefix6} dev br{index} nodad",
            ]
        run("ip", "-n", self.namespace, "-batch", "-", stdin="\n".join(batch))

    def record(self) -> None:
        """Write down what runs, atomically, for whoever must clean up after us."""
        owner = None if self.keep else Process.of(os.getpid())
        found = [p for host in self.hosts for p in (host.init, host.nspawn, *host.helpers) if p is not None]
        state = {"owner": asdict(owner) if owner else None, "processes": [asdict(process) for process in found]}
        temporary = self.directory / f".lab.json.{os.getpid()}.{id(found)}"
        temporary.write_text(json.dumps(state))
        temporary.replace(self.directory / "lab.json")

    def enter(self) -> None:
        """Move this process into the lab's network, for good: call it before it has other threads that talk."""
        enter(self.namespace)

    def fresh(self, count: int, images: Sequence[base.Image] = (base.Image(),)) -> list[LabHost]:
        """``count`` booted hosts on pristine disks; those used before are swapped for new ones of the same name.

        Args:
            images: What is installed on them: the first on the first host and so on, and from the beginning again.
        """
        for image in images:
            if image not in self._bases:
                self._bases[image] = outside(functools.partial(base.ensure, image))
        place = Place(self.id, self.directory, self.namespace, self.client_key, self.record)
        chosen = self.hosts[:count]
        for number in range(len(self.hosts) + 1, count + 1):
            chosen.append(LabHost(place, number))
            self.hosts.append(chosen[-1])
        bases = {host.number: self._bases[images[index % len(images)]] for index, host in enumerate(chosen)}

        def prepare(host: LabHost) -> None:
            host.base = bases[host.number]
            if host.directory.exists():
                host.reset()
                host.used = False
            else:
                host.create()
            host.boot()

        # Hosts beyond those asked for would answer where a test expects nobody.
        idle = self.hosts[count:]
        with ThreadPoolExecutor(max(1, len(self.hosts))) as pool:
            list(pool.map(prepare, chosen))
            list(pool.map(LabHost.power_cut, [host for host in idle if host.running]))
        for host in chosen:
            host.used = True
        for host in idle:
            host.used = True
        return chosen

    def write_known_hosts(self, path: Path, hosts: list[LabHost] | None = None) -> Path:
        """A known_hosts file with these (or all) hosts in it."""
        path.write_text("".join(host.known_hosts_lines() for host in hosts or self.hosts))
        return path

    def cluster(self, name: str, hosts: list[LabHost], **keys: Any) -> dict[str, Any]:
        """A cluster file's content for these hosts: root over SSH, host keys pinned; more keys as arguments."""
        return {"name": name, "hosts": [host.ssh_spec() for host in hosts]} | keys

    def close(self) -> None:
        """Power cut everything and remove every trace."""
        with ThreadPoolExecutor(max(1, len(self.hosts))) as pool:
            list(pool.map(LabHost.destroy, [host for host in self.hosts if host.directory.exists()]))
        remove(self.id)


# --- what others left -----------------------------------------------------------------------------------------------


def _state(lab_id: str) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((LABS / lab_id / "lab.json").read_text())
    except (OSError, ValueError):
        return {"owner": {"pid": 0, "start": 0}, "processes": []}
    return state


def labs() -> list[str]:
    """Ids of all labs on this machine, also of those that were left behind."""
    known = {entry.name for entry in LABS.iterdir() if entry.is_dir()} if LABS.is_dir() else set()
    spaces = {entry.name for entry in NETNS_DIR.iterdir()} if NETNS_DIR.is_dir() else set()
    return sorted(
        known | {name.removeprefix(PREFIX).partition("-etcd-")[0] for name in spaces if name.startswith(PREFIX)}
    )


def abandoned(lab_id: str) -> bool:
    """Whether the process that owned the lab is gone (kept labs have no owner and are never abandoned)."""
    owner = _state(lab_id)["owner"]
    return owner is not None and not Process(**owner).alive


def remove(lab_id: str, lodgers: bool = True) -> None:
    """Remove a lab in whatever state it is: processes, mounts, namespaces, disks.

    Args:
        lodgers: Also end what runs in the lab's own namespace (servers that a killed test run started there). Never
            this process or those above it.
    """
    for process in [*(Process(**entry) for entry in _state(lab_id)["processes"]), *cgroups.members(lab_id)]:
        process.kill()
    names = [n.name for n in NETNS_DIR.iterdir()] if NETNS_DIR.is_dir() else []
    ours = [n for n in names if n.startswith(f"{PREFIX}{lab_id}-etcd-")]
    spared = ancestors()
    for name in [*ours, *([PREFIX + lab_id] if lodgers else [])]:
        # Whatever its number is: a process in this namespace is the lab's.
        for process in processes_in(name):
            if process.pid not in spared:
                process.kill()
    with contextlib.suppress(LabError):
        wait_until("processes are gone", lambda: not any(processes_in(name) for name in ours), 10)
    directory = LABS / lab_id
    unmount_below(directory)
    for name in [*ours, PREFIX + lab_id]:
        delete_namespace(name)
    cgroups.remove(lab_id)
    shutil.rmtree(directory, ignore_errors=True)


def sweep() -> list[str]:
    """Remove what killed runs left; returns the ids of the labs that were removed."""
    with locked(LABS / ".lock"):
        gone = [lab_id for lab_id in labs() if abandoned(lab_id)]
        for lab_id in gone:
            remove(lab_id)
    return gone
