"""Cluster files to test with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.cluster.load import ClusterFileError, Loaded, Problem, parse_cluster
from tasks.cluster.spec import Cluster

EXAMPLES = Path(__file__).parents[3] / "deployments" / "clusters"
FILE = Path("/srv/clusters/prod-a.yaml")
ENVIRON = {"HOME": "/home/ops"}
MINIMAL = """\
name: prod-a
hosts:
  - {name: etcd-01, address: 10.0.0.11}
  - {name: etcd-02, address: 10.0.0.12}
  - {name: etcd-03, address: 10.0.0.13}
"""


def parse(text: str | bytes, environ: dict[str, str] | None = None) -> Loaded:
    data = text.encode() if isinstance(text, str) else text
    return parse_cluster(data, FILE, {**ENVIRON, **(environ or {})})


def cluster(text: str, environ: dict[str, str] | None = None) -> Cluster:
    return parse(text, environ).cluster


def problems(text: str | bytes, environ: dict[str, str] | None = None) -> tuple[Problem, ...]:
    """What a file is refused for."""
    with pytest.raises(ClusterFileError) as caught:
        parse(text, environ)
    return caught.value.problems


def with_hosts(*hosts: str, rest: str = "") -> str:
    return "name: prod-a\nhosts:\n" + "".join(f"  - {{{host}}}\n" for host in hosts) + rest
