"""Upstream-shaped etcd releases for tests, so that they take the product's normal release path.

A release is looked for in the cache, then downloaded from the project's release page, then built from the published Go
modules. Run as a script to fill the cache: ``python -m tests.lab.releases [VERSION...]``.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lab.system import locked

VERSIONS = ("3.6.16", "3.5.35", "3.7.3")  # the newest of each minor that is supported; the first is the default
BINARIES = ("etcd", "etcdctl", "etcdutl")
OFFICIAL = "https://github.com/etcd-io/etcd/releases/download"
_MODULES = {"etcd": "server", "etcdctl": "etcdctl", "etcdutl": "etcdutl"}


class ReleaseUnavailable(Exception):
    """The release can't be had on this machine; the message says what was tried."""


def cache() -> Path:
    """Where releases are kept, outside of the repository."""
    told = os.environ.get("ETCD_FLOWS_TEST_CACHE")
    return Path(told) if told else Path.home() / ".cache" / "etcd-flows-tests"


def arch() -> str:
    """This machine's architecture in release file names."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def tarball_name(version: str) -> str:
    """The release page's file name."""
    return f"etcd-v{version}-linux-{arch()}.tar.gz"


def mirror(versions: Sequence[str] = VERSIONS) -> Path:
    """A directory laid out like the release page's download tree, with at least these versions in it.

    Raises:
        ReleaseUnavailable: One can neither be downloaded nor built here.
    """
    top = cache() / "mirror"
    for version in versions:
        with locked(cache() / "lock"):
            if not _valid(top / f"v{version}", version):
                _obtain(top, version)
    return top


def binaries(version: str) -> Path:
    """Directory with etcd, etcdctl and etcdutl of a version, unpacked from the mirror.

    Raises:
        ReleaseUnavailable: It can't be had here.
    """
    top = mirror([version])
    target = cache() / "bin" / f"v{version}"
    with locked(cache() / "lock"):
        if not all((target / name).is_file() for name in BINARIES):
            shutil.rmtree(target, ignore_errors=True)
            work = _workdir()
            with tarfile.open(top / f"v{version}" / tarball_name(version)) as tar:
                tar.extractall(work, filter="data")
            target.parent.mkdir(parents=True, exist_ok=True)
            (work / tarball_name(version).removesuffix(".tar.gz")).rename(target)
            work.rmdir()
    return target


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory over HTTP on loopback; yields the URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    handler = functools.partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _say(text: str) -> None:
    print(f"releases: {text}", file=sys.stderr, flush=True)


def _workdir() -> Path:
    cache().mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=".work-", dir=cache()))


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _valid(directory: Path, version: str) -> bool:
    """Whether the tarball is there and is what the sums say."""
    tarball, sums = directory / tarball_name(version), directory / "SHA256SUMS"
    if not tarball.is_file() or not sums.is_file():
        return False
    lines = [line.split() for line in sums.read_text().splitlines()]
    wanted = {words[1]: words[0] for words in lines if len(words) == 2}
    return wanted.get(tarball.name) == _sha256(tarball)


def _obtain(top: Path, version: str) -> None:
    reasons = []
    for source in (_download, _build):
        work = _workdir()
        try:
            source(work, version)
            if not _valid(work, version):
                raise ReleaseUnavailable("the tarball is not what SHA256SUMS says")
            _check_versions(work, version)
            target = top / f"v{version}"
            shutil.rmtree(target, ignore_errors=True)
            top.mkdir(parents=True, exist_ok=True)
            work.chmod(0o755)
            work.rename(target)
            _say(f"etcd {version} is in {target}")
            return
        except (OSError, ReleaseUnavailable, subprocess.CalledProcessError) as error:
            reasons.append(f"{source.__name__.strip('_')}: {error}")
        finally:
            shutil.rmtree(work, ignore_errors=True)
    raise ReleaseUnavailable(f"etcd {version} can't be had here ({'; '.join(reasons)})")


def _download(work: Path, version: str) -> None:
    _say(f"looking for etcd {version} on the release page")
    for name in ("SHA256SUMS", tarball_name(version)):
        with (
            urllib.request.urlopen(f"{OFFICIAL}/v{version}/{name}", timeout=15) as answer,  # noqa: S310 - https
            (work / name).open("wb") as out,
        ):
            shutil.copyfileobj(answer, out)


def _build(work: Path, version: str) -> None:
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        raise ReleaseUnavailable("no go toolchain")
    _say(f"building etcd {version} from its Go modules, once, some minutes")
    source, out = work / "build", work / "out"
    source.mkdir()
    environ = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    modules = [f"go.etcd.io/etcd/{module}/v3" for module in _MODULES.values()]
    steps = [["mod", "init", "scratch"], ["get", *(f"{module}@v{version}" for module in modules)]]
    # The version is in the sources; upstream's build script stamps the commit on top of it.
    flags = f"-s -w -X go.etcd.io/etcd/api/v3/version.GitSHA=v{version}"
    for name, module in zip(_MODULES, modules, strict=True):
        steps.append(["build", "-trimpath", "-ldflags", flags, "-o", str(out / name), module])
    for number, step in enumerate(steps, 1):
        _say(f"etcd {version}: step {number} of {len(steps)}: go {step[0]} {step[-1].rpartition('/etcd/')[2]}")
        done = subprocess.run([go, *step], cwd=source, env=environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ReleaseUnavailable(f"go {step[0]} failed: {done.stderr.strip()[-300:]}")
    pack(out, work, version)
    shutil.rmtree(source)
    shutil.rmtree(out)


def pack(programs: Path, target: Path, version: str) -> None:
    """Pack three programs as upstream does, with SHA256SUMS beside the tarball."""
    target.mkdir(parents=True, exist_ok=True)
    name = tarball_name(version)
    inner = name.removesuffix(".tar.gz")
    with tarfile.open(target / name, "w:gz", compresslevel=4) as tar:
        readme = tarfile.TarInfo(f"{inner}/README.md")
        text = b"etcd, built for tests from its published Go modules\n"
        readme.size = len(text)
        tar.addfile(readme, io.BytesIO(text))
        for program in BINARIES:
            entry = tar.gettarinfo(programs / program, f"{inner}/{program}")
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = "root"
            entry.mode = 0o755
            with (programs / program).open("rb") as handle:
                tar.addfile(entry, handle)
    (target / "SHA256SUMS").write_text(f"{_sha256(target / name)}  {name}\n")


def _check_versions(directory: Path, version: str) -> None:
    """All three programs must say that they are what the file name says."""
    with tempfile.TemporaryDirectory(dir=cache()) as scratch:
        with tarfile.open(directory / tarball_name(version)) as tar:
            tar.extractall(scratch, filter="data")
        for name in BINARIES:
            program = Path(scratch) / tarball_name(version).removesuffix(".tar.gz") / name
            argv = [str(program), "--version" if name == "etcd" else "version"]
            said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout
            if said.partition("\n")[0].split()[-1] != version:
                raise ReleaseUnavailable(f"{name} says {said.splitlines()[:1]}, not {version}")


if __name__ == "__main__":
    try:
        print(mirror(sys.argv[1:] or VERSIONS))
    except ReleaseUnavailable as problem:
        sys.exit(f"releases: {problem}")
