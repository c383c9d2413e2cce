"""What the demo prints: plain text of at most 96 columns, colours only on a terminal."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from tasks.reporting.progress import Event, line

WIDTH = 96
_COLOURS = {"phase": "cyan", "done": "green", "failed": "red", "warning": "yellow"}
_TICK = 10.0  # seconds between signs of life where there is no terminal


class Screen:
    """Standard output. Nothing is held back, so that a pipe sees every line when it happens."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = self.live and "NO_COLOR" not in os.environ
        self._warned: set[str] = set()

    def raw(self, text: str = "", *, fg: str | None = None, bold: bool = False, indent: str = "") -> None:
        """Text as it is: tables, files."""
        text = textwrap.indent(text, indent)
        click.echo(click.style(text, fg=fg, bold=bold) if self._colours and (fg or bold) else text)
        sys.stdout.flush()

    def say(self, text: str = "", *, fg: str | None = None, bold: bool = False, indent: str = "") -> None:
        """Text for people; long lines are broken and keep their indentation."""
        for row in text.splitlines() or [""]:
            margin = indent + row[: len(row) - len(row.lstrip())]
            pieces = textwrap.wrap(
                row.strip(),
                WIDTH,
                initial_indent=margin,
                subsequent_indent=margin + "  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            self.raw("\n".join(pieces), fg=fg, bold=bold)

    def heading(self, text: str) -> None:
        """Begin of an act."""
        self.raw()
        self.raw(f"{text} ".ljust(WIDTH, "-"), bold=True)

    def command(self, words: str) -> None:
        """The command that a user would type for what comes now."""
        self.raw(f"$ etcd-flows {words}", fg="cyan")

    def outcome(self, text: str) -> None:
        """How an act ended."""
        self.say(f"=> {text}", fg="green", bold=True)

    def event(self, event: Event) -> None:
        """Progress of a flow, each warning once; a listener for :mod:`tasks.reporting.progress`."""
        if event.kind == "start" or event.text in self._warned:
            return
        if event.kind == "warning":
            self._warned.add(event.text)
        self.say(line(event), fg=_COLOURS.get(event.kind))

    def warning(self, text: str) -> None:
        """A warning of the cluster file; it is not said again by the flows."""
        self._warned.add(text)
        self.say(text, fg="yellow")

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that time passes while the block runs."""
        began = time.monotonic()
        over = threading.Event()

        def tick() -> None:
            while not over.wait(1.0 if self.live else _TICK):
                passed = f"   {text} ... {time.monotonic() - began:.0f} s"
                click.echo(f"\r{passed}" if self.live else passed, nl=not self.live)

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield
        finally:
            over.set()
            ticker.join()
            if self.live:
                click.echo(f"\r{' ' * WIDTH}\r", nl=False)
