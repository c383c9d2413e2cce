"""A Prefect server, and a cluster on loopback for a module's tests."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from deployments.prefect_server import SERVER_SETTINGS
from tests.component.restore.deployed import Deployed
from tests.conftest import NOT_RUN
from tests.e2e.conftest import PrefectServer
from tests.lab.releases import VERSIONS
from tests.loopback import NAMES, Loopback, loopback


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """Its API is at ``server.url``."""
    if find_spec("supervisor") is None:
        pytest.skip(f"{NOT_RUN}the extra [demo] is not installed")
    made = PrefectServer(tmp_path_factory.mktemp("prefect"), **SERVER_SETTINGS)
    try:
        made.wait_ready()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def members(server: PrefectServer, etcd_release_dir: Path) -> Iterator[Loopback]:
    """Three members; what they run is recorded by the server."""
    environ = {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(server.home / "client")}
    with loopback(etcd_release_dir, VERSIONS[0], environ) as made:
        yield made


@pytest.fixture(scope="module")
def deployed(server: PrefectServer, members: Loopback) -> Iterator[Deployed]:
    """The cluster's deployments with a worker; ``kept`` is ``before`` in the newest snapshot, and ``after`` now."""
    members.ctl(NAMES[0], "put kept before")
    members.run("snapshot-backup")
    members.ctl(NAMES[0], "put kept after")
    made = Deployed(server, members)
    made.start_worker()
    try:
        yield made
    finally:
        made.stop()
