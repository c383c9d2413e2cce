"""What enable-monitoring writes, before the judges that it is put to on the host: promtool and amtool."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from tasks.monitoring.alertmanager import secret_files
from tasks.monitoring.wanted import Inputs, watch_of
from tests.monitoring.programs import program
from tests.unit.monitoring.test_watch_plan import settled, watched

pytestmark = pytest.mark.component

ALL_WAYS = """receivers: [
  {name: chat, slack: {url: env:S, channel: '#x'}},
  {name: mail, severity: critical, email: {to: a@b.c, sender: d@e.f, server: 'm:25', user: u, password: env:P}},
  {name: hook, webhook: {secret_url: env:H, token: env:T}},
  {name: open, severity: info, webhook: {url: 'https://x.example.com/a?b=c'}},
]"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a host on which two clusters are watched."""
    root = tmp_path_factory.mktemp("host")
    found = None
    for name in ("prod-a", "prod-b"):
        spec = watched(ALL_WAYS, name=name)
        refs = secret_files(spec, watch_of(spec))
        sums = {one.path: hashlib.sha256(str(one.ref).encode()).hexdigest() for one in refs}
        found = settled(spec, Inputs({}, sums), found)
    assert found is not None
    for path, fact in found.files.items():
        if path.startswith("/etc/") and fact.kind == "file":
            (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / path[1:]).write_bytes(fact.content or b"")
    return root


def test_prometheus_accepts_it(host: Path) -> None:
    argv = [str(program("promtool")), "check", "config", str(host / "etc/prometheus/prometheus.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rule files found" in done.stdout


def test_alertmanager_accepts_it(host: Path) -> None:
    argv = [str(program("amtool")), "check-config", str(host / "etc/alertmanager/alertmanager.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 receivers" in done.stdout


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ("cluster=prod-a severity=critical", {"chat", "mail", "hook", "open"}),
        ("cluster=prod-a severity=warning", {"chat", "hook", "open"}),
        ("cluster=prod-a severity=info", {"open"}),
        ("cluster=prod-a severity=info etcd_flows_test=mail", {"mail"}),
        ("cluster=other severity=critical", {"nobody"}),
    ],
)
def test_who_is_told(host: Path, labels: str, told: set[str]) -> None:
    config = f"--config.file={host / 'etc/alertmanager/alertmanager.yml'}"
    argv = [str(program("amtool")), "config", "routes", "test", config, *labels.split()]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert {name.removeprefix("etcd-prod-a-") for name in done.stdout.strip().split(",")} == told
