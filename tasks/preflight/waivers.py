"""Errors that the operator decided to live with. A waiver is shown, and kept with the run; it hides nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

from tasks.errors import InputError, Refused
from tasks.findings import Finding
from tasks.preflight.checks import CHECKS, REACHABLE


def check_waivers(names: Iterable[str]) -> frozenset[str]:
    """The names as a set.

    Raises:
        InputError: One of them is no check's.
    """
    wanted = tuple(names)
    wrong = [name for name in wanted if name not in CHECKS]
    if REACHABLE in wrong:
        raise InputError(
            "a host that can't be reached can't be waived",
            state="nothing was touched",
            remedy="see why it does not answer, or take it out of the cluster file",
        )
    if wrong:
        near = difflib.get_close_matches(wrong[0].lower(), CHECKS, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(
            f"there is no check {', '.join(repr(name) for name in wrong)} to waive",
            state="nothing was touched",
            remedy=f"{hint}Checks are: {', '.join(CHECKS)}",
        )
    return frozenset(wanted)


def apply_waivers(findings: Iterable[Finding], names: Iterable[str]) -> tuple[Finding, ...]:
    """The findings, with errors of those checks marked as waived; everything else as it was.

    Raises:
        InputError: A name is no check's.
    """
    waived = check_waivers(names)
    return tuple(
        replace(finding, level="waived") if finding.level == "error" and finding.check in waived else finding
        for finding in findings
    )


def waived_notes(findings: Iterable[Finding]) -> tuple[str, ...]:
    """What goes into a plan's notes."""
    return tuple(
        f"waived by the operator: {finding.check}: {finding.host + ': ' if finding.host else ''}{finding.text}"
        for finding in findings
        if finding.level == "waived"
    )


def refusals(findings: Iterable[Finding]) -> list[Refused]:
    """Every error that nobody waived, as a reason not to go on."""
    return [
        Refused(
            f"{finding.check}: {finding.text}",
            host=finding.host,
            state="nothing was changed on any host",
            remedy=f"{finding.remedy}; or --waive {finding.check}" if finding.remedy else f"--waive {finding.check}",
        )
        for finding in findings
        if finding.level == "error" and finding.check != REACHABLE
    ]
