"""The wheel as it is installed: every flow loads from it in an empty directory, and is the object that is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deployments.declared import OFFERED
from tests.wheel import build_wheel

ROOT = Path(__file__).parents[2]

FLOWS = sorted(each.module for each in OFFERED)  # a flow's module, its function and its command share one name

LOAD = """
import importlib, sys
from pathlib import Path
from prefect.flows import load_flow_from_entrypoint
import flows, tasks, deployments
home = Path(sys.argv[1])
for package in (flows, tasks, deployments):
    assert Path(package.__file__).parent.parent == home, package.__file__
for name in sys.argv[2:]:
    entry = f"flows.{name}.{name}"
    loaded = load_flow_from_entrypoint(entry)
    assert loaded is getattr(importlib.import_module(f"flows.{name}"), name), entry
    assert loaded.name == name.replace("_", "-"), loaded.name
    assert loaded.description, f"{name} has no description for the UI"
    print("loaded", entry)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_packages_and_their_data_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"flows", "tasks", "deployments"}
    for data in ("tasks/hosts/observe.sh", "tasks/py.typed", "flows/py.typed", "deployments/py.typed"):
        assert data in names
    sources = {str(path.relative_to(ROOT)) for top in tops for path in (ROOT / top).rglob("*.py")}
    assert sources <= set(names), sorted(sources - set(names))


def test_every_flow_loads_from_an_empty_directory(wheel: Path, tmp_path: Path) -> None:
    home, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    zipfile.ZipFile(wheel).extractall(home)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(home), *FLOWS],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("loaded ") == len(FLOWS)
