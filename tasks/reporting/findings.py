"""Findings for people and for machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tasks.findings import Finding
from tasks.reporting.tables import Table, table


def as_json(finding: Finding) -> dict[str, Any]:
    """One finding for ``--json``; keys are stable."""
    return {
        "level": finding.level,
        "check": finding.check,
        "host": finding.host,
        "text": finding.text,
        "remedy": finding.remedy,
    }


def as_table(findings: Iterable[Finding], place: str = "host", every: str = "") -> Table:
    """Findings, the worst first; what was seen on several hosts alike is one row.

    Args:
        place: What they are of.
        every: Said instead of the names of all hosts that there are, if there is more than one.
    """
    findings = tuple(findings)
    names = {finding.host for finding in findings if finding.host}
    order = {"error": 0, "waived": 1, "warning": 2, "ok": 3}
    rows: dict[tuple[str, str, str], list[str]] = {}
    for finding in sorted(findings, key=lambda finding: order[finding.level]):
        rows.setdefault((finding.level, finding.check, finding.text), []).append(finding.host or "")
    where = {
        key: every if every and len(names) > 1 and names <= set(hosts) else ", ".join(hosts)
        for key, hosts in rows.items()
    }
    return table(("", "check", place, "seen"), [(lv, ck, where[lv, ck, seen], seen) for lv, ck, seen in rows])


def remedies(cluster: str, findings: Iterable[Finding]) -> list[str]:
    """What to do, one line for each different thing."""
    found: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        if finding.level != "ok" and finding.remedy:
            found.setdefault((finding.check, finding.remedy), []).append(finding.host or cluster)
    return [f"  {', '.join(dict.fromkeys(hosts))}: {check}: {remedy}" for (check, remedy), hosts in found.items()]
