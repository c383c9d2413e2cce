"""With a Prefect server runs are on record there; without one, or with a dead one, the work is done all the same."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.conftest import PrefectServer
from tests.e2e.product import Product, assert_healthy
from tests.lab.hosts import LabHost


def ask(server: PrefectServer, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Read from Prefect's API."""
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{server.url}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        found: list[dict[str, Any]] = json.load(answer)
    return found


def test_with_and_without_a_server(
    fresh_hosts: Callable[[int], list[LabHost]], product: Product, prefect_server: PrefectServer
) -> None:
    (host,) = fresh_hosts(1)
    product.describe([host], name="recorded-7")
    program = shutil.which("etcd-flows", path=str(Path(sys.executable).parent))
    assert program, "the console script is installed beside Python"

    recorded = product.bootstrap("--plan", program=(program,))
    assert "not in a shared UI" not in recorded.stderr
    artifacts = ask(prefect_server, "/artifacts/filter", {"artifacts": {"key": {"like_": "recorded-7"}}})
    by_key = {artifact["key"]: str(artifact["data"]) for artifact in artifacts}
    assert set(by_key) == {"recorded-7-bootstrap-cluster-plan", "recorded-7-preflight"}
    assert "198.18.0.11" in by_key["recorded-7-bootstrap-cluster-plan"]

    url = product.environ.pop("PREFECT_API_URL")
    alone = product.bootstrap(program=(program,))
    assert "no Prefect API is configured" in alone.stderr
    assert alone.json["applied"] is True
    assert_healthy([host])

    dead = product.must("check-cluster", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert "http://127.0.0.1:9/api does not answer" in dead.stderr
    assert dead.json["verdict"] == "ok"

    flows = ask(prefect_server, "/flow_runs/filter", {"flow_runs": {"name": {"like_": "plan to bring up"}}})
    ours = [run for run in flows if run["parameters"]["cluster"] == str(product.file)]
    assert [(run["state_type"], run["name"]) for run in ours] == [
        ("COMPLETED", f"plan to bring up {product.file.stem}")
    ]
    assert url == prefect_server.url
