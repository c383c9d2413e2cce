"""What a finished run says in Prefect's UI, which runs all lines together."""

from __future__ import annotations

import pytest

from flows.ending import in_short
from tasks.reporting.tables import as_text, table

TABLE = as_text(table(("member", "role"), [("etcd-01", "leader")]))


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (f"prod-a: done\nrevision 7\n\n{TABLE}", "prod-a: done\nrevision 7"),
        (f"{TABLE}\n\nprod-a: healthy", "prod-a: healthy"),
        ("prod-a: nothing to do", "prod-a: nothing to do"),
        (TABLE, TABLE),
    ],
)
def test_tables_are_left_to_the_artifacts(text: str, short: str) -> None:
    assert in_short(text) == short
