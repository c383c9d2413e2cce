"""The schemas of ``--json``: they are schemas, tell good from bad, and results of every kind fit them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
import pytest
from jsonschema import Draft202012Validator

from deployments.cli import main
from deployments.outputs import names, output_schema
from flows.monitoring_results import MonitoringResult
from flows.replace_results import ReplaceResult
from flows.restore_results import RestoreResult
from flows.results import BootstrapResult, CheckResult, PlannedResult
from tasks.etcd.members import MemberStatus
from tasks.findings import Finding
from tasks.members.record import Replacement
from tasks.monitoring.proof import Target
from tasks.plan import Plan
from tests.outputs import assert_as_published
from tests.unit.test_cli import GOOD, run

MEMBER = MemberStatus("a", "https://a:2379", "1f", "1f", "2e", "3.6.16", 9, 8, None, 7, 7, 2, False, 5, ("NOSPACE",))
PLAN = Plan("replace-member", "prod-a", ())
FINDINGS = (Finding("ok", "clock", "right"), Finding("error", "disk", "full", "a", "make room"))


def printed(result: Any) -> str:
    """As the command line prints it."""
    return json.dumps({"ok": result.exit_code == 0, **result.as_json()})


def test_every_command_with_json_has_one() -> None:
    def with_json(group: click.Group, *words: str) -> Iterator[str]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from with_json(command, *words, name)
            elif not command.hidden and any("--json" in parameter.opts for parameter in command.params):
                yield "-".join((*words, name))

    assert sorted(with_json(main)) == sorted(names())


@pytest.mark.parametrize("name", names())
def test_it_is_a_schema_that_takes_errors_and_not_anything(name: str) -> None:
    schema = output_schema(name)
    Draft202012Validator.check_schema(schema)
    refused = {
        "ok": False,
        "error": "Refused",
        "errors": [{"message": "x", "host": None, "state": None, "remedy": "y"}],
    }
    assert_as_published(name, json.dumps(refused))
    wrongs: list[Any] = [{}, {"ok": True}, {**refused, "ok": True}, []]
    for wrong in wrongs:
        assert not Draft202012Validator(schema).is_valid(wrong)


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("check-cluster", CheckResult("prod-a", FINDINGS)),
        ("preflight-cluster", CheckResult("prod-a", ())),
        ("bootstrap-cluster", BootstrapResult(PLAN, applied=True, members=(MEMBER,), findings=FINDINGS[:1])),
        ("bootstrap-cluster", RestoreResult(PLAN, applied=False)),
        ("enable-monitoring", MonitoringResult(PLAN, applied=False)),
        (
            "enable-monitoring",
            MonitoringResult(
                PLAN, True, "10.0.0.21", (Target("a", "http://a", "up", "healthy"), Target("b", "", "up"))
            ),
        ),
        ("disaster-restore", RestoreResult(PLAN, applied=False)),
        ("destroy-cluster", PlannedResult(PLAN, applied=True)),
        ("replace-member", ReplaceResult(PLAN, applied=False, member="a")),
        (
            "replace-member",
            ReplaceResult(
                PLAN,
                applied=True,
                member="a",
                record=Replacement("0f", "prod-a", "u", "t", "a", "", (), 1.0, "", ""),
                phases=(("stop", 1.0),),
                members=(MEMBER,),
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_results_fit(name: str, result: Any) -> None:
    assert_as_published(name, printed(result))


def test_commands_print_what_is_published(tmp_path: Any) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text("name: prod-a\n")
    for file in (good, bad):
        assert_as_published("validate", run("validate", str(file), "--json").stdout)
    source = GOOD + f"etcd: {{release: {{source: {tmp_path}}}}}\n"
    good.write_text(source)
    assert_as_published("doctor", run("doctor", str(good), "--json", HOME=str(tmp_path)).stdout)


def test_the_command_prints_them() -> None:
    assert json.loads(run("schema", "check-cluster").stdout) == output_schema("check-cluster")
    unknown = run("schema", "nonsense")
    assert unknown.returncode == 2
    assert "snapshots-list" in unknown.stderr
