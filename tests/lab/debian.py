"""Programs from Debian packages of another release, unpacked and not installed. Needs apt and dpkg-deb, but no root."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.lab.base import Image, ensure
from tests.lab.releases import cache
from tests.lab.system import LabError, locked, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class PackagesUnavailable(Exception):
    """The packages can't be had on this machine; the message says what was tried."""


def unpacked(name: str, suite: str, packages: Sequence[str], *, alone: bool = False) -> Path:
    """A directory of the tests' cache with these packages in it; made now if it is not there.

    Args:
        name: Of the directory, together with the suite.
        suite: Debian's release.
        alone: Without what they depend on: for programs that need the C library only.

    Raises:
        PackagesUnavailable: They can't be had here.
    """
    target = cache() / f"{name}-{suite}"
    if target.is_dir():
        return target
    absent = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if absent or not KEYRING.is_file():
        raise PackagesUnavailable(f"{' '.join(absent) or KEYRING} is missing; as root, `make test-tools` installs it")
    cache().mkdir(parents=True, exist_ok=True)
    with locked(cache() / f"{name}.lock"):
        if not target.is_dir():
            words = " ".join(packages)
            print(f"tests: unpacking {words} from Debian {suite} into {target}, once", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix=".work-", dir=cache()) as work:
                try:
                    _download(Path(work), suite, packages, alone=alone)
                    _unpack(Path(work)).rename(target)
                except LabError as error:
                    raise PackagesUnavailable(f"no {words} from Debian {suite}: {str(error)[-400:]}") from error
    return target


def repository(name: str, image: Image, packages: Sequence[str]) -> Path:
    """A directory that apt takes for a repository, with these packages and all that the image lacks for them.

    Raises:
        PackagesUnavailable: They can't be had here.
    """
    suite, status = image.suite, ensure(image) / "var/lib/dpkg/status"
    target = cache() / f"{name}-apt-{suite}"
    if target.is_dir():
        return target
    with locked(cache() / f"{name}-apt.lock"):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(prefix=".work-", dir=cache()) as work:
                try:
                    _download(Path(work), suite, packages, alone=False, status=status)
                    _index(Path(work) / "cache/archives").rename(target)
                except LabError as error:
                    raise PackagesUnavailable(f"no packages from Debian {suite}: {str(error)[-400:]}") from error
            target.chmod(0o755)
    return target


def _index(folder: Path) -> Path:
    """Write the list of the packages in a directory, as apt reads it."""
    entries = []
    for package in sorted(folder.glob("*.deb")):
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        control = run("dpkg-deb", "--field", str(package)).rstrip()
        entries.append(f"{control}\nFilename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {digest}\n")
    (folder / "Packages").write_text("\n".join(entries))
    shutil.rmtree(folder / "partial", ignore_errors=True)
    (folder / "lock").unlink(missing_ok=True)
    return folder


def _mirror() -> str:
    """The Debian mirror that this machine itself uses, from apt's configuration."""
    sites = run("apt-get", "indextargets", "--format", "$(SITE)", check=False).split()
    debian = [site for site in sites if site.rstrip("/").endswith("/debian")]
    if not debian:
        raise LabError("apt knows no mirror of Debian")
    return debian[0]


def _download(work: Path, suite: str, packages: Sequence[str], *, alone: bool, status: Path | None = None) -> None:
    """With an apt of our own, whose lists, cache and status are apart from the machine's.

    Args:
        status: Of dpkg, that says what is installed; None if nothing is.
    """
    for folder in ("etc/preferences.d", "etc/apt.conf.d", "etc/sources.list.d", "state/lists/partial"):
        (work / folder).mkdir(parents=True)
    (work / "cache/archives/partial").mkdir(parents=True)
    (work / "status").write_bytes(status.read_bytes() if status else b"")
    # Testing's index may be past its date on a mirror; its signature is checked all the same.
    options = f"signed-by={KEYRING} check-valid-until=no"
    (work / "etc/sources.list").write_text(f"deb [{options}] {_mirror()} {suite} main\n")
    user = run("id", "-un").strip()
    (work / "apt.conf").write_text(
        f'Dir::Etc "{work}/etc"; Dir::Etc::sourcelist "{work}/etc/sources.list";\n'
        f'Dir::Etc::sourceparts "{work}/etc/sources.list.d"; Dir::State "{work}/state";\n'
        f'Dir::State::status "{work}/status"; Dir::Cache "{work}/cache"; APT::Sandbox::User "{user}";\n'
        'APT::Install-Recommends "0"; Acquire::Languages "none"; Acquire::Retries "3"; Debug::NoLocking "1";\n'
    )
    with_ours = ("env", f"APT_CONFIG={work}/apt.conf", "apt-get", "-qq")
    run(*with_ours, "update", timeout=300)
    if alone:
        names = " ".join(f"{package}/{suite}" for package in packages)
        archives = work / "cache/archives"
        run(
            "sh",
            "-c",
            f'cd "{archives}" && exec env APT_CONFIG="{work}/apt.conf" apt-get -qq download {names}',
            timeout=900,
        )
    else:
        run(*with_ours, "install", "--yes", "--download-only", *packages, timeout=900)


def _unpack(work: Path) -> Path:
    root = work / "root"
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in sorted((work / "cache/archives").glob("*.deb")):
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as source:
            run_tar = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(root)]
            unpacked = subprocess.run(run_tar, stdin=source.stdout, capture_output=True, text=True, check=False)
        if source.returncode or unpacked.returncode:
            raise LabError(f"{package.name} can't be unpacked: {unpacked.stderr[-200:]}")
    for unused in ("doc", "man", "locale"):
        shutil.rmtree(root / "usr/share" / unused, ignore_errors=True)
    return root
