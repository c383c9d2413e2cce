"""``etcd-flows monitoring files``: what is written for a Prometheus of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from deployments.cli import main
from tests.outputs import assert_as_published
from tests.unit.cluster.files import MINIMAL

OVER_TLS = "monitoring: {metrics: {scheme: https}, runbooks: https://wiki.example.com/alerts}\n"


def run(tmp_path: Path, text: str, *words: str) -> Result:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    return CliRunner().invoke(main, ["monitoring", "files", str(file), str(tmp_path / "out"), *words])


def test_three_files_that_find_each_other(tmp_path: Path) -> None:
    done = run(tmp_path, MINIMAL + OVER_TLS)
    assert done.exit_code == 0, done.output
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "etcd-prod-a.rules.yml",
        "etcd-prod-a.scrape.yml",
        "etcd-prod-a.targets.yml",
        "grafana",
    ]
    assert {path.stat().st_mode & 0o777 for path in out.rglob("*") if path.is_file()} == {0o644}
    (job,) = yaml.safe_load((out / "etcd-prod-a.scrape.yml").read_text())["scrape_configs"]
    assert job["scheme"] == "https"
    assert job["file_sd_configs"] == [{"files": ["etcd-prod-a.targets.yml"]}]
    assert job["tls_config"]["ca_file"] == "etcd-prod-a.tls/ca.crt"
    targets = yaml.safe_load((out / "etcd-prod-a.targets.yml").read_text())
    assert [target["targets"] for target in targets] == [[f"10.0.0.1{n}:2381"] for n in (1, 2, 3)]
    assert f"rule_files: [{out}/*.rules.yml]" in done.output
    assert f"Into {out}/etcd-prod-a.tls" in done.output
    assert "https://wiki.example.com/alerts#etcdnoleader" in (out / "etcd-prod-a.rules.yml").read_text()


def test_only_what_differs_is_written_and_nobody_else_s(tmp_path: Path) -> None:
    assert run(tmp_path, MINIMAL + "monitoring: {}\n").exit_code == 0
    other = tmp_path / "out" / "etcd-other.rules.yml"
    other.write_text("theirs")
    again = run(tmp_path, MINIMAL + "monitoring: {}\n", "--json")
    assert assert_as_published("monitoring-files", again.output)["changed"] == []
    more = MINIMAL + "  - {name: etcd-04, address: 10.0.0.14}\nmonitoring: {}\n"
    assert assert_as_published("monitoring-files", run(tmp_path, more, "--json").output)["changed"] == [
        "etcd-prod-a.rules.yml",
        "etcd-prod-a.targets.yml",
    ]
    assert other.read_text() == "theirs"


def test_patience_stretches_how_long_an_alert_waits_and_nothing_else(tmp_path: Path) -> None:
    def read(text: str) -> list[dict[str, str]]:
        assert run(tmp_path, MINIMAL + text).exit_code == 0
        groups = yaml.safe_load((tmp_path / "out" / "etcd-prod-a.rules.yml").read_text())["groups"]
        return [rule for group in groups for rule in group["rules"]]

    usual, changed = read("monitoring: {}\n"), read("monitoring: {alerts: {patience: 0.025}}\n")
    waits = {(before["for"], after["for"]) for before, after in zip(usual, changed, strict=True)}
    assert {("0m", "0ms"), ("1m", "1500ms"), ("2m", "3000ms"), ("1h", "90000ms")} <= waits
    assert [rule | {"for": ""} for rule in usual] == [rule | {"for": ""} for rule in changed]


def test_grafana_finds_the_dashboards_and_prometheus(tmp_path: Path) -> None:
    url = "http://10.0.0.21:9090"
    done = run(tmp_path, MINIMAL + "monitoring: {}\n", "--prometheus-url", url)
    assert done.exit_code == 0, done.output
    grafana = tmp_path / "out/grafana"
    (provider,) = yaml.safe_load((grafana / "provisioning/dashboards/etcd-flows.yaml").read_text())["providers"]
    found = {path.name: json.loads(path.read_text())["uid"] for path in Path(provider["options"]["path"]).iterdir()}
    assert found == {f"{uid}.json": uid for uid in ("etcd-backup", "etcd-cluster", "etcd-latency", "etcd-member")}
    (source,) = yaml.safe_load((grafana / "provisioning/datasources/etcd-flows.yaml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", url)
    assert f"below {grafana}/provisioning" in done.output


def test_without_prometheus_s_url_its_data_source_is_left_to_grafana(tmp_path: Path) -> None:
    assert run(tmp_path, MINIMAL + "monitoring: {}\n").exit_code == 0
    assert not (tmp_path / "out/grafana/provisioning/datasources").exists()


@pytest.mark.parametrize("url", ["10.0.0.21:9090", "ftp://10.0.0.21", "http://", "http://ops:secret@10.0.0.21:9090"])
def test_a_url_that_is_none_or_would_show_a_password_is_refused(tmp_path: Path, url: str) -> None:
    done = run(tmp_path, MINIMAL + "monitoring: {}\n", "--prometheus-url", url)
    assert done.exit_code == 2
    assert "secret" not in done.output
    assert not (tmp_path / "out").exists()


def test_a_cluster_without_the_section_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, MINIMAL)
    assert done.exit_code == 2
    assert "no `monitoring` section" in done.output
    assert not (tmp_path / "out").exists()
