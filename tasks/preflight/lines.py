"""What the scripts of this room print: a key and fields, separated by tabs; free text is in base64."""

from __future__ import annotations

import base64

from tasks.errors import CommandFailed, HostError


class Lines:
    """A script's output, by key."""

    def __init__(self, host: str, stdout: bytes) -> None:
        self._host = host
        self._rows: dict[str, list[list[str]]] = {}
        for line in stdout.decode("ascii", errors="replace").splitlines():
            key, *fields = line.split("\t")
            self._rows.setdefault(key, []).append(fields)

    def rows(self, key: str, fields: int) -> list[list[str]]:
        """All lines of that key.

        Raises:
            CommandFailed: One of them has another number of fields.
        """
        found = self._rows.get(key, [])
        if any(len(row) != fields for row in found):
            raise self.damaged()
        return found

    def first(self, key: str) -> str | None:
        """The only field of the first line of that key, None if there is none."""
        rows = self.rows(key, 1)
        return rows[0][0].strip() if rows else None

    def text(self, field: str) -> str:
        """A field that is in base64."""
        try:
            return base64.b64decode(field, validate=True).decode(errors="replace")
        except ValueError as error:
            raise self.damaged() from error

    def number(self, field: str) -> int:
        """A field that is a number."""
        try:
            return int(field)
        except ValueError as error:
            raise self.damaged() from error

    def damaged(self) -> HostError:
        """The error for output that is not what the script prints."""
        return CommandFailed(
            "what the host said in the preflight is damaged or incomplete",
            host=self._host,
            state="nothing was changed",
            remedy="run again; if it happens again, see whether coreutils on the host are complete",
        )
