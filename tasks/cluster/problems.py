"""What is wrong with a cluster file, as data: where, which key, what, and what to do."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tasks.errors import InputError

KeyPath = tuple[str | int, ...]
Severity = Literal["error", "warning"]

_SHOWABLE_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_SHORTEST_SCRUBBED = 4


@dataclass(frozen=True)
class Problem:
    """One finding.

    Args:
        file: The cluster file as the person named it.
        line: Counted from 1; None when there is no file to point into.
        column: Counted from 1, in characters.
        key: Key path, ``hosts[1].address``; empty for the file as a whole.
        message: What is wrong. Repeats no value that could be a secret.
        hint: What to write instead.
        severity: ``error`` stops everything, ``warning`` is told and goes on.
    """

    file: str
    line: int | None
    column: int | None
    key: str
    message: str
    hint: str | None = None
    severity: Severity = "error"

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        key = f"{self.key}: " if self.key else ""
        hint = f"\n    hint: {self.hint}" if self.hint else ""
        return f"{where}: {self.severity}: {key}{self.message}{hint}"


class ClusterFileError(InputError):
    """The cluster file cannot be used. Nothing was touched.

    Args:
        problems: Everything that was found, warnings too, in the order of the file.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        if len(problems) == 1 and first.line is None and not first.key:  # of the file as a whole: it can't be read
            message, remedy = f"{first.file}: {first.message}", first.hint or "correct the file"
        else:
            errors = sum(problem.severity == "error" for problem in problems)
            count = "1 problem" if errors == 1 else f"{errors} problems"
            message = "\n".join([f"the cluster file has {count}", *map(str, problems)])
            remedy = "correct the file and run `etcd-flows validate` on it"
        super().__init__(message, state="nothing was touched", remedy=remedy)
        self.problems = tuple(problems)


def format_path(path: KeyPath) -> str:
    """``("hosts", 1, "address")`` as ``hosts[1].address``; a key that does not look like one is not repeated."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if _SHOWABLE_KEY.fullmatch(part) else "(unreadable key)"
            text += f".{shown}" if text else shown
    return text


@dataclass
class Notes:
    """Collects problems while a file is read and turns text offsets into lines.

    Args:
        file: Name to print.
        text: The whole text that offsets refer to.
    """

    file: str
    text: str
    problems: list[Problem] = field(default_factory=list)
    _secrets: set[str] = field(default_factory=set, repr=False)
    _starts: list[int] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", self.text))]
        if len(self._starts) > 1 and self._starts[-1] >= len(self.text):
            self._starts.pop()  # what follows the last newline is not a line

    def add(
        self, offset: int, path: KeyPath, message: str, hint: str | None = None, severity: Severity = "error"
    ) -> None:
        """Note one problem at a text offset (counted in characters)."""
        line, column = self.position(offset)
        self.problems.append(Problem(self.file, line, column, format_path(path), message, hint, severity))

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, from 1, of a text offset; past the end counts as the last line."""
        line = bisect_right(self._starts, max(0, offset))
        return line, offset - self._starts[line - 1] + 1

    def hide(self, value: str) -> None:
        """Make sure that a value found in a secret's place is in no message, however it would get there."""
        if len(value.strip()) >= _SHORTEST_SCRUBBED:
            self._secrets.add(value.strip())

    @property
    def has_errors(self) -> bool:
        """Whether anything but warnings was noted."""
        return any(problem.severity == "error" for problem in self.problems)

    def collected(self) -> tuple[Problem, ...]:
        """All problems in the order of the file, each once, free of hidden values."""
        unique = dict.fromkeys(self._scrub(problem) for problem in self.problems)
        return tuple(sorted(unique, key=lambda problem: (problem.line or 0, problem.column or 0)))

    def _scrub(self, problem: Problem) -> Problem:
        key, message, hint = problem.key, problem.message, problem.hint
        for secret in sorted(self._secrets, key=len, reverse=True):
            key, message = key.replace(secret, "(hidden)"), message.replace(secret, "(hidden)")
            hint = hint.replace(secret, "(hidden)") if hint else hint
        return replace(problem, key=key, message=message, hint=hint)
