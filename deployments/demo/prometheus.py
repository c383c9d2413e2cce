"""A real Prometheus beside the demo, where this machine has one: it watches the story, by the files that we write."""

from __future__ import annotations

import http.client
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from deployments.demo.child import ChildServer
from deployments.monitoring_files import write
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, InputError
from tasks.monitoring.scrape import files

_PROGRAM = "prometheus"
#: Where it is unpacked to, by people and by enable-monitoring, besides what is in PATH.
_PLACES = ("/usr/local/bin", "/usr/bin", "/usr/sbin", "/opt/bin", "/opt/prometheus*", "/opt/etcd-flows/prometheus-*")
_STOP_SECONDS = 5.0
_ANSWER_SECONDS = 10.0


def find(given: Path | None) -> Path | None:
    """The program: the one that was given, else from PATH, else from where it usually is; None if it is nowhere.

    Raises:
        InputError: What was given is no program.
    """
    if given is not None:
        if not _runs(given):
            raise InputError(f"--prometheus {given} is no program", remedy="give the path of prometheus itself")
        return given.resolve()
    inside = shutil.which(_PROGRAM)
    return Path(inside) if inside else next(filter(_runs, _usual()), None)


def _usual() -> Iterator[Path]:
    for place in _PLACES:
        for folder in sorted(Path("/").glob(place.lstrip("/")), reverse=True):
            yield folder / _PROGRAM


def _runs(program: Path) -> bool:
    return program.is_file() and os.access(program, os.X_OK)


class Prometheus(ChildServer):
    """One of the demo's own; its folder holds its configuration and data.

    Args:
        program: Its path.
    """

    def __init__(self, program: Path, folder: Path, log: Path) -> None:
        super().__init__(folder, log)
        self.program = program

    def start(self, cluster: Cluster) -> None:
        """Start it with the cluster's targets and alert rules; does not wait."""
        written = files(cluster)
        write(self.folder, written)
        # What is named *.scrape.yml is put into the main file: so an older Prometheus can be used here, too.
        jobs = [job for name, text in written.items() if name.endswith(".scrape.yml") for job in _jobs(text)]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["*.rules.yml"],
            "scrape_configs": jobs,
        }
        main = self.folder / "prometheus.yml"
        main.write_text(yaml.safe_dump(config))
        words = [str(self.program), f"--config.file={main}", f"--storage.tsdb.path={self.folder / 'data'}"]
        words += [f"--web.listen-address=127.0.0.1:{self.port}"]
        self.spawn(words)

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Series and their values now."""
        return self._ask("query", query=expr)

    def series(self, expr: str, begin: float, end: float, step: float) -> list[float]:
        """The values of the only series of an expression over time, without those that are missing."""
        found = self._ask("query_range", query=expr, start=f"{begin}", end=f"{end}", step=f"{step}")
        return [float(value) for _, value in found[0]["values"]] if found else []

    def _ask(self, path: str, **words: str) -> list[dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", f"/api/v1/{path}?{urlencode(words)}")
            answer = json.loads(connection.getresponse().read())
            found: list[dict[str, Any]] = answer["data"]["result"]
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            raise EtcdFlowsError(f"Prometheus does not answer: {error!r}", remedy=f"see {self.log}") from error
        finally:
            connection.close()
        return found

    def stop(self) -> None:
        """Stop it."""
        self.end(_STOP_SECONDS)


def _jobs(text: str) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = yaml.safe_load(text)["scrape_configs"]
    return jobs
