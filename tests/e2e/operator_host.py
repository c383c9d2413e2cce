"""A lab host that runs etcd-flows as a service, installed as docs/operations.md says.

Hosts have no way out to a package index, so what `pip` would get from there is lent to them, read only: the tests' own
packages, and the Python that they are for. Our own package is installed by `pip` from the wheel.
"""

from __future__ import annotations

import json
import re
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.lab.hosts import LabHost
from tests.lab.system import run
from tests.wheel import ROOT

OPERATIONS = (ROOT / "docs/operations.md").read_text()
PACKAGES = ("python3-venv",)
HOME = "/var/lib/etcd-flows-operator"
_LENT = "/srv/packages"
_PYTHON = "/srv/python"
_MIRROR = "/srv/etcd"


def commands(mark: str) -> list[str]:
    """What the page has root type, in the block after ``<!-- on a host: MARK -->``; without the making of Python's
    environment."""
    block = re.search(rf"<!-- on a host: {mark} -->\n```console\n(.*?)```", OPERATIONS, re.DOTALL)
    assert block, f"docs/operations.md has no block {mark!r}"
    lines = [re.sub(r"\s+#\s.*", "", line[2:]) for line in block[1].splitlines() if line.startswith("# ")]
    return [line for line in lines if "pip install" not in line]


@dataclass(frozen=True)
class OperatorHost:
    """One such machine."""

    host: LabHost

    def install(self, wheel: Path, mirror: Path) -> None:
        """Everything up to the documented commands: Python's environment with our package, and a source of releases."""
        self._lend(Path(sysconfig.get_path("purelib")), _LENT)
        self._lend(mirror, _MIRROR)
        base = Path(sys.base_prefix)
        interpreter = "/usr/bin/python3"  # the hosts' release is this machine's
        if base != Path("/usr"):
            self._lend(base, _PYTHON)
            interpreter = f"{_PYTHON}/bin/python3"
            self.host.write("/etc/ld.so.conf.d/lent.conf", f"{_PYTHON}/lib\n")  # if its own library is a shared one
            self.host.exec("ldconfig")
        self.host.exec(f"{interpreter} -m venv /opt/etcd-flows", timeout=300)
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.host.write(f"/opt/etcd-flows/lib/{python}/site-packages/lent.pth", f"{_LENT}\n")
        program = Path(sys.executable).with_name("prefect").read_text().partition("\n")[2]
        self.host.write("/opt/etcd-flows/bin/prefect", f"#!/opt/etcd-flows/bin/python\n{program}", 0o755)
        checkout = self.host.root / "root/checkout"
        checkout.mkdir()
        run("cp", "-r", ROOT / "docs", wheel, checkout)
        self.host.exec("cd /root/checkout && /opt/etcd-flows/bin/pip install --no-index --no-deps *.whl", timeout=300)

    def _lend(self, directory: Path, place: str) -> None:
        held, point = self.host.directory / "lent" / Path(place).name, self.host.root / place.lstrip("/")
        for made in (held, point):
            made.mkdir(parents=True)
        run("mount", "--bind", directory, held)
        run("mount", "-o", "remount,bind,ro", held)
        run("mount", "--bind", held, point)  # seen inside, since the host's root is mounted shared

    def follow(self, mark: str, *members: LabHost) -> None:
        """Type what the page says, in the checkout; with these hosts in the place of the page's."""
        for line in commands(mark):
            mine = line.replace("10.0.0.11 10.0.0.12 10.0.0.13", " ".join(each.address for each in members))
            self.host.exec(f"cd /root/checkout && {mine}", timeout=400)

    def flows(self, *words: str, code: int = 0) -> str:
        """``etcd-flows ...`` by the wrapper, as an administrator types it."""
        done = self.host.exec_result(f"etcd-flows {' '.join(words)}", timeout=300)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def describe(self, member: LabHost, schedule: str) -> None:
        """A cluster file for one member that is reached with the operator's own key; a store that it may write to."""
        self.host.write(
            "/etc/etcd-flows/clusters/prod-a.yaml",
            yaml.safe_dump(
                {
                    "name": "prod-a",
                    "hosts": [{"name": member.name, "address": member.address}],
                    "ssh": {"user": "root"},
                    "etcd": {"release": {"source": _MIRROR}},
                    "snapshots": {"schedule": schedule, "stores": [{"name": "local", "directory": "/srv/backups"}]},
                }
            ),
        )
        member.exec("cat >>/root/.ssh/authorized_keys", stdin=self.host.read(f"{HOME}/.ssh/id_ed25519.pub"))
        self.host.write(f"{HOME}/.ssh/known_hosts", member.known_hosts_lines())
        self.host.exec("install -d -m 700 -o etcd-flows -g etcd-flows /srv/backups")

    def snapshots(self) -> list[str]:
        """Ids of the stored snapshots, the newest first."""
        listed: list[dict[str, str]] = json.loads(self.flows("snapshots", "list", "prod-a", "--json"))["snapshots"]
        return [each["id"] for each in listed]

    def exposure(self, unit: str) -> float:
        """How `systemd-analyze security` rates it, from 0 (confined) to 10."""
        said = self.host.exec(f"systemd-analyze security --no-pager {unit}")
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
        assert found, said
        return float(found[1])
