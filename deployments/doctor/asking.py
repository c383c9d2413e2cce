"""Questions that take time, all asked at once and none waited for without end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.errors import EtcdFlowsError
from tasks.findings import Finding, Level

#: Seconds that all questions together may take; a store, an API or a mirror that is well answers in one.
LIMIT = 10.0


@dataclass(frozen=True)
class Question:
    """Something to find out.

    Args:
        check: Name of the check, for the finding if there is no answer.
        where: Cluster or host, None for this machine.
        ask: Gives the findings; may raise errors of ours, which are findings too.
        level: Of a finding that there is no answer.
    """

    check: str
    where: str | None
    ask: Callable[[], Sequence[Finding]]
    level: Level = "error"


def answers(questions: Sequence[Question], seconds: float = LIMIT) -> list[Finding]:
    """The findings in the order of the questions.

    What takes too long goes on in a thread that does not keep the program from ending: there is no way to stop it.
    """
    found: dict[int, Sequence[Finding]] = {}

    def run(number: int, question: Question) -> None:
        found[number] = ask(question)

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(questions)]
    until = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return [each for number, question in enumerate(questions) for each in found.get(number) or [_silent(question)]]


def ask(question: Question) -> Sequence[Finding]:
    """The findings of one question; an error of ours is one."""
    try:
        return question.ask() or [Finding("ok", question.check, "nothing to look at", question.where)]
    except EtcdFlowsError as error:
        return [as_finding(error, question.check, question.where, question.level)]


def as_finding(error: EtcdFlowsError, check: str, where: str | None, level: Level = "error") -> Finding:
    """An error of ours as a finding; its text names no secret (:mod:`tasks.errors`)."""
    return Finding(level, check, error.message, where, error.remedy or "correct that, and ask the doctor again")


def _silent(question: Question) -> Finding:
    text = f"no answer within {LIMIT:.0f} s"
    remedy = "see whether it is up, and whether a firewall or a proxy is in the way"
    return Finding(question.level, question.check, text, question.where, remedy)
