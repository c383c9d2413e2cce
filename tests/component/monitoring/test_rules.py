"""Every alert rule under Prometheus's own rule tester: it fires when it should, and not in a healthy cluster."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.cluster.spec import MonitoringSettings, StoreSettings
from tasks.monitoring.rules import rule_file, rules
from tests import etcd_specs as specs
from tests.component.monitoring.cases import CASES, Case, healthy
from tests.monitoring.programs import program

pytestmark = pytest.mark.component
ALERTS = Path(__file__).parents[3] / "docs" / "alerts.md"
_PLAIN = specs.cluster(metrics="extensive")
CLUSTER = replace(
    _PLAIN,
    snapshots=replace(_PLAIN.snapshots, stores=(StoreSettings("local", Path("/srv")), StoreSettings("offsite"))),
    rto_seconds=60.0,
    monitoring=MonitoringSettings(
        "docs/alerts.md", textfile_directory=Path("/textfiles"), backup_age=3600.0, drill_age=5 * 3600.0
    ),
)


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [str(program("promtool")), *(str(word) for word in words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)


def written(folder: Path) -> Path:
    path = folder / "etcd-prod-a.rules.yml"
    path.write_text(rule_file(CLUSTER, "docs/alerts.md"))
    return path


def firing(case: Case, at: int, count: int) -> dict[str, Any]:
    """A question to promtool: how many are firing then."""
    labels = f'alertname="{case.alert}", severity="{case.severity}", alertstate="firing"'
    samples = [{"labels": "{}", "value": count}] if count else []
    return {"expr": f"count(ALERTS{{{labels}}})", "eval_time": f"{at}m", "exp_samples": samples}


def question(case: Case) -> dict[str, Any]:
    series = {name: values for name, values in healthy().items() if not name.startswith(f"{case.without}{{")}
    questions = [firing(case, case.at, case.count)]
    if case.not_at is not None:
        questions.append(firing(case, case.not_at, 0))
    given = [{"series": name, "values": values} for name, values in (series | case.series).items()]
    return {"name": case.alert, "interval": "1m", "input_series": given, "promql_expr_test": questions}


def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    quiet = [{"series": name, "values": values} for name, values in healthy().items()]
    nothing = [{"expr": "ALERTS", "eval_time": f"{at}m", "exp_samples": []} for at in (1, 15, 90, 350)]
    well = {"name": "healthy", "interval": "1m", "input_series": quiet, "promql_expr_test": nothing}
    tests = [well, *(question(case) for case in CASES)]
    written(tmp_path)
    path = tmp_path / "test.yml"
    path.write_text(
        yaml.safe_dump({"rule_files": ["etcd-prod-a.rules.yml"], "tests": tests, "evaluation_interval": "1m"})
    )
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_and_a_text() -> None:
    known = {(rule.alert, rule.severity) for group in rules(CLUSTER).values() for rule in group}
    assert {(case.alert, case.severity) for case in CASES} == known
    headings = re.findall(r"^## (\w+)$", ALERTS.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted({alert for alert, _ in known})


def test_it_passes_prometheus_s_lint(tmp_path: Path) -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", written(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_tells_numbers_and_where_to_read_on(tmp_path: Path) -> None:
    (case,) = (case for case in CASES if (case.alert, case.severity) == ("EtcdQuotaNearlyUsed", "warning"))
    labels = {"severity": "warning", "job": "etcd", "cluster": "prod-a", "member": "etcd-01"}
    annotations = {
        "summary": "the database of etcd-01 of prod-a nears its quota",
        "description": "86% of the quota of etcd-01 is used; at 100% all writes are refused.",
        "runbook_url": "docs/alerts.md#etcdquotanearlyused",
    }
    expected = {"exp_labels": labels | {"instance": "10.0.0.11:2381"}, "exp_annotations": annotations}
    below = {"exp_labels": expected["exp_labels"] | {"severity": "info"}, "exp_annotations": annotations}
    asked = question(case) | {
        "promql_expr_test": [],
        "alert_rule_test": [{"eval_time": "6m", "alertname": case.alert, "exp_alerts": [below, expected]}],
    }
    written(tmp_path)
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump({"rule_files": ["etcd-prod-a.rules.yml"], "tests": [asked]}))
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr
