"""A real Prometheus with the files as they are written, scraping three real members over TLS."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from deployments.monitoring_files import write
from tasks.cluster.spec import Cluster, MonitoringSettings
from tasks.errors import EtcdFlowsError
from tasks.etcd.client import Client
from tasks.monitoring.rules import rules
from tasks.monitoring.scrape import files, tls_directory
from tests.component.etcd.conftest import Member, build
from tests.monitoring.servers import Prometheus, prometheus

pytestmark = pytest.mark.component

#: Shown from the first such event on, or by members that have peers for a while.
EVENTS = {"grpc_server_handled_total"}


@dataclass
class Watched:
    cluster: Cluster
    members: list[Member]
    server: Prometheus
    folder: Path


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    root = tmp_path_factory.mktemp("watched")
    where = {"metrics_address": "127.0.0.2", "metrics_scheme": "https"}
    members = build(root, "3.6.16", 3, where, quota_bytes=4 << 20, metrics="extensive")
    for member in members:
        member.start(ready=False)
    cluster = replace(members[0].cluster, monitoring=MonitoringSettings("docs/alerts.md"))
    folder = root / "prometheus"
    write(folder / "etcd", files(cluster))
    tls = folder / "etcd" / str(tls_directory(cluster))
    tls.mkdir()
    pki = Path(members[0].host.paths.pki_dir)
    shutil.copy(pki / "ca.crt", tls / "ca.crt")
    for kind in ("crt", "key"):
        shutil.copy(pki / f"etcdctl-etcd-client.{kind}", tls / f"client.{kind}")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["etcd/*.rules.yml"],
        "scrape_config_files": ["etcd/*.scrape.yml"],
    }
    try:
        for member in members:
            member.wait()
        with prometheus(folder, yaml.safe_dump(config)) as server:
            yield Watched(cluster, members, server, folder)
    finally:
        for member in members:
            member.stop()


def test_all_members_are_up_under_their_labels(watched: Watched) -> None:
    server = watched.server
    server.eventually(lambda: len(server.query("up == 1")) == 3)
    targets = server.get("targets", state="active")["activeTargets"]
    assert {target["scrapeUrl"] for target in targets} == {f"{m.host.scrape_url}/metrics" for m in watched.members}
    labels = [{key: target["labels"][key] for key in ("job", "cluster", "member")} for target in targets]
    assert sorted(label["member"] for label in labels) == ["m1", "m2", "m3"]
    assert {(label["job"], label["cluster"]) for label in labels} == {("etcd", "prod-a")}
    site = replace(watched.cluster.hosts[0], labels=(("rack", "r1"), ("site", "ams")))
    text = files(replace(watched.cluster, hosts=(site,)))["etcd-prod-a.targets.yml"]
    assert yaml.safe_load(text)[0]["labels"] == {"job": "etcd", "cluster": "prod-a", "member": "m1", "site": "ams"}


def test_real_members_have_every_metric_that_a_rule_asks_for(watched: Watched) -> None:
    server = watched.server
    asked = {
        name
        for group in rules(watched.cluster).values()
        for rule in group
        for name in re.findall(r"([a-z][a-z_]+)\{", rule.expr)
    }
    assert len(asked) > 12
    server.eventually(lambda: all(len({s["metric"]["member"] for s in server.query(n)}) == 3 for n in asked - EVENTS))
    for group in server.get("rules")["groups"]:
        assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}, group
    server.eventually(lambda: not server.alerts())  # the first look at the rules can come before the first scrape


def _fill(client: Client) -> None:
    for number in range(200):
        client.put(f"fill/{number}".encode(), b"x" * 100_000)


def test_a_full_quota_and_a_lost_quorum_are_noticed(watched: Watched) -> None:
    server, members = watched.server, watched.members
    with members[0].client() as client:
        with pytest.raises(EtcdFlowsError, match="space"):
            _fill(client)
        server.eventually(lambda: len(server.query('grpc_server_handled_total{grpc_code="ResourceExhausted"}')) > 0)
        # A counter that begins with 1 has no increase yet (Prometheus, functions, increase).
        with contextlib.suppress(EtcdFlowsError):
            client.put(b"again", b"x")
    server.eventually(lambda: ("EtcdNoSpace", "firing") in server.alerts())
    assert ("EtcdQuotaNearlyUsed", "pending") in server.alerts()
    for member in members[1:]:
        member.stop()
    lost = {("EtcdMemberDown", "pending"), ("EtcdQuorumLost", "pending"), ("EtcdNoLeader", "pending")}
    server.eventually(lambda: lost <= server.alerts())
