"""A plan as Prefect's artifact view shows it, which is half a window wide."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.plan import Phase, Plan, Step
from tasks.reporting.plans import as_markdown


@dataclass(frozen=True)
class Nothing:
    """An action."""

    def fingerprint(self) -> str:
        return "nothing"


def test_notes_are_a_list_and_reasons_have_a_column_where_there_are_any() -> None:
    bare = Step("etcd-01", "hold", "stop etcd", Nothing())
    told = Step("etcd-01", "pki", "issue server", Nothing(), why="it is missing")
    phases = (Phase("stop", (bare,)), Phase("prepare", (told,)))
    text = as_markdown(Plan("disaster-restore", "prod-a", phases, notes=("first", "second")))
    assert "* first\n* second\n" in text
    assert "| etcd-01 | stop etcd |\n" in text
    assert "| host | step | why |" in text
    assert "| etcd-01 | issue server | it is missing |" in text
