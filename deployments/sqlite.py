"""SQLite with more than one writer: for the servers that we start, which keep Prefect's database in a file.

Prefect begins its transactions as readers ("deferred"). One that goes on to write after another one has written fails
at once with "database is locked": what it has read is old, so the busy timeout, which is set, does not apply (SQLite's
SQLITE_BUSY_SNAPSHOT). Runs get a 503 and wait for seconds, automations lose events. Begun as a writer, a transaction
waits for its turn. Four processes with three runs of 30 tasks each, all at once on two cores: 48 such errors and 109
seconds of runs before, none and 34 seconds with it.

And Prefect's server stands still for a minute now and then (seen with Python 3.11.7, aiosqlite 0.22.1 and Prefect
3.8.8; stacks by py-spy). A statement fails, and its cursor stays in the traceback's cycle of references. When Python's
collector comes to it, in the event loop's thread, SQLite is asked to reset the statement, and waits for the
connection's mutex. If that connection serves somebody else by then, who waits for his turn to write in his own thread,
and whose turn it is waits for the event loop, then nothing moves until SQLite's timeout: no request is answered, events
and heartbeats are lost. Eight writers in one process did 6 transactions in 75 s so, and 826 in 12 s with cursors closed
as soon as they fail.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import sqlalchemy
from aiosqlite import Cursor
from sqlalchemy import event


def begin_at_once() -> None:
    """To be called in the server's process, before it opens its database."""
    event.listen(sqlalchemy.Engine, "before_cursor_execute", _at_once, retval=True)


def _at_once(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _executemany: bool
) -> tuple[str, Any]:
    return "BEGIN IMMEDIATE" if statement == "BEGIN DEFERRED" else statement, parameters


def close_what_fails() -> None:
    """Have cursors closed when a statement of theirs fails or is given up, in their connection's own thread."""
    execute: Callable[..., Any] | None = getattr(Cursor, "_execute", None)
    if execute is None:
        return  # another version, without what is mended here: the server is worth as much as Prefect's own

    async def execute_or_close(self: Cursor, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return await execute(self, function, *args, **kwargs)
        except BaseException:
            with contextlib.suppress(AttributeError):
                self._conn._tx.put_nowait((None, self._cursor.close))  # nobody waits for it
            raise

    Cursor._execute = execute_or_close  # type: ignore[method-assign,assignment]
