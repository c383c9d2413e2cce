"""A Prefect server for as long as one command line runs, where none is configured or the configured one is dead.

Prefect can do that itself, but then imports the whole server into the process that only wants to talk to it: 75 MB of
memory, and two seconds before the server's own start begins. And its server stays behind when the run is killed.
"""

from __future__ import annotations

import atexit
import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import click

from deployments.prefect_server import BARE_SERVER, CHEAPER, FACTORY
from deployments.tied import tied
from tasks.errors import EtcdFlowsError

_STOP_SECONDS = 5.0
_ASK_EVERY = 0.1  # seconds
_LEAST = 1 << 20  # bytes that its database takes at its first start


class LocalPrefect:
    """Starts at once; it has to be waited for.

    Args:
        settings: Environment of Prefect's settings beside this process's own.
        port: On loopback.
    """

    def __init__(self, settings: Mapping[str, str], port: int) -> None:
        self._port = port
        words = [*tied(BARE_SERVER), *FACTORY, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
        # As Prefect has them for its own: no UI, and nothing that outlives the run.
        ours = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
        environment = {**CHEAPER, **os.environ, **settings, **ours}
        environment.pop("PREFECT_API_URL", None)
        # A session of its own: it outlives Ctrl-C on the terminal, so that the run can end in order.
        self._process = subprocess.Popen(  # noqa: S603 - our own Python
            words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Its API."""
        return f"http://127.0.0.1:{self._port}/api"

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait(self, seconds: float) -> None:
        """Until it answers.

        Raises:
            EtcdFlowsError: It ended, or does not answer in time.
        """
        until = time.monotonic() + seconds
        while not answers(self._port):
            if not self.alive or time.monotonic() > until:
                how = "does not answer" if self.alive else f"ended with exit code {self._process.returncode}"
                raise EtcdFlowsError(
                    f"the local Prefect server {how}",
                    state="the run was not begun",
                    remedy="see what it said above; is there room for its database in PREFECT_HOME (~/.prefect)?",
                )
            time.sleep(_ASK_EVERY)

    def stop(self) -> None:
        """Stop it. Not waited for long: its database survives a kill."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@cache
def local_prefect() -> LocalPrefect:
    """The one of this process, started with the first call and stopped at the end of the process.

    To be called before a flow is imported: what Prefect still has to tell the server is sent at the end of the process
    too, and the ends come in the reverse order.
    """
    from prefect.settings import get_current_settings

    found = get_current_settings()
    settings = found.to_environment_variables(exclude_unset=True)
    if not _writable(found.home):
        scratch = tempfile.mkdtemp(prefix="etcd-flows-prefect-")
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)  # after the server's end, which is registered later
        click.echo(f"{found.home} can't be written to: what the local Prefect keeps ends with this run", err=True)
        settings["PREFECT_HOME"] = scratch
    server = LocalPrefect(settings, free_port())
    atexit.register(server.stop)
    return server


def _writable(home: Path) -> bool:
    """Whether Prefect's directory can be made and written to: a home may be absent, read-only or full."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home, buffering=0) as file:
            return file.write(bytes(_LEAST)) == _LEAST
    except OSError:
        return False


def answers(port: int) -> bool:
    """Whether a Prefect server on a port of loopback is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A port of loopback that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
