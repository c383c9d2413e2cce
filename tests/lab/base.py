"""The disk images that lab hosts share as their lowest layer, each made once with debootstrap."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.system import LabError, locked, run

CACHE = Path(os.environ.get("ETCD_FLOWS_LAB_CACHE", "/var/cache/etcd-flows-lab"))
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "sudo",
    "iproute2",
    "ca-certificates",
    "curl",
    "iptables",
)


def _suite() -> str:
    """The release to install: this machine's own, unless told otherwise."""
    told = os.environ.get("ETCD_FLOWS_LAB_SUITE")
    if told:
        return told
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise LabError("this machine's release has no code name; set ETCD_FLOWS_LAB_SUITE")


@dataclass(frozen=True)
class Image:
    """What is installed on a host.

    Args:
        suite: Debian release; empty for the usual one.
        more: Packages beside the usual ones.
    """

    suite: str = ""
    more: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """All of them."""
        return (*PACKAGES, *self.more)

    @property
    def path(self) -> Path:
        """Where it is, or will be. The name carries what is in it, so that a change makes a new one."""
        digest = hashlib.sha256(" ".join(self.packages).encode()).hexdigest()[:8]
        return CACHE / f"{self.suite or _suite()}-{digest}"


def ensure(image: Image) -> Path:
    """The image; made now (about a minute) if it is not there. Two runs at once make one.

    Raises:
        LabError: debootstrap is missing or failed.
    """
    target = image.path
    if target.is_dir():
        return target
    with locked(CACHE / "lock"):
        if target.is_dir():
            return target
        if shutil.which("debootstrap") is None:
            raise LabError("package debootstrap is missing (make lab-tools installs it)")
        print(
            f"lab: making the hosts' base image {target} with debootstrap, once, about a minute",
            file=sys.stderr,
            flush=True,
        )
        work = CACHE / f".{target.name}.new"
        shutil.rmtree(work, ignore_errors=True)
        _debootstrap(work, image)
        work.rename(target)
    return target


def _mirror() -> str:
    """The package mirror that this machine itself uses, from apt's configuration."""
    sites = run("apt-get", "indextargets", "--format", "$(SITE)").split()
    usable = [site for site in sites if "security" not in site]
    if not usable:
        raise LabError("apt knows no package mirror")
    return usable[0]


def _debootstrap(target: Path, image: Image) -> None:
    log = CACHE / "debootstrap.log"
    include = f"--include={','.join(image.packages)}"
    with log.open("w") as out:
        argv = ["debootstrap", "--variant=minbase", include, image.suite or _suite(), str(target), _mirror()]
        code = subprocess.run(argv, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    if code != 0:
        shutil.rmtree(target, ignore_errors=True)
        raise LabError(f"debootstrap failed, see {log}: {log.read_text()[-400:]}")
    # Every host has its own identity.
    for key in (target / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (target / "etc/machine-id").unlink(missing_ok=True)
    shutil.rmtree(target / "var/cache/apt/archives", ignore_errors=True)
