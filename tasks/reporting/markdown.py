"""Markdown for Prefect's artifact view: it is half a window wide, and a wider table runs into what stands beside it."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.reporting.tables import Table, as_markdown

#: Cells up to so many characters are not broken: a size, a time span.
_SHORT = 10
_NO_BREAK = "\u00a0"


def narrow(data: Table, *headings: str) -> str:
    """A table for the view; a cell of few characters stays on one line.

    Args:
        headings: The columns to show, in this order; all if none is named.
    """
    order = [data.headings.index(heading) for heading in headings or data.headings]
    rows = tuple(tuple(_whole(row[at]) for at in order) for row in data.rows)
    return as_markdown(Table(tuple(_whole(data.headings[at]) for at in order), rows))


def bullets(lines: Iterable[str]) -> str:
    """A list; lines that begin with a space belong to the point before."""
    return "\n".join(f"  * {line.strip()}" if line.startswith(" ") else f"* {line}" for line in lines)


def code(text: str) -> str:
    """Text as it is, within a line."""
    return f"`{text.replace('`', chr(39))}`"


def joined(*parts: str) -> str:
    """Paragraphs, without the empty ones."""
    return "\n\n".join(part for part in parts if part) + "\n"


def _whole(cell: str) -> str:
    return cell.replace(" ", _NO_BREAK) if len(cell) <= _SHORT else cell
