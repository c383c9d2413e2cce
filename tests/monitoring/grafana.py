"""A release of Grafana's shape with our stand-in in it (``stand_in/grafana.go``), as no Grafana can be had here.

So tests take the product's normal release path. Needs a Go toolchain; built once and kept in the tests' cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.lab.debian import PackagesUnavailable
from tests.lab.releases import arch, cache
from tests.lab.system import locked

VERSION = "12.4.2"
_SOURCE = Path(__file__).with_name("stand_in") / "grafana.go"
_YAML = "gopkg.in/yaml.v3@v3.0.1"


def mirror() -> Path:
    """A directory laid out like Grafana's download site.

    Raises:
        PackagesUnavailable: There is no Go, or what it needs can't be had.
    """
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    top = cache() / f"grafana-stand-in-{digest}"
    with locked(cache() / "grafana.lock"):
        if not top.is_dir():
            with tempfile.TemporaryDirectory(prefix=".work-", dir=cache()) as work:
                _pack(_build(Path(work)), Path(work) / "mirror").rename(top)
    return top


def _build(work: Path) -> Path:
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        raise PackagesUnavailable("no go toolchain, which Grafana's stand-in is built with")
    shutil.copy(_SOURCE, work / "grafana.go")
    environ = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    flags = f"-s -w -X main.version={VERSION}"
    for words in (["mod", "init", "scratch"], ["get", _YAML], ["build", "-ldflags", flags, "-o", "grafana", "."]):
        done = subprocess.run([go, *words], cwd=work, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PackagesUnavailable(f"Grafana's stand-in: go {words[0]} failed: {done.stderr.strip()[-300:]}")
    return work / "grafana"


def _pack(program: Path, target: Path) -> Path:
    """As upstream: the program below ``bin``, and beside it what it can't start without."""
    tree = target.with_name("tree")
    for folder in ("bin", "conf", "public/img"):
        (tree / folder).mkdir(parents=True)
    program.rename(tree / "bin/grafana")
    (tree / "conf/defaults.ini").write_text("[auth.anonymous]\nenabled = true\n[security]\nadmin_password = admin\n")
    (tree / "public/img/icon.svg").write_text("<svg/>\n")
    (tree / "VERSION").write_text(VERSION)
    target.mkdir()
    tarball = target / f"grafana-{VERSION}.linux-{arch()}.tar.gz"
    with tarfile.open(tarball, "w:gz", compresslevel=1) as tar:
        tar.add(tree, f"grafana-v{VERSION}")
    # The bare sum is all that upstream's file has.
    tarball.with_name(f"{tarball.name}.sha256").write_text(hashlib.sha256(tarball.read_bytes()).hexdigest())
    return target
