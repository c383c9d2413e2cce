"""The wheel that users install, built from this tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def build_wheel(directory: Path) -> Path:
    """Build it without the network; the tree is left as it is.

    Args:
        directory: Where the wheel goes.
    """
    source = directory / "source"  # setuptools builds in the tree
    for name in ("flows", "tasks", "deployments"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    words = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(directory), str(source)]
    built = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stderr
    return next(directory.glob("*.whl"))
