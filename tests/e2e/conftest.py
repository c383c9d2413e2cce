"""A real Prefect server for all end-to-end tests of a run, and the product as its users have it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments.prefect_server import CHEAPER, SERVER
from tests.e2e.product import Product
from tests.lab.lab import Lab

START_SECONDS = 180  # a fresh database is migrated first: about 20 s on two free cores
#: What looks after deployments, schedules and automations: there are none where every run is a command line's.
IDLE = ("SCHEDULER", "LATE_RUNS", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "FOREMAN", "TRIGGERS", "REPOSSESSOR")

MakeProduct = Callable[[], Product]


class PrefectServer:
    """A running server.

    Args:
        url: Of its API.
        home: Its PREFECT_HOME, with the database.
        settings: Further environment variables of it.
    """

    def __init__(self, home: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.home = home
        self.url = f"http://127.0.0.1:{port}/api"
        self.log = home / "server.log"
        environ = {**CHEAPER, **os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        environ.pop("PREFECT_API_URL", None)
        self._environ = environ | settings
        self._argv = [sys.executable, "-c", SERVER, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        self.start()

    def start(self) -> None:
        """Start it, for the first time or again, on the same port and database; does not wait."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv, env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    def wait_ready(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.log.read_text()[-2000:]
            with (
                contextlib.suppress(urllib.error.URLError, OSError),
                urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer,  # noqa: S310 - our own URL
            ):
                assert answer.status == 200
                return
            time.sleep(0.2)
        pytest.fail(f"Prefect's server did not answer within {START_SECONDS} s: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """As if its machine had lost its power."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)

    def stop(self) -> None:
        """End it and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture(scope="session")
def prefect_server(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server on loopback, in the lab's network namespace."""
    without = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in IDLE}
    server = PrefectServer(tmp_path_factory.mktemp("prefect"), **without)
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def make_product(
    lab: Lab, prefect_server: PrefectServer, etcd_release_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> MakeProduct:
    """``make_product()``: an operator with an empty home directory, whose runs are recorded by the Prefect server."""
    cache = tmp_path_factory.mktemp("cache")

    def make() -> Product:
        home = tmp_path_factory.mktemp("operator")
        environ = {"PREFECT_API_URL": prefect_server.url, "PREFECT_HOME": str(home / "prefect")}
        return Product(lab, home, etcd_release_dir, cache, environ)

    return make


@pytest.fixture
def product(make_product: MakeProduct) -> Product:
    """An operator for one test."""
    return make_product()
