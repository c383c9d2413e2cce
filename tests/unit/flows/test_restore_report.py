"""What a failed restore tells: how things stand, and one command to be pasted."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from deployments.cli import main
from flows.restore_course import Course
from flows.restore_report import back_ended_badly, command_of, ended_badly
from flows.restore_results import RestoreResult
from tasks.errors import GateFailed
from tasks.plan import make_plan
from tasks.reporting.tables import table
from tests.unit.restore.scene import cluster, record

THREE = replace(cluster(), source=Path("/srv/my clusters/prod-a.yaml"))
RECORD = record(THREE)


@pytest.mark.parametrize(
    ("course", "said"),
    [
        (Course(), "no member was stopped"),
        (Course(hooks_run=["stop-clients"]), "the hooks stop-clients have run before"),
        (Course(stopped_at=1.0), "are held"),
        (Course(stopped_at=1.0, writable_at=2.0), "run on the restored data"),
    ],
)
def test_how_things_stand_and_the_command_to_go_on(course: Course, said: str) -> None:
    error = GateFailed("no", remedy="look there")
    ended_badly(error, course, RECORD, command_of(THREE, "--file", "/tmp/a b.db", accept=["no-hooks"]))
    assert said in (error.state or "")
    remedy = error.remedy or ""
    assert remedy.startswith("look there; then run `etcd-flows disaster-restore '/srv/my clusters/prod-a.yaml'")
    assert "--go-back" in remedy
    words = shlex.split(remedy.split("`")[1])
    assert words[2:] == [str(THREE.source), "--confirm", "prod-a", "--file", "/tmp/a b.db", "--accept", "no-hooks"]
    refused = CliRunner().invoke(main, words[1:])
    assert "no such file" in refused.output, "the command line takes all its words"


def test_the_report_says_first_what_people_ask_first() -> None:
    """Who and why, when clients could write, the members; where the former data lies comes last."""
    asked = replace(RECORD, requested_by="J. Doe", reason="a bad write")
    course = Course(stopped_at=1.0, writable_at=21.5, proven_at=30.0, phases=[("stop and hold", 3.25)])
    members = table(
        ("member", "id", "role", "version", "db size", "certificates until"),
        [("etcd-01", "f4aa", "leader", "3.6.16", "1.0 GiB", "2027-11-28 (364 d)")],
    )
    beside = ("etcd-01: /var/lib/etcd/member (1.0 GiB)",)
    plan = make_plan("disaster-restore", "prod-a", [])
    told = RestoreResult(plan, True, asked, course=course, table=members, old_dirs=beside).as_markdown()
    order = [
        "asked for by J. Doe: a bad write",
        "write 20.5 s after",
        "## Members",
        "leader",
        "## Timeline",
        "3.2",
        "beside",
    ]
    assert [told.index(words) for words in order] == sorted(told.index(words) for words in order)
    assert "f4aa" not in told, "a table that is wider than the view runs into what stands beside it"


def test_a_way_back_goes_on_as_one() -> None:
    error = GateFailed("no")
    back_ended_badly(error, Course(stopped_at=1.0), RECORD, command_of(THREE, "--go-back"))
    assert "--confirm prod-a --go-back` again: it goes on with taking restore 01234567 back" in (error.remedy or "")
    assert "are held" in (error.state or "")
