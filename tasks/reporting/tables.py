"""Tables for the terminal and for Prefect's artifacts, from one description."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Args:
        headings: One for each column.
        rows: Each as long as the headings.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Build a table; cells become text."""
    return Table(tuple(headings), tuple(tuple(str(cell) for cell in row) for row in rows))


def as_text(data: Table, indent: str = "", width: int | None = None) -> str:
    """The table in columns, for a terminal or a log.

    Args:
        width: Columns to keep to by breaking the text of the last column, as far as that can be.
    """
    if width is not None:
        data = _narrowed(data, width - len(indent))
    widths = [max(len(cell) for cell in column) for column in zip(data.headings, *data.rows, strict=True)]
    lines = [data.headings, tuple("-" * width for width in widths), *data.rows]
    return "\n".join(
        indent + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _narrowed(data: Table, width: int) -> Table:
    """The same table with more rows, in which what did not fit into the last column goes on."""
    others = [max(len(row[at]) for row in (data.headings, *data.rows)) for at in range(len(data.headings) - 1)]
    room = max(20, width - sum(others) - 2 * len(others))
    rows: list[tuple[str, ...]] = []
    for *first, last in data.rows:
        pieces = textwrap.wrap(last, room, break_long_words=False, break_on_hyphens=False) or [""]
        rows.append((*first, pieces[0]))
        rows += [(*("" for _ in first), piece) for piece in pieces[1:]]
    return Table(data.headings, tuple(rows))


def as_markdown(data: Table) -> str:
    """The table in Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(data.headings), line(["---"] * len(data.headings)), *(line(row) for row in data.rows)])
