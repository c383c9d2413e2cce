"""Upstream-shaped releases of Prometheus, Alertmanager and node_exporter, made of Debian's programs.

So tests take the product's normal release path. The versions are those of the programs.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.lab.debian import unpacked
from tests.lab.releases import arch, cache
from tests.lab.system import locked
from tests.monitoring.programs import SUITE, folder

#: What upstream calls a program, and the name of Debian's.
CONTENTS = {
    "prometheus": {"prometheus": "prometheus", "promtool": "promtool"},
    "alertmanager": {"alertmanager": "prometheus-alertmanager", "amtool": "amtool"},
    "node_exporter": {"node_exporter": "prometheus-node-exporter"},
}


def templates() -> dict[str, str]:
    """The files that Debian's Alertmanager reads from its package, by path; upstream's has them inside."""
    found = sorted((folder().parent / "share/prometheus/alertmanager").glob("*.tmpl"))
    return {f"/usr/share/prometheus/alertmanager/{path.name}": path.read_text() for path in found}


def mirror() -> tuple[Path, dict[str, str]]:
    """A directory laid out like the projects' download trees, and the versions in it.

    Raises:
        PackagesUnavailable: The programs can't be had here.
    """
    folders = [folder(), unpacked("node-exporter", SUITE, ("prometheus-node-exporter",), alone=True) / "usr/bin"]
    top = cache() / f"monitoring-{SUITE}"
    versions = {}
    with locked(cache() / "monitoring.lock"):
        for name, programs in CONTENTS.items():
            found = {ours: _find(folders, theirs) for ours, theirs in programs.items()}
            versions[name] = _version(found[name])
            if not (top / f"v{versions[name]}" / "sha256sums.txt").is_file():
                _pack(top, name, versions[name], found)
    return top, versions


def _find(folders: list[Path], name: str) -> Path:
    return next(folder / name for folder in folders if (folder / name).is_file())


def _version(program: Path) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=30)
    found = re.search(r"version (\d+\.\d+\.\d+)", said.stdout + said.stderr)
    assert found, said
    return found[1]


def _pack(top: Path, name: str, version: str, programs: dict[str, Path]) -> None:
    top.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{version}.linux-{arch()}"
    with tempfile.TemporaryDirectory(prefix=".work-", dir=top) as work:
        tarball = Path(work) / f"{stem}.tar.gz"
        with tarfile.open(tarball, "w:gz", compresslevel=1) as tar:
            for program, path in programs.items():
                tar.add(path, f"{stem}/{program}")
        digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
        target = top / f"v{version}"
        target.mkdir(exist_ok=True)
        shutil.move(tarball, target / tarball.name)
        (target / "sha256sums.txt").write_text(f"{digest}  {tarball.name}\n")
