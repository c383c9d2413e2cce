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


def test_notes_are_a_list_and_hosts_with_the_same_to_do_stand_together() -> None:
    bare = Step("etcd-01", "hold", "stop etcd", Nothing())
    told = Step("etcd-01", "pki", "issue server", Nothing(), why="it is missing")
    same = (bare, Step("etcd-02", "hold", "stop etcd", Nothing()))
    more = Step("etcd-01", "env", "write env file", Nothing(), changes=("+ ETCD_NAME=`x`",))
    phases = (Phase("stop", same), Phase("prepare", (told, more)))
    text = as_markdown(Plan("disaster-restore", "prod-a", phases, notes=("first", "second")))
    assert "* first\n* second\n" in text
    assert "## 1. stop (2 hosts at once)\n\n* **etcd-01, etcd-02**: stop etcd\n" in text
    assert (
        "## 2. prepare\n\n* **etcd-01**\n  1. issue server *(it is missing)*\n  2. write env file\n"
        "     * `+ ETCD_NAME='x'`\n"
    ) in text
