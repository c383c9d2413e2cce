"""Every error that people can meet says what to do next."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tasks.errors
from deployments.errors import show_unexpected
from tasks.errors import EtcdFlowsError

ROOT = Path(__file__).parents[2]
CLASSES = {name for name, found in vars(tasks.errors).items() if isinstance(found, type)} | {"ApiError"}
#: Answers of stores and readers that the caller always deals with; errors that carry others.
DEALT_WITH = {"StoreMissing", "StoreConflict", "ManifestError", "Several", "ClusterFileError"}
#: Where an error means that the program itself is wrong: names and settings were checked before.
OF_THE_PROGRAM = {
    "deployments/demo/acts.py",
    "tasks/etcd/client.py",
    "tasks/etcd/envfile.py",
    "tasks/hosts/files.py",
    "tasks/hosts/transfer.py",
    "tasks/hosts/wire.py",
    "tasks/snapshots/pipeline.py",
    "tasks/snapshots/stores/directory_upload.py",
    "tasks/snapshots/stores/keys.py",
    "tasks/snapshots/stores/s3_upload.py",
}


def without_next_step(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLASSES - DEALT_WITH:
            given = {keyword.arg for keyword in node.keywords}
            if not given & {"remedy", None}:
                yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_they_tell_the_next_step() -> None:
    assert issubclass(tasks.errors.Refused, EtcdFlowsError)
    files = [path for top in ("flows", "tasks", "deployments") for path in (ROOT / top).rglob("*.py")]
    found = [place for path in files for place in without_next_step(path)]
    assert found, "it finds those that are known"
    assert [place for place in found if place.partition(":")[0] not in OF_THE_PROGRAM] == []


def test_a_server_that_goes_away_is_no_bug_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_unexpected(RuntimeError("Failed to reach API at http://127.0.0.1:4200/api/"), as_json=False) == 1
    said = capsys.readouterr().err
    assert "Prefect's server went away" in said
    assert "report it" not in said
