"""What a finished run says in Prefect's UI, which runs all lines together."""

from __future__ import annotations

import pytest

from flows.ending import in_forms, in_short, marked, tables_last
from tasks.errors import Refused
from tasks.reporting.tables import as_text, table

TABLE = as_text(table(("member", "role"), [("etcd-01", "leader")]))


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (f"prod-a: done\nrevision 7\n\n{TABLE}", "prod-a: done\nrevision 7"),
        (f"{TABLE}\n\nprod-a: healthy", "prod-a: healthy"),
        ("prod-a: nothing to do", "prod-a: nothing to do"),
        (TABLE, TABLE),
        ("plan: 9 steps\n1. a\n2. b\n3. c\n4. d", "plan: 9 steps\nall of it is among the run's artifacts"),
    ],
)
def test_tables_are_left_to_the_artifacts(text: str, short: str) -> None:
    assert in_short(text) == short


def test_a_failure_says_first_what_can_be_read() -> None:
    assert tables_last(f"{TABLE}\n\nprod-a: 1 error\n  etcd-01: ports: free them") == (
        f"prod-a: 1 error\n  etcd-01: ports: free them\n\n{TABLE}"
    )


def test_where_lines_begin_can_be_seen_when_they_are_run_together() -> None:
    error = Refused("it is busy", state="nothing was changed", remedy="wait")
    assert marked(str(error)) == "it is busy\n  | state: nothing was changed\n  | what to do: wait"
    assert marked(TABLE) == TABLE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("look first (--plan), then --confirm prod-a", "--plan is plan_only, --confirm is confirm"),
        ("--from latest; --on-conflict skip", "--from is snapshot, --on-conflict is on_conflict"),
        ("the API server's --etcd-prefix", ""),
        ("nothing to do", ""),
    ],
)
def test_options_are_told_by_the_names_of_the_form(text: str, said: str) -> None:
    parameters = ("cluster", "plan_only", "confirm", "snapshot", "on_conflict")
    assert in_forms(text, parameters) == (f"\n  in the form, and by API: {said}" if said else "")
