"""Tables keep to the width that they are given."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasks.reporting.tables import as_text, table

WORDS = st.text("abc ", max_size=120)


@given(st.lists(st.tuples(st.sampled_from(["error", "ok"]), WORDS), max_size=6), st.integers(40, 120))
def test_a_narrow_table_says_the_same(rows: list[tuple[str, str]], width: int) -> None:
    data = table(("", "seen"), rows)
    narrow = as_text(data, width=width)
    longest = max((len(word) for _, text in rows for word in text.split()), default=0)
    assert all(len(line) <= max(width, longest + 8, 28) for line in narrow.splitlines())
    words = [word for word in narrow.split() if not set(word) <= {"-"}]
    assert words == [word for word in as_text(data).split() if not set(word) <= {"-"}]
