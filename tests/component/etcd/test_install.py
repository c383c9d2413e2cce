"""Installing a real release on this machine through a real shell."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.cluster.spec import Host, Release
from tasks.errors import CommandFailed, ReleaseError
from tasks.etcd.install import InstallRelease, apply_install
from tasks.etcd.release import LocalRelease, fetch
from tasks.hosts.shell import close_all, open_shell
from tests import etcd_specs as specs
from tests.component.etcd.conftest import binaries

pytestmark = pytest.mark.component
NAMES = ("etcd", "etcdctl", "etcdutl")


def local_release(version: str, folder: Path) -> LocalRelease:
    name = f"etcd-v{version}-linux-amd64"
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / f"{name}.tar.gz", "w:gz", compresslevel=1) as archive:
        for program in NAMES:
            archive.add(binaries(version) / program, f"{name}/{program}")
    pinned = hashlib.sha256((folder / f"{name}.tar.gz").read_bytes()).hexdigest()
    return fetch(Release(version, str(folder), pinned, folder / "cache"), "amd64")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> LocalRelease:
    return local_release("3.6.16", tmp_path_factory.mktemp("release"))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    yield specs.host(ssh=replace(specs.LOCAL, sudo="none"), paths=specs.paths(str(tmp_path / "the host")))
    close_all()


def install(host: Host, local: LocalRelease) -> None:
    with open_shell(host) as shell:
        apply_install(shell, InstallRelease(local.version, local.arch), host, local)


def folder(host: Host) -> Path:
    return Path(host.paths.install_dir)


def sums(host: Host) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder(host).iterdir()}


def wanted(local: LocalRelease) -> dict[str, str]:
    return {name: info.sha256 for name, info in local.binaries.items()}


def test_install_and_again(host: Host, local: LocalRelease) -> None:
    stale = folder(host) / ".etcd-flows-0123456789"
    stale.mkdir(parents=True)
    (stale / "etcd").write_text("half")
    for _ in range(2):
        install(host, local)
        assert sums(host) == wanted(local)
        assert {path.stat().st_mode & 0o7777 for path in folder(host).iterdir()} == {0o755}
    receipt = json.loads((Path(host.paths.record_dir) / "release.json").read_text())
    assert receipt == {
        "version": "3.6.16",
        "arch": "amd64",
        "tarball_sha256": local.sha256,
        "binaries": wanted(local),
    }


def test_a_running_program_keeps_running(host: Host, local: LocalRelease) -> None:
    folder(host).mkdir(parents=True)
    (folder(host) / "etcd").write_bytes(Path("/bin/sleep").read_bytes())
    (folder(host) / "etcd").chmod(0o755)
    running = subprocess.Popen([folder(host) / "etcd", "30"])
    try:
        install(host, local)
        assert running.poll() is None
        assert sums(host) == wanted(local)
    finally:
        running.kill()
        running.wait()


def test_damaged_on_the_way(host: Host, local: LocalRelease) -> None:
    install(host, local)
    other = replace(local.binaries["etcdctl"], sha256="0" * 64)
    with pytest.raises(ReleaseError, match="did not arrive as it was sent: etcdctl: FAILED") as caught:
        install(host, replace(local, binaries={**local.binaries, "etcdctl": other}))
    assert caught.value.host == "etcd-01"
    assert sums(host) == wanted(local)


def test_cut_short_on_the_way(host: Host, local: LocalRelease, tmp_path: Path) -> None:
    short = tmp_path / "short.tar.gz"
    short.write_bytes(local.tarball.read_bytes()[:1_000_000])
    with pytest.raises(ReleaseError, match="did not arrive"):
        install(host, replace(local, tarball=short))
    assert list(folder(host).iterdir()) == []


def test_a_program_that_says_another_version(host: Host, local: LocalRelease) -> None:
    with open_shell(host) as shell, pytest.raises(ReleaseError, match=r"does not run.*3\.6\.16"):
        apply_install(shell, InstallRelease("3.6.15", "amd64"), host, replace(local, version="3.6.15"))
    assert list(folder(host).iterdir()) == []


def test_another_release_than_planned(host: Host, local: LocalRelease) -> None:
    with open_shell(host) as shell, pytest.raises(ReleaseError, match="the plan wants"):
        apply_install(shell, InstallRelease("3.5.35", "amd64"), host, local)
    assert not folder(host).exists()


def test_a_directory_that_cannot_be_made(host: Host, local: LocalRelease) -> None:
    blocked = Path(host.paths.prefix)
    blocked.mkdir()
    (blocked / "opt").write_text("a file")
    with pytest.raises(CommandFailed, match="can't be written"):
        install(host, local)


@pytest.fixture
def mounted(host: Host) -> Iterator[list[str]]:
    """Mounts a small or restricted filesystem as install dir; needs root."""
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: mounting needs root")
    folder(host).mkdir(parents=True)
    options: list[str] = []
    yield options
    subprocess.run(["umount", folder(host)], check=False)


def mount(host: Host, options: str) -> None:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", folder(host)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("NOT RUN: this machine can't mount a tmpfs")


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ("size=20m", CommandFailed, "there is no room"),
        ("ro", CommandFailed, "can't be written"),
        ("noexec", ReleaseError, "does not run"),
    ],
)
def test_disks_that_will_not_do(
    options: str, error: type[Exception], sentence: str, host: Host, local: LocalRelease, mounted: list[str]
) -> None:
    del mounted
    mount(host, options)
    with pytest.raises(error, match=sentence):
        install(host, local)
    assert list(folder(host).iterdir()) == []
