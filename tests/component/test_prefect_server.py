"""The versions that were pinned really work together: a server starts, and a flow of ours is recorded by it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.component

START_SECONDS = 180  # a fresh database is migrated first: about 20 s on two free cores

RECORD = """
from prefect import flow, task
from prefect.client.orchestration import get_client

@task
def step() -> int:
    return 41

@flow
def recorded() -> int:
    return step.submit().result() + 1

assert recorded() == 42
with get_client(sync_client=True) as client:
    runs = client.read_flow_runs()
assert [run.state.type.value for run in runs] == ["COMPLETED"], runs
"""

# Two at once: each reads, then writes.
WRITERS = """
import asyncio, sys
import sqlalchemy
from prefect.server.database.configurations import AioSqliteConfiguration
from deployments.sqlite import begin_at_once

async def write(config, engine):
    async with await config.session(engine) as session:
        async with config.begin_transaction(session):
            (count,) = (await session.execute(sqlalchemy.text("SELECT count(*) FROM written"))).one()
            await asyncio.sleep(0.5)
            await session.execute(sqlalchemy.text(f"INSERT INTO written VALUES ({count})"))

async def main(config):
    engine = await config.engine()
    async with engine.begin() as connection:
        await connection.execute(sqlalchemy.text("CREATE TABLE written (number INTEGER)"))
    ended = await asyncio.gather(write(config, engine), write(config, engine), return_exceptions=True)
    for error in ended:
        print(type(error).__name__)
    async with engine.connect() as connection:
        print((await connection.execute(sqlalchemy.text("SELECT number FROM written"))).all())

if sys.argv[2] == "at once":
    begin_at_once()
asyncio.run(main(AioSqliteConfiguration(f"sqlite+aiosqlite:///{sys.argv[1]}")))
"""

BLOCK = """
from prefect.blocks.system import Secret
from flows.secret_blocks import read_block
from tasks.errors import InputError

Secret(value="Canary").save("etcd-sudo")
assert read_block("secret/etcd-sudo") == read_block("etcd-sudo") == "Canary"
for name in ("secret/no-such-block", "webhook/etcd-sudo"):
    try:
        read_block(name)
    except InputError as error:
        assert "Canary" not in str(error)
    else:
        raise AssertionError(name)
"""

FILE = """\
name: prod-a
hosts: [{name: etcd-01, address: 192.0.2.11}]
ssh: {user: ops, password: block:secret/etcd-sudo, sudo_password: block:secret/no-such-block}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    env = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    log = (home / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=env,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}/api"
    try:
        _wait(f"{url}/health", process, home / "server.log")
        yield {**env, "PREFECT_API_URL": url}
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own URL
                assert answer.status == 200
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"no answer within {START_SECONDS} s: {log.read_text()[-2000:]}")


def test_a_server_starts_and_records_a_flow(server: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RECORD], env=server, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("as Prefect does", ["NoneType", "OperationalError", "[(0,)]"]),
        ("at once", ["NoneType", "NoneType", "[(0,), (1,)]"]),
    ],
)
def test_two_write_at_once_into_sqlite(how: str, said: list[str], tmp_path: Path) -> None:
    """Should Prefect's own way be as good one day, deployments/sqlite.py is not needed any more."""
    words = [sys.executable, "-c", WRITERS, str(tmp_path / "written.db"), how]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    printed = done.stdout.splitlines()
    assert [*sorted(printed[:2]), *printed[2:]] == said, done.stderr[-2000:]


def test_a_secret_is_read_from_its_block(server: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK], env=server, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_doctor_asks_the_api(server: dict[str, str], tmp_path: Path) -> None:
    """After the test above: one of the two blocks is there."""
    file = tmp_path / "prod-a.yaml"
    file.write_text(FILE)
    words = [sys.executable, "-m", "deployments.cli", "doctor", str(file), "--json"]
    done = subprocess.run(words, env=server, capture_output=True, text=True, timeout=120, check=False)
    found = json.loads(done.stdout)["findings"]
    told = [(each["level"], each["text"]) for each in found if each["check"] == "prefect api"]
    assert [level for level, _ in told] == ["warning", "ok"] or [level for level, _ in told] == ["ok", "warning"], told
    assert any("asks for no password" in text for _, text in told)
    missing = [each["text"] for each in found if each["check"] == "secrets"]
    assert len(missing) == 1
    assert "block:secret/no-such-block" in missing[0]
    assert "Canary" not in done.stdout
