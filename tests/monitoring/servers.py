"""A real Prometheus on loopback."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.component.etcd.conftest import free_ports
from tests.monitoring.programs import program


@dataclass
class Prometheus:
    """A running server, asked by its HTTP API."""

    url: str
    log: Path

    def get(self, path: str, **query: str) -> Any:
        """The data of an answer of ``/api/v1``."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own URL
            return json.load(answer)["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        found: list[dict[str, Any]] = self.get("query", query=expr)["result"]
        return found

    def alerts(self) -> set[tuple[str, str]]:
        """Names and states of alerts."""
        return {(alert["labels"]["alertname"], alert["state"]) for alert in self.get("alerts")["alerts"]}

    def eventually(self, what: Callable[[], bool], seconds: float = 40) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"{self.get('alerts')} {self.get('targets')} {self.log.read_text()[-2000:]}"
            time.sleep(0.2)


@contextlib.contextmanager
def _running(argv: list[str], url: str, log: Path, folder: Path) -> Iterator[None]:
    """A process, from when it answers at a URL."""
    with log.open("wb") as file:
        process = subprocess.Popen(argv, stdout=file, stderr=file, cwd=folder)
    try:
        end = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()[-2000:]
            with (
                contextlib.suppress(urllib.error.URLError, OSError),
                urllib.request.urlopen(url, timeout=5) as answer,  # noqa: S310 - our own URL
            ):
                assert answer.status == 200
                break
            assert time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def prometheus(folder: Path, config: str) -> Iterator[Prometheus]:
    """One with this configuration, written to ``folder``; relative paths in it begin there."""
    (port,) = free_ports(1)
    (folder / "prometheus.yml").write_text(config)
    argv = [
        str(program("prometheus")),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    server = Prometheus(f"http://127.0.0.1:{port}", folder / "prometheus.log")
    with _running(argv, f"{server.url}/-/ready", server.log, folder):
        yield server


@contextlib.contextmanager
def node_exporter(folder: Path, textfiles: Path, port: int) -> Iterator[None]:
    """One that reads a directory of text files, besides all else; its log is in ``folder``."""
    argv = [
        str(program("prometheus-node-exporter")),
        f"--collector.textfile.directory={textfiles}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with _running(argv, f"http://127.0.0.1:{port}/metrics", folder / "node-exporter.log", folder):
        yield
