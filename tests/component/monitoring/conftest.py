"""A cluster on loopback, its flows, a node_exporter, and a Prometheus that is configured by what we write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from deployments.monitoring_files import write
from tasks.monitoring.scrape import files
from tests.component.etcd.conftest import free_ports
from tests.component.restore.conftest import server
from tests.e2e.conftest import PrefectServer
from tests.lab.releases import VERSIONS
from tests.loopback import Loopback, loopback
from tests.monitoring.servers import Prometheus, node_exporter, prometheus

__all__ = ["server"]

#: Seconds that the newest backup may be old.
AGE = 30
_MORE = """\
drill: {{rto: 5m}}
monitoring:
  metrics: {{detail: extensive}}
  textfile_directory: ./textfiles
  textfile_target: 127.0.0.1:{port}
  alerts: {{backup_age: {age}m}}
"""


@dataclass
class Told:
    """A cluster whose flows tell Prometheus what they know."""

    members: Loopback
    prometheus: Prometheus

    @property
    def file(self) -> Path:
        """What the flows write."""
        return self.members.root / "textfiles" / "etcd_flows_demo.prom"


@pytest.fixture(scope="module")
def told(server: PrefectServer, etcd_release_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Nothing has run yet but the bootstrap."""
    environ = {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(server.home / "client")}
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("prometheus")
    more = _MORE.format(port=port, age=AGE / 60)
    with loopback(etcd_release_dir, VERSIONS[0], environ, more) as members:
        textfiles = members.root / "textfiles"
        textfiles.mkdir()
        write(folder / "etcd", files(members.spec))
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["etcd/*.rules.yml"],
            "scrape_config_files": ["etcd/*.scrape.yml"],
        }
        with node_exporter(folder, textfiles, port), prometheus(folder, yaml.safe_dump(config)) as running:
            yield Told(members, running)
