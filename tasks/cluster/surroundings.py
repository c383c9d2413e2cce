"""Where the cluster file lies and what its relative paths and ``~`` stand for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.cluster.spec import SecretRef


@dataclass(frozen=True)
class Surroundings:
    """What paths in the file depend on.

    Args:
        directory: Of the cluster file; relative paths start there.
        environ: For HOME and XDG_STATE_HOME.
    """

    directory: Path
    environ: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The home directory: $HOME as shells have it, else the one in the user database."""
        return Path(self.environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - Path.home() may raise

    def path(self, text: str) -> Path:
        """An absolute path on the worker; ``~`` expanded, ``..`` folded, links left alone."""
        if text == "~" or text.startswith("~/"):
            return self.home / text[2:]
        expanded = os.path.expanduser(text)  # noqa: PTH111 - unknown users must not raise
        return Path(os.path.abspath(self.directory / expanded))  # noqa: PTH100 - Path.absolute keeps ..

    def secret(self, text: str | None) -> SecretRef | None:
        """A reference; files as absolute paths."""
        if text is None:
            return None
        kind, _, name = text.partition(":")
        if kind == "file":
            return SecretRef("file", str(self.path(name)))
        return SecretRef("env" if kind == "env" else "block", name)

    def optional_path(self, text: str | None) -> Path | None:
        """As :meth:`path`, for keys that may be left out."""
        return None if text is None else self.path(text)

    @property
    def state_home(self) -> Path:
        """XDG base directory specification 0.8: a relative $XDG_STATE_HOME is ignored."""
        given = self.environ.get("XDG_STATE_HOME", "")
        return Path(given) if given.startswith("/") else self.home / ".local" / "state"
