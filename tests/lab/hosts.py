"""A lab host as tests use it: a machine whose logins, network and disk can be made as bad as real ones get."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.lab.machine import NICS, Machine
from tests.lab.system import LabError, Process, run, wait_until

Sudo = Literal["none", "nopasswd", "password"]
_RELAY = Path(__file__).with_name("relay.py")


@dataclass
class LabHost(Machine):
    """A host that can be cut off, slowed down and filled up. A reset undoes everything."""

    _rules: dict[str, list[tuple[str, str]]] = field(default_factory=dict, repr=False)
    _relays: dict[str, tuple[str, Process]] = field(default_factory=dict, repr=False)

    def reset(self) -> None:
        """Swap it for a new machine with the same name and addresses: empty disk, new identity. Not booted."""
        self._rules.clear()
        self._relays.clear()
        super().reset()

    # --- logins -------------------------------------------------------------------------------------------------

    def add_user(self, name: str, sudo: Sudo = "nopasswd", password: str | None = None, key: bool = True) -> None:
        """A login with or without sudo; ``password`` also opens password login. ``key`` lets the lab's key in."""
        # "*" is no password, yet not locked: sshd refuses locked accounts even with a key
        self.exec(f"useradd --create-home --shell /bin/sh --password '*' {shlex.quote(name)}")
        if password is not None:
            self.exec("chpasswd", stdin=f"{name}:{password}\n")
        if sudo != "none":
            tag = "NOPASSWD: " if sudo == "nopasswd" else ""
            self.write(f"/etc/sudoers.d/{name}", f"{name} ALL=(ALL:ALL) {tag}ALL\n", 0o440)
        if key:
            uid, gid = map(int, self.exec(f"id -u {name}; id -g {name}").split())
            self.authorize(self.root / "home" / name, uid, gid)

    def sshd_option(self, line: str) -> None:
        """Set one line of sshd's configuration (``MaxSessions 1``) for connections from now on."""
        name = line.split()[0].lower()
        self.write(f"/etc/ssh/sshd_config.d/00-{name}.conf", f"{line}\n")
        self.exec("sshd -t && systemctl reload ssh")

    def drop_ssh_sessions(self) -> None:
        """Kill every SSH session that is open now; new ones are welcome."""
        self.exec(
            "main=$(cat /run/sshd.pid); for p in /proc/[0-9]*; do pid=${p#/proc/};"
            ' [ "$pid" != "$main" ] && [ "$(cat $p/comm 2>/dev/null)" = sshd ] && kill -9 $pid; done; true'
        )

    # --- network ------------------------------------------------------------------------------------------------

    def cut_off(self, *nics: str) -> None:
        """Pull it (or only ``eth0`` or ``eth1``) off its switches; it notices nothing but silence."""
        for nic in nics or NICS:
            self._lab_link("set", self._switch_port(nic), "nomaster")

    def cut_from(self, *others: Machine) -> None:
        """Drop all packets from and to some other hosts; the rest of the network stays. Ends with :meth:`reconnect`."""
        for other in others:
            for tool, address in self._addresses(other):
                self._rule("cut_from", tool, f"INPUT -s {address} -j DROP")
                self._rule("cut_from", tool, f"OUTPUT -d {address} -j DROP")

    def reconnect(self) -> None:
        """End :meth:`cut_off` and :meth:`cut_from`."""
        for index, nic in enumerate(NICS):
            self._lab_link("set", self._switch_port(nic), "master", f"br{index}")
        self._drop_rules("cut_from")

    def cut_ssh(self) -> None:
        """Drop packets to port 22 only; etcd goes on. Also open sessions hang. Ends with :meth:`open_ssh`."""
        for tool in ("iptables", "ip6tables"):
            self._rule("ssh", tool, "INPUT ! -i lo -p tcp --dport 22 -j DROP")

    def refuse_ssh(self) -> None:
        """Cut all SSH sessions and refuse new ones, as a host without sshd does. Ends with :meth:`open_ssh`."""
        for tool in ("iptables", "ip6tables"):
            self._rule("ssh", tool, "INPUT ! -i lo -p tcp --dport 22 -j REJECT --reject-with tcp-reset")
        self.drop_ssh_sessions()

    def ssh_only_from(self, bastion: Machine) -> None:
        """Firewall port 22 to all but a bastion. Ends with :meth:`open_ssh`."""
        self.cut_ssh()
        for tool, address in self._addresses(bastion):
            self._rule("ssh", tool, f"INPUT -s {address} -p tcp --dport 22 -j ACCEPT")

    def open_ssh(self) -> None:
        """End :meth:`cut_ssh`, :meth:`refuse_ssh` and :meth:`ssh_only_from`."""
        self._drop_rules("ssh")

    def jump_spec(self, user: str = "root", **ssh: Any) -> dict[str, Any]:
        """A cluster file's ``jump`` that goes over this host."""
        wanted = {"address": self.address, "user": user, "key": str(self.place.client_key), "host_key": self.host_key}
        return {key: value for key, value in (wanted | ssh).items() if value is not None}

    def slow_network(self, ms: float, loss: float = 0.0, nic: str = "eth0") -> None:
        """Delay what it sends by ``ms`` milliseconds and lose ``loss`` percent of it. Ends with :meth:`fast_network`.

        By the kernel's netem; where the kernel has none, by a relay of our own between card and switch.
        """
        self.fast_network(nic)
        shape = ["netem", "delay", f"{ms}ms", "loss", f"{loss}%"]
        try:
            run("tc", "-n", self.namespace, "qdisc", "replace", "dev", nic, "root", *shape)
        except LabError:
            self._relay(nic, ms, loss)

    def fast_network(self, nic: str = "eth0") -> None:
        """End :meth:`slow_network`."""
        run("tc", "-n", self.namespace, "qdisc", "del", "dev", nic, "root", check=False)
        if nic in self._relays:
            port, relay = self._relays.pop(nic)
            relay.kill()
            self.helpers.remove(relay)
            self._lab_link("del", port)
            self._lab_link("set", self._ports[nic], "master", f"br{NICS.index(nic)}")

    def _relay(self, nic: str, ms: float, loss: float) -> None:
        port = self._ports[nic]
        near, far = f"{port}-n", f"{port}-f"
        self._lab_link("set", port, "nomaster", "arp", "off")
        self._lab_link("add", near, "type", "veth", "peer", "name", far)
        self._lab_link("set", near, "up", "arp", "off")
        self._lab_link("set", far, "master", f"br{NICS.index(nic)}", "up")
        argv = ["ip", "netns", "exec", self.place.namespace, sys.executable]
        argv += [str(_RELAY), port, near, str(ms), str(loss)]
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        helper = Process.of(child.pid)
        assert child.stdout is not None
        if helper is None or child.stdout.readline() != b"ready\n":
            raise LabError("the relay that slows the network did not start")
        self.helpers.append(helper)
        self._relays[nic] = (far, helper)
        self.place.changed()

    def _switch_port(self, nic: str) -> str:
        return self._relays[nic][0] if nic in self._relays else self._ports[nic]

    def _lab_link(self, *words: str) -> None:
        run("ip", "-n", self.place.namespace, "link", *words)

    @staticmethod
    def _addresses(other: Machine) -> list[tuple[str, str]]:
        four, six = (other.address, other.address2), (other.address6, other.address6_2)
        return [("iptables", address) for address in four] + [("ip6tables", address) for address in six]

    def _rule(self, kind: str, tool: str, rule: str) -> None:
        self.exec(f"{tool} -w -I {rule}")
        self._rules.setdefault(kind, []).append((tool, rule))

    def _drop_rules(self, kind: str) -> None:
        for tool, rule in self._rules.pop(kind, []):
            self.exec(f"{tool} -w -D {rule}")

    # --- disk ---------------------------------------------------------------------------------------------------

    def small_disk(self, mb: int, path: str = "/var/lib/etcd") -> None:
        """Mount a disk of its own, ``mb`` MiB of ext4, at a path; it survives power cuts."""
        image = self.directory / "disks" / f"{path.strip('/').replace('/', '-')}.img"
        with image.open("wb") as handle:
            handle.truncate(mb << 20)
        run("mkfs.ext4", "-q", "-m", "0", image)
        point = self.root / path.lstrip("/")
        point.mkdir(parents=True, exist_ok=True)
        run("mount", "-o", "loop", image, point)  # seen inside, since the host's root is mounted shared

    def slow_disk(self, stall_ms: int, path: str = "/var/lib/etcd", every_ms: int = 0) -> None:
        """Let a disk made by :meth:`small_disk` stall: frozen for ``stall_ms``, free for ``every_ms``, and so on.

        Ends with :meth:`fast_disk`. Writes and fsyncs wait while it is frozen; reads don't.
        """
        point = shlex.quote(str(self.root / path.lstrip("/")))
        free = max(every_ms, 1) / 1000
        loop = f"while fsfreeze -f {point}; do sleep {stall_ms / 1000}; fsfreeze -u {point}; sleep {free}; done"
        child = subprocess.Popen(["sh", "-c", loop], stdin=subprocess.DEVNULL, start_new_session=True)
        helper = Process.of(child.pid)
        if helper is None:
            raise LabError("the disk could not be slowed")
        self.helpers.append(helper)
        self.place.changed()

    def fast_disk(self, path: str = "/var/lib/etcd") -> None:
        """End :meth:`slow_disk`."""
        relays = {relay for _, relay in self._relays.values()}
        stalls = [helper for helper in self.helpers if helper not in relays]
        for helper in stalls:
            helper.kill()
            self.helpers.remove(helper)
        wait_until("the disk is left alone", lambda: not any(helper.alive for helper in stalls), 5)
        # A fsfreeze of the loop may just have been started: thaw until there is nothing to thaw.
        with contextlib.suppress(LabError):
            for _ in range(3):
                run("fsfreeze", "--unfreeze", self.root / path.lstrip("/"))
