"""The machine under a lab host: a Debian with its own systemd, sshd, name, disk and two network cards.

A host is a systemd-nspawn container in a network namespace of its own, on an overlay over the shared base image. Power
cuts kill its init; what the kernel had in its page cache stays: they prove crash safety of processes, not of disks.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab import cgroups
from tests.lab.system import (
    NETNS_DIR,
    LabError,
    Process,
    delete_namespace,
    init_of,
    inside,
    processes_in,
    run,
    thaw_below,
    unmount_below,
    wait_until,
)

NICS = ("eth0", "eth1")
_CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
# Timers and consoles of no use on a test host; they cost boot time on two cores.
_MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "e2scrub_reap.service", "console-getty.service", "getty@tty1.service", "systemd-networkd-wait-online.service",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """What a host needs to know of the lab it is in.

    Args:
        id: The lab's, unique on this machine.
        namespace: Network namespace with the lab's switches; tests run in it.
        client_key: Private key that every host lets in as root and as added users.
        changed: Called whenever something was started or stopped, so that it is on record.
    """

    id: str
    directory: Path
    namespace: str
    client_key: Path
    changed: Callable[[], None]


@dataclass
class Machine:
    """A host; ``number`` decides its addresses: 198.18.0.(10+number), fd00:198:18::(10+number), the same on eth1.

    Args:
        base: The disk image that its own disk lies over.
    """

    place: Place
    number: int
    base: Path | None = None
    nspawn: Process | None = None
    init: Process | None = None
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _ports: dict[str, str] = field(default_factory=dict, repr=False)
    helpers: list[Process] = field(default_factory=list, repr=False)
    used: bool = False

    # --- what it is ---------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Host name."""
        return f"etcd-{self.number:02d}"

    @property
    def address(self) -> str:
        """IPv4 on eth0."""
        return f"198.18.0.{10 + self.number}"

    @property
    def address2(self) -> str:
        """IPv4 on the second card, eth1."""
        return f"198.18.1.{10 + self.number}"

    @property
    def address6(self) -> str:
        """IPv6 on eth0."""
        return f"fd00:198:18::{10 + self.number}"

    @property
    def address6_2(self) -> str:
        """IPv6 on eth1."""
        return f"fd00:198:18:1::{10 + self.number}"

    @property
    def namespace(self) -> str:
        """Its network namespace."""
        return f"{self.place.namespace}-{self.name}"

    @property
    def directory(self) -> Path:
        """Where its disk and log are on this machine."""
        return self.place.directory / self.name

    @property
    def root(self) -> Path:
        """Its disk as seen from this machine."""
        return self.directory / "root"

    @property
    def host_key(self) -> str:
        """Public host key as a cluster file pins it: ``ssh-ed25519 AAAA...``."""
        return " ".join((self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])

    def ssh_spec(self, user: str = "root", **ssh: Any) -> dict[str, Any]:
        """An entry for the cluster file's ``hosts``; more keys for its ``ssh`` as arguments (None leaves one out)."""
        wanted = {"user": user, "key": str(self.place.client_key), "host_key": self.host_key} | ssh
        return {
            "name": self.name,
            "address": self.address,
            "ssh": {key: value for key, value in wanted.items() if value is not None},
        }

    def known_hosts_lines(self) -> str:
        """Lines for a known_hosts file, all its addresses."""
        names = ",".join((self.address, self.address2, self.address6, self.address6_2))
        return f"{names} {self.host_key}\n"

    # --- life ---------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make its disk, identity and network cards. Nothing runs yet."""
        for part in ("up", "work", "root", "disks"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        layers = f"lowerdir={self.base},upperdir={self.directory}/up,workdir={self.directory}/work"
        run("mount", "-t", "overlay", "-o", layers, "overlay", self.root)
        run("mount", "--make-shared", self.root)  # so that disks plugged in later are seen inside
        etc = self.root / "etc"
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {self.name}\n")
        (etc / "machine-id").write_text(f"{secrets.token_hex(16)}\n")
        for unit in _MASKED:
            (etc / "systemd/system" / unit).symlink_to("/dev/null")
        self.new_host_key(reload=False)
        self.authorize(self.root / "root", 0, 0)
        self._plug_in()

    def new_host_key(self, reload: bool = True) -> None:
        """Give sshd another identity, as a reinstalled or impersonated host has."""
        key = self.root / "etc/ssh/ssh_host_ed25519_key"
        for old in key.parent.glob("ssh_host_*"):
            old.unlink()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", key)
        if reload:
            self.exec("systemctl reload ssh")

    def _plug_in(self) -> None:
        delete_namespace(self.namespace)
        run("ip", "netns", "add", self.namespace)
        generation = secrets.token_hex(2)
        self._ports = {nic: f"h{self.number}-{nic[-1]}-{generation}" for nic in NICS}
        lab, host = [], ["link set lo up"]
        for index, nic in enumerate(NICS):
            port = self._ports[nic]
            # A machine swapped for a new one keeps its hardware address: else neighbour tables are wrong for a minute.
            mac = f"02:00:5e:{index:02x}:00:{self.number:02x}"
            lab += [f"link add {port} type veth peer name {nic} netns {self.namespace} address {mac}"]
            lab += [f"link set {port} master br{index} up"]
            host += [f"addr add 198.18.{index}.{10 + self.number}/24 dev {nic}", f"link set {nic} up"]
            host += [f"addr add {(self.address6, self.address6_2)[index]}/64 dev {nic} nodad"]
        run("ip", "-n", self.place.namespace, "-batch", "-", stdin="\n".join(lab))
        run("ip", "-n", self.namespace, "-batch", "-", stdin="\n".join(host))

    def start(self) -> None:
        """Switch the power on; returns at once. Disk and network cards are as they were."""
        argv = [
            "systemd-nspawn", "-q", "--register=no", "--keep-unit", "--boot", f"--directory={self.root}",
            f"--network-namespace-path={NETNS_DIR / self.namespace}", f"--machine={self.place.id}-{self.name}",
            f"--hostname={self.name}", "--console=pipe", "--resolv-conf=off", "--timezone=off", "--link-journal=no",
        ]  # fmt: skip
        with (self.directory / "console.log").open("ab") as log:
            self._child = subprocess.Popen(
                cgroups.wrapped(self.place.id, self.name, argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.nspawn, self.init = Process.of(self._child.pid), None
        self.place.changed()

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Return when users can log in over SSH.

        Raises:
            LabError: Not within ``timeout`` seconds, or the host went down; with the end of its console.
        """
        try:
            wait_until(f"{self.name} booted", self._logins_open, timeout)
            wait_until(f"{self.name}'s sshd answered", self._sshd_answers, timeout)
        except LabError as error:
            console = (self.directory / "console.log").read_bytes()[-1500:].decode(errors="replace")
            raise LabError(f"{error}\n{console}") from error
        self.place.changed()

    def _logins_open(self) -> bool:
        if self.nspawn is None or not self.nspawn.alive:
            raise LabError(f"{self.name} is off")
        self.init = self.init if self.init and self.init.alive else init_of(self.namespace)
        if self.init is None:
            return False
        inner = Path(f"/proc/{self.init.pid}/root")
        # sshd is up before systemd-user-sessions lets anyone but root in
        return (inner / "run/sshd.pid").exists() and not (inner / "run/nologin").exists()

    def _sshd_answers(self) -> bool:
        def banner() -> bool:
            with socket.create_connection((self.address, 22), timeout=1) as connection:
                connection.settimeout(2)
                return connection.recv(4) == b"SSH-"

        def on_the_spot() -> bool:
            with socket.create_connection(("127.0.0.1", 22), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"

        try:
            # A host that only a bastion may reach does not answer us, but itself.
            return inside(self.namespace, on_the_spot) if self.used else inside(self.place.namespace, banner)
        except OSError:
            return False

    def boot(self, timeout: float = 60.0) -> None:
        """Switch the power on and wait until users can log in."""
        self.start()
        self.wait_ready(timeout)

    @property
    def running(self) -> bool:
        """Whether its power is on and it has an init."""
        return self.nspawn is not None and self.nspawn.alive and self.init is not None and self.init.alive

    def power_cut(self) -> None:
        """Pull the plug: init and everything on the host is killed at once, nothing is stopped in order."""
        init = init_of(self.namespace) or self.init
        for process in (init, self.nspawn):
            if process is not None:
                process.kill()
        wait_until(f"{self.name} is off", lambda: not processes_in(self.namespace), 20)
        if self._child is not None:
            self._child.wait(20)
            self._child = None
        self.nspawn = self.init = None
        cgroups.remove(self.place.id, self.name)
        self.place.changed()

    def power_cycle(self, timeout: float = 60.0) -> None:
        """Power cut, then boot from the same disk."""
        self.power_cut()
        self.boot(timeout)

    def stop_helpers(self) -> None:
        """End what makes its disk or network bad; what it held frozen moves again."""
        for helper in self.helpers:
            helper.kill()
        wait_until("helpers are gone", lambda: not any(helper.alive for helper in self.helpers), 5)
        self.helpers.clear()
        thaw_below(self.root)

    def destroy(self) -> None:
        """Power cut; disk and network cards are gone too."""
        self.stop_helpers()
        self.power_cut()
        unmount_below(self.directory)
        delete_namespace(self.namespace)
        shutil.rmtree(self.directory)

    def reset(self) -> None:
        """Swap it for a new machine with the same name and addresses: empty disk, new identity. Not booted."""
        self.destroy()
        self.create()

    # --- the side door: never through the product ---------------------------------------------------------------

    def exec(self, script: str, *, stdin: str = "", check: bool = True, timeout: float = 60.0) -> str:
        """Run a shell script on the host as root, not over the network, and return its output.

        Raises:
            LabError: The host is off, or the script failed and ``check`` is set.
        """
        done = self.exec_result(script, stdin=stdin, timeout=timeout)
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: exit {done.returncode}: {script}\n{done.stdout}{done.stderr}")
        return done.stdout

    def exec_result(self, script: str, *, stdin: str = "", timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Like :meth:`exec`, with the exit code and both outputs."""
        if self.init is None or not self.init.alive:
            raise LabError(f"{self.name} is off")
        argv = ["nsenter", f"--target={self.init.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root"]
        # nsenter is found with our PATH, the shell with the host's
        words = [
            *argv,
            "--",
            "/usr/bin/env",
            "-C",
            "/",
            "-i",
            *(f"{k}={v}" for k, v in _CLEAN.items()),
            "sh",
            "-c",
            script,
        ]
        return subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)

    def read(self, path: str) -> str:
        """A file's text on the host."""
        return self.exec(f"cat {shlex.quote(path)}")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file on the host; its directory is made if need be."""
        quoted = shlex.quote(path)
        self.exec(f'mkdir -p "$(dirname {quoted})" && cat >{quoted} && chmod {mode:o} {quoted}', stdin=text)

    def authorize(self, home: Path, uid: int, gid: int) -> None:
        """Let the lab's key in; ``home`` is the path on this machine."""
        directory = home / ".ssh"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = directory / "authorized_keys"
        keys.write_text(self.place.client_key.with_suffix(".pub").read_text())
        keys.chmod(0o600)
        for path in (directory, keys):
            os.chown(path, uid, gid)
