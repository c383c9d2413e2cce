"""A process killed at every stage of a backup into a store: nothing half-made is listed, the sweep takes the rest."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.directory import DirectoryStore
from tests.component.snapshots import stages
from tests.component.snapshots.stages import DATA, MANIFEST, PART
from tests.s3.server import S3Server

WHOLE = b"".join(bytes([number]) * PART for number in range(3)) + b"end"


_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload([stages.__name__])


@contextmanager
def writer(told: dict[str, Any]) -> Iterator[tuple[Connection, Any]]:
    ours, theirs = _fork.Pipe()
    process = _fork.Process(target=stages.write, args=(theirs, told))
    process.start()
    theirs.close()
    try:
        yield ours, process
    finally:
        process.kill()
        process.join()


def stages_of(told: dict[str, Any]) -> list[str]:
    """All stages, in order; runs to the end."""
    found = []
    with writer(told) as (connection, process):
        with suppress(EOFError):
            while True:
                found.append(connection.recv())
                connection.send("go on")
        process.join()
        assert process.exitcode == 0
    return found


def killed_at(told: dict[str, Any], number: int) -> str:
    """The stage with that number, at which the writer was killed (SIGKILL)."""
    with writer(told) as (connection, _):
        for _ in range(number):
            connection.recv()
            connection.send("go on")
        return str(connection.recv())


def judge(store: Store, stage: str) -> None:
    """What the next run finds after a kill: whole objects only, in the order of writing."""
    listed = {entry.key: entry.bytes for entry in store.list("")}
    assert set(listed) <= {DATA, MANIFEST}, stage
    if DATA in listed:
        assert b"".join(store.read(DATA)) == WHOLE, stage
    if MANIFEST in listed:
        assert store.get(MANIFEST) == b"{}", stage
        assert DATA in listed, stage
    assert store.sweep(datetime.now(UTC) - timedelta(hours=1)) == (), stage
    store.sweep(datetime.now(UTC) + timedelta(hours=1))
    assert store.sweep(datetime.now(UTC) + timedelta(hours=1)) == (), stage
    assert {entry.key: entry.bytes for entry in store.list("")} == listed, stage


def test_directory(tmp_path: Path) -> None:
    def told(name: str) -> dict[str, Any]:
        return {"directory": str(tmp_path / name)}

    wanted = stages_of(told("whole"))
    assert {"before rename", "after rename", "before fsync", "before link", "after reading back"} <= set(wanted)
    seen = []
    for number in range(len(wanted)):
        seen.append(killed_at(told(f"killed-{number}"), number))
        judge(DirectoryStore("local", tmp_path / f"killed-{number}", "prod-a"), f"{number}: {seen[-1]}")
        left = [path for path in (tmp_path / f"killed-{number}").rglob("*") if path.is_file()]
        assert all(path.name in ("snapshot.db", "1.json") for path in left), (seen[-1], left)
    assert seen == wanted


def test_s3(s3_server: S3Server) -> None:
    def told(bucket: str) -> dict[str, Any]:
        s3 = {"bucket": bucket, "endpoint": s3_server.tls_endpoint, "ca": s3_server.ca}
        return {"s3": s3, "keys": (s3_server.owner.access_key, s3_server.owner.secret_key)}

    wanted = stages_of(told(s3_server.make_bucket()))
    assert {"after create_multipart_upload", "before complete_multipart_upload", "after put_object"} <= set(wanted)
    seen = []
    for number in range(len(wanted)):
        bucket = s3_server.make_bucket()
        seen.append(killed_at(told(bucket), number))
        judge(s3_server.store(bucket), f"{number}: {seen[-1]}")
        raw = s3_server.client()
        assert "Uploads" not in raw.list_multipart_uploads(Bucket=bucket), seen[-1]
        names = {found["Key"] for found in raw.list_objects_v2(Bucket=bucket).get("Contents", ())}
        assert names <= {f"prod-a/{DATA}", f"prod-a/{MANIFEST}"}, seen[-1]
    assert seen == wanted
