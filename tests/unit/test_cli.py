"""The command line as users meet it, without a flow being run."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from deployments.cli import main
from deployments.cli_help import EXAMPLES
from deployments.runner import Terminal
from tasks.reporting.progress import Event

CLI = [sys.executable, "-m", "deployments.cli"]
ROOT = Path(__file__).parents[2]

GOOD = """\
name: prod-a
hosts:
  - {name: etcd-01, address: 192.0.2.11}
  - {name: etcd-02, address: 192.0.2.12}
  - {name: etcd-03, address: 192.0.2.13}
"""


def run(*words: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    return subprocess.run([*CLI, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "words",
    [("--help",), ("--version",), ("bootstrap-cluster", "--help"), ("completion", "bash"), ("version",)],
    ids=" ".join,
)
def test_help_version_and_completion_import_nothing_heavy(words: tuple[str, ...]) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "deployments.cli", *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "click" in imported
    assert not imported & {"prefect", "pydantic", "fabric", "paramiko", "etcd3", "grpc", "cryptography", "rich"}


def test_tab_completion_answers_without_prefect() -> None:
    done = run(_ETCD_FLOWS_COMPLETE="bash_complete", COMP_WORDS="etcd-flows boot", COMP_CWORD="1")
    assert "bootstrap-cluster" in done.stdout


def test_tab_completion_knows_the_cluster_files_and_the_flows(tmp_path: Path) -> None:
    for name in ("prod-a", "prod-b", "dev"):
        (tmp_path / f"{name}.yaml").touch()

    def complete(words: str) -> list[str]:
        asked = {"_ETCD_FLOWS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "2"}
        return run(cwd=ROOT, ETCD_FLOWS_CLUSTERS=str(tmp_path), **asked).stdout.split()

    assert complete("etcd-flows check-cluster pro") == ["file,pro", "plain,prod-a", "plain,prod-b"]
    assert complete("etcd-flows trigger restore-d") == ["plain,restore-drill"]


@pytest.mark.parametrize("words", EXAMPLES)
def test_the_examples_of_its_help_can_be_typed(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "snapshot.db").touch()
    for example in EXAMPLES[words]:
        group: click.Group = main
        *groups, name = words.split()
        for each in groups:
            found = group.commands[each]
            assert isinstance(found, click.Group)
            group = found
        group.commands[name].make_context(words, shlex.split(example))  # refuses what it does not know


def test_the_overview_has_every_command_once() -> None:
    shown = re.findall(r"^  ([a-z][a-z-]+)  +\S", run("--help").stdout, re.MULTILINE)
    assert sorted(shown) == sorted(name for name, command in main.commands.items() if not command.hidden)


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colours_only_where_somebody_wants_them(environ: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    words = [*CLI, "check-cluster", "no-such-cluster"]
    env = {**clean, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environ}
    subprocess.run(words, env=env, cwd=ROOT, stderr=theirs, stdout=subprocess.DEVNULL, timeout=60, check=False)
    os.close(theirs)
    said = os.read(ours, 4096).decode()
    os.close(ours)
    assert "failed" in said
    assert ("\x1b[" in said) is coloured


def test_validate_tells_every_problem_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace("192.0.2.12", "192.0.2.11").replace("name: prod-a", "name: prod-a\nhost: x"))
    done = run("validate", str(file))
    assert done.returncode == 2
    assert f"{file}:2:1: error: host: " in done.stderr
    assert "did you mean" in done.stderr
    assert f"{file}:5:" in done.stderr
    assert "2 problems; nothing was touched" in done.stderr


def test_validate_in_json(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text("name: prod-a\n")
    assert json.loads(run("validate", str(good), "--json").stdout) == {"ok": True, "problems": []}
    answer = json.loads(run("validate", str(bad), "--json").stdout)
    assert answer["ok"] is False
    assert answer["problems"][0]["file"] == str(bad)


def test_a_file_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    done = run("validate", "no-such-cluster", cwd=tmp_path)
    assert done.returncode == 2
    assert "no-such-cluster" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_flow_refuses_a_bad_file_before_it_starts_anything(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("name: prod-a\nhosts: []\n")
    done = run("bootstrap-cluster", str(file), "--json")
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    assert answer["error"] == "ClusterFileError"
    assert "Prefect" not in done.stderr


@pytest.mark.parametrize("words", [("validate", "CLUSTER", "--json"), ("schema",)])
def test_a_full_disk_behind_standard_output_is_no_traceback(words: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    argv = [*CLI, *(str(file) if word == "CLUSTER" else word for word in words)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(argv, env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    (kept,) = tmp_path.glob("etcd-flows-error-*.txt")
    assert str(kept) in done.stderr
    assert "Traceback" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_behind_the_log_stops_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        with pytest.raises(OSError, match="No space left"):
            full.write("a line\n")
        monkeypatch.setattr(sys, "stderr", full)
        Terminal(verbose=False, quiet=False)(Event("warning", "a step was repeated"))
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


def test_a_name_that_no_file_can_have() -> None:
    done = run("validate", "a" * 5000)
    assert done.returncode == 2
    assert "no cluster file of that name" in done.stderr


def test_another_package_of_our_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "deployments" / "cli.py"), "version"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    assert "PYTHONPATH" in done.stderr


def test_the_schema_is_json() -> None:
    assert json.loads(run("schema").stdout)["$schema"].startswith("https://json-schema.org/")
