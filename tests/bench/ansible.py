"""The same cluster by a plain Ansible playbook, in a virtual environment of its own beside the cached releases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab import releases
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import locked

PLAYBOOK = Path(__file__).parent / "playbook/etcd.yml"


def installed() -> Path:
    """The directory of Ansible's programs; installed now, with pip, if it is not there."""
    home = releases.cache() / "ansible"
    with locked(releases.cache() / "ansible.lock"):
        if not (home / "bin/ansible-playbook").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            subprocess.run([home / "bin/pip", "install", "-q", "ansible-core"], check=True)
    return home / "bin"


@dataclass(frozen=True)
class Ansible:
    """An operator who uses Ansible with its defaults; host keys are not checked, since the hosts are ever new ones.

    Args:
        home: An empty directory.
        tarball: The release.
    """

    lab: Lab
    programs: Path
    home: Path
    tarball: Path

    def describe(self, hosts: list[LabHost]) -> None:
        """Write the inventory."""
        entries = {host.name: {"ansible_host": host.address} for host in hosts}
        login = {"ansible_user": "root", "ansible_ssh_private_key_file": str(self.lab.client_key)}
        inventory = {"etcd": {"hosts": entries, "vars": login}}
        (self.home / "inventory.json").write_text(json.dumps(inventory))

    def play(self) -> str:
        """Run the playbook; returns what it said."""
        environ = {
            "HOME": str(self.home),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "ANSIBLE_HOST_KEY_CHECKING": "false",
        }
        argv = ["ansible-playbook", "-i", "inventory.json", str(PLAYBOOK)]
        argv += ["-e", json.dumps({"release": str(self.tarball), "pki": str(self.home / "pki")})]
        done = subprocess.run(
            argv, cwd=self.home, env=environ, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        return done.stdout
