"""Prefect's server on SQLite does not freeze when a statement has failed."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from pathlib import Path

import aiosqlite
import pytest

from deployments.sqlite import close_what_fails

pytestmark = pytest.mark.component


async def a_waiting_writer_gets_the_lock(path: Path) -> None:
    """While it waits, a cursor of its connection goes away whose statement has failed; then the lock is given back."""
    async with (
        aiosqlite.connect(path, isolation_level=None) as holder,
        aiosqlite.connect(path, isolation_level=None, timeout=20) as waiter,
    ):
        await holder.execute("PRAGMA journal_mode = WAL")
        await holder.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY)")
        await waiter.execute("BEGIN DEFERRED")
        await (await waiter.execute("SELECT count(*) FROM runs")).fetchall()
        await holder.execute("INSERT INTO runs DEFAULT VALUES")
        failing = await waiter.cursor()
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            await failing.execute("INSERT INTO runs DEFAULT VALUES")  # what was read is old
        await waiter.rollback()
        await holder.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(waiter.execute("BEGIN IMMEDIATE"))
        await asyncio.sleep(1)  # it waits in its thread
        del failing
        gc.collect()
        await holder.commit()
        await waiting


def test_what_failed_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiosqlite.Cursor, "_execute", aiosqlite.Cursor._execute)  # as it was, after the test
    close_what_fails()
    asyncio.run(a_waiting_writer_gets_the_lock(tmp_path / "prefect.db"))
