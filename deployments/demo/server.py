"""One local Prefect server for the whole demo, so that its start is paid for once and all runs stand in one UI."""

from __future__ import annotations

import os
import sys
import time

from deployments.demo.child import ChildServer
from deployments.local_prefect import answers
from deployments.prefect_server import BARE_SERVER, CHEAPER, FACTORY
from tasks.errors import EtcdFlowsError

_START_SECONDS = 180.0
_STOP_SECONDS = 10.0
_LOCAL = "localhost,127.0.0.1,127.0.0.2,127.0.0.3,127.0.0.4"


class PrefectServer(ChildServer):
    """A Prefect server; its folder holds its database and settings: nothing in ``~/.prefect`` is read or written."""

    def start(self) -> None:
        """Start it, and turn this process to it. To be called before Prefect is imported; does not wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._turn_to_it()
        words = [sys.executable, "-c", BARE_SERVER, *FACTORY]
        words += ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning"]
        self.spawn(words)

    def _turn_to_it(self) -> None:
        """Settings of another Prefect (a team's server, its key, its database) must not reach the demo, nor it them."""
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            del os.environ[name]
        os.environ |= {
            **CHEAPER,
            "PREFECT_HOME": str(self.folder),
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(self.folder / "ui"),  # the default is inside the Python package
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
            "DO_NOT_TRACK": "1",
        }
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, (os.environ.get(name), _LOCAL)))

    def wait(self) -> None:
        """Until it answers.

        Raises:
            EtcdFlowsError: It ended, or does not answer in three minutes.
        """
        until = time.monotonic() + _START_SECONDS
        while not answers(self.port):
            if self.pid is None or time.monotonic() > until:
                said = self.log.read_text(errors="replace").strip().splitlines()[-1:]
                raise EtcdFlowsError(
                    f"Prefect's local server did not start: {said[0] if said else 'it said nothing'}",
                    remedy=f"see {self.log}",
                )
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop it; its database goes away with the demo's directory, so it need not be asked for long."""
        if self._process is None:
            return
        if "prefect.logging.handlers" in sys.modules:
            from prefect.logging.handlers import APILogWorker

            APILogWorker.drain_all(timeout=5)  # else Prefect complains at exit that its server is gone
        self.end(_STOP_SECONDS)
