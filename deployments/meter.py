"""How far something long is, on the terminal: one line that is written over, or a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from tasks.reporting.human import duration, size

_EVERY_TERMINAL, _EVERY_LOG = 0.2, 10.0


class Meter:
    """Shows how much is done, rate and time left on stderr.

    Args:
        what: What is going on, in two or three words.
        quiet: Show nothing.
        amount: Words for how much; bytes unless told otherwise.
    """

    def __init__(self, what: str, *, quiet: bool = False, amount: Callable[[float], str] = size) -> None:
        self._what = what
        self._amount = amount
        self._terminal = sys.stderr.isatty()
        self._quiet = quiet
        self._began = 0.0
        self._shown = 0.0
        self._width = 0

    def __call__(self, done: int, total: int) -> None:
        """So much of so much."""
        now = time.monotonic()
        if not self._began:
            self._began = now
            self._shown = 0.0 if self._terminal else now
        if self._quiet or now - self._shown < (_EVERY_TERMINAL if self._terminal else _EVERY_LOG):
            return
        self._shown = now
        rate = done / max(now - self._began, 1e-6)
        left = f", {duration((total - done) / rate)} left" if rate and done < total else ""
        text = f"{self._what}: {self._amount(done)} of {self._amount(total)}, {self._amount(rate)}/s{left}"
        if self._terminal:
            click.echo("\r" + text.ljust(self._width), err=True, nl=False)
            self._width = len(text)
        else:
            click.echo(text, err=True)

    def end(self) -> None:
        """Leave the line empty for what comes next, and begin anew with that."""
        self._began = 0.0
        if self._width:
            click.echo("\r" + " " * self._width + "\r", err=True, nl=False)
            self._width = 0
