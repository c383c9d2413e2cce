"""Somebody who follows a page of the documentation: writes the files that it shows, types its commands.

What stands below ``<!-- tested -->`` can be typed anywhere, and tests/unit/test_readme.py does. What needs hosts or a
server stands below ``<!-- tested by FILE -->``: a test in that file follows it, and looks at the end whether anything
so marked was passed over.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.starter import STARTER

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_SERVES = "etcd-flows serve"
_TYPED = re.compile(r"^\$ ((?:[^\n]*\\\n)*[^\n]*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """What stands between two fences.

    Args:
        mark: What the comment right above it says; empty if there is none.
        language: As the fence names it.
    """

    mark: str
    language: str
    text: str

    @property
    def file(self) -> str:
        """Name of the file that this is; empty if it is none."""
        return self.mark.removeprefix("file: ") if self.mark.startswith("file: ") else ""

    @property
    def tester(self) -> str:
        """The file whose test types it; empty if none is named."""
        return self.mark.removeprefix("tested by ") if self.mark.startswith("tested by ") else ""

    @property
    def commands(self) -> list[str]:
        """What is typed: each line after a prompt, or a script as a whole."""
        return [self.text] if self.language == "bash" else _TYPED.findall(self.text)


def blocks(text: str) -> list[Block]:
    """All of a page or a chapter."""
    return [Block(each["mark"] or "", each["language"], each["text"]) for each in _BLOCK.finditer(text)]


def put_program(directory: Path) -> Path:
    """``etcd-flows``, as an installation would bring it; returns the file."""
    program = directory / "bin/etcd-flows"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m deployments.cli "$@"\n')
    program.chmod(0o755)
    return program


class Reader:
    """Of one page.

    Args:
        page: Path in the project.
        tester: The test's file, path in the project.
        here: Where commands are typed.
        environ: All that is in their environment.
    """

    def __init__(self, page: str, tester: str, here: Path, environ: Mapping[str, str]) -> None:
        self._page, self._text, self._tester = page, (ROOT / page).read_text(), tester
        self._here, self.environ = here, dict(environ)
        self._words: dict[str, str] = {}
        self._answers: dict[str, str] = {}
        self._typed: set[str] = set()
        self._serving: subprocess.Popen[bytes] | None = None

    def replace(self, old: str, new: str) -> None:
        """Something of the page is different for this reader."""
        self._words[old] = new

    def learn(self, old: str, pattern: str) -> None:
        """Something of the page becomes known by what a command prints: the pattern's group."""
        self._answers[old] = pattern

    def chapter(self, heading: str) -> list[Block]:
        """The blocks below a heading that begins so."""
        found = re.search(rf"^## {re.escape(heading)}.*?(?=^## |\Z)", self._text, re.MULTILINE | re.DOTALL)
        assert found, f"{self._page} has no chapter {heading!r}"
        return blocks(found[0])

    def follow(self, heading: str, then: Mapping[str, str] | None = None) -> str:
        """Every file and every command of a chapter that has our mark; each has to succeed.

        Args:
            then: What to type after some files were written, as the page says in words.

        Returns:
            What was printed.
        """
        said = ""
        for block in self.chapter(heading):
            if block.file:
                (self._here / block.file).write_text(self.mine(block.text))
                said += self.type((then or {}).get(block.file, "true"))
            elif block.mark == "tested" or block.tester == self._tester:
                said += "".join(self.type(command) for command in block.commands)
        return said

    def type(self, *commands: str) -> str:
        """In one shell; the output, of both kinds. What serves goes on in a terminal of its own until :meth:`leave`."""
        self._typed.update(commands)
        command = self.mine("\n".join(commands))
        if command.endswith(_SERVES):
            return self._serve(command)
        done = self._run(command)
        said = done.stdout + (done.stderr or "")
        assert done.returncode == 0, f"{self._page}: {command}: {said}"
        for old, pattern in self._answers.items():
            for found in re.findall(pattern, said):
                self.replace(old, found)
        return said

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        if command.startswith("etcd-flows ") and not set(command) & set("|&;<>$`\\\n"):  # needs no shell
            words = shlex.split(command, comments=True)[1:]
            return STARTER.run([sys.executable, "-m", "deployments.cli", *words], self._here, self.environ)
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self._here,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )

    def _serve(self, command: str) -> str:
        terminal = self._here / "terminal"
        with terminal.open("wb") as out:
            self._serving = subprocess.Popen(
                ["bash", "-c", f"exec env {command}"],
                cwd=self._here,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        until = time.monotonic() + 300
        while "a worker runs" not in terminal.read_text():
            assert self._serving.poll() is None, terminal.read_text()
            assert time.monotonic() < until, terminal.read_text()
            time.sleep(0.2)
        return terminal.read_text()

    def leave(self) -> int:
        """Ctrl-C where it serves; its exit code, 0 if nothing serves."""
        if not self._serving:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._serving.pid, signal.SIGINT)
        return self._serving.wait(120)

    def mine(self, text: str) -> str:
        """What this reader writes where the page says so."""
        for old, new in self._words.items():
            text = text.replace(old, new)
        return text

    def passed_over(self) -> list[str]:
        """What is marked as tested by us, and was not typed."""
        marked = [block for block in blocks(self._text) if block.tester == self._tester]
        return [command for block in marked for command in block.commands if command not in self._typed]
