"""Findings: what a check saw, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "waived", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        level: ``ok``, ``warning`` (works, but look at it), ``error`` (does not work, or soon will not),
            ``waived`` (an error that the operator said to go on with).
        check: Short stable name, used by people who waive or filter: ``clock``, ``certificates``.
        text: What was seen, with figures.
        host: Where, None for the whole cluster.
        remedy: What to do, empty when all is well.
    """

    level: Level
    check: str
    text: str
    host: str | None = None
    remedy: str = ""


def worst(findings: Iterable[Finding]) -> Level:
    """The gravest level among the findings; ``ok`` when there are none."""
    levels = {finding.level for finding in findings}
    order: tuple[Level, ...] = ("error", "waived", "warning")
    return next((level for level in order if level in levels), "ok")
