"""Clusters that leave a monitoring host, and programs that come as packages, played through on facts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tasks.cluster.load import load_cluster
from tasks.cluster.spec import Cluster
from tasks.monitoring.actions import InstallPackages
from tasks.monitoring.look import UnitFact
from tasks.monitoring.packages import PackageFact
from tasks.monitoring.programs import ALERTMANAGER, PROMETHEUS
from tasks.monitoring.refusals import refusals
from tasks.monitoring.remembered import elsewhere, forget, remember
from tests.unit.cluster.files import MINIMAL, cluster
from tests.unit.monitoring.scene import MonitoringHost
from tests.unit.monitoring.test_watch_plan import settled, watched

MAIN = "/etc/prometheus/prometheus.yml"


def packaged(name: str = "prod-a") -> Cluster:
    text = "monitoring: {host: {machine: 10.0.0.21, packages: true}}\n"
    return cluster(MINIMAL.replace("prod-a", name) + text)


def test_a_cluster_leaves_and_the_other_stays_as_it_is() -> None:
    one, two = watched("grafana: {}"), watched("receivers: [{name: b, webhook: {url: 'http://b/'}}]", name="prod-b")
    host = settled(two, host=settled(one))
    host.put("/var/lib/node_exporter/textfile/etcd_flows_prod-a.prom", b"x 1\n")
    before = {path: fact for path, fact in host.files.items() if "prod-b" in path}
    steps = [step.name for step in host.leave(one)]
    assert steps == [
        "prometheus-config",
        "alertmanager-config",
        "prometheus-run",
        "alertmanager-run",
        "proof",
        "remove",
    ]
    assert not [path for path in host.files if "prod-a" in path]
    assert {path: fact for path, fact in host.files.items() if "prod-b" in path} == before
    whole = yaml.safe_load(host.files["/etc/alertmanager/alertmanager.yml"].content or b"")
    assert [told["name"] for told in whole["receivers"]] == ["nobody", "etcd-prod-b-b"]
    assert "grafana.service" not in host.units, "nobody wants it any more"
    assert host.plan(two).empty
    assert host.leave(one) == []


def test_grafana_stays_while_another_cluster_wants_it() -> None:
    one, two = watched("grafana: {}"), watched("grafana: {}", name="prod-b")
    host = settled(two, host=settled(one))
    assert "remove" not in [step.name for step in host.leave(one)]
    assert host.plan(two).empty


def test_grafana_goes_when_the_file_asks_for_it_no_more() -> None:
    host = settled(watched("grafana: {}"))
    plan = host.plan(watched())
    assert "no cluster here wants it any more" in [step.why for step in plan.steps]
    settled(watched(), host=host)
    assert "grafana.service" not in host.units


def test_the_last_cluster_takes_the_programs_with_it_but_not_what_they_have_gathered() -> None:
    spec = watched("grafana: {}")
    host = settled(spec)
    (step,) = host.leave(spec)
    assert "Prometheus" in step.summary
    assert host.units == {}
    left = {path for path, fact in host.files.items() if fact.kind == "file"}
    assert left == {"/etc/grafana/admin.password", "/etc/grafana/secret.key"}
    assert host.leave(spec) == []
    settled(spec, host=host)


def test_what_is_not_ours_stays_when_the_last_cluster_leaves() -> None:
    host = settled(packaged())
    host.put(MAIN, b"# the package's\n")
    host.leave(packaged())
    assert MAIN in host.files


def test_packages_are_installed_with_their_units_masked_and_their_files_left_alone() -> None:
    host = MonitoringHost()
    host.put(MAIN, b"# the package's\n")
    (step,) = [one for one in host.plan(packaged()).steps if one.name == "packages"]
    assert isinstance(step.action, InstallPackages)
    assert "prometheus-alertmanager.service" in step.action.mask
    settled(packaged(), host=host)
    assert host.files[MAIN].content == b"# the package's\n"
    unit = (host.files[ALERTMANAGER.unit_file].content or b"").decode()
    assert "ExecStart=/usr/bin/prometheus-alertmanager --config.file=/etc/alertmanager/etcd-flows.yml" in unit
    assert not [path for path in host.files if path.startswith("/opt/")]


def test_from_releases_to_packages_and_nothing_is_left_of_the_releases() -> None:
    host = settled(watched())
    settled(packaged(), host=host)
    assert MAIN not in host.files
    assert "/etc/prometheus/etcd-flows.yml" in host.files


def test_a_program_that_an_upgrade_has_replaced_is_restarted() -> None:
    host = settled(packaged())
    host.units[ALERTMANAGER.unit] = replace(host.units[ALERTMANAGER.unit], replaced=True)
    assert "restart Alertmanager" in [step.summary for step in host.plan(packaged()).steps]


@pytest.mark.parametrize("fact", [PackageFact(candidate="2.42.0+ds-5"), PackageFact(installed="1:2.42.0-1")])
def test_packages_that_are_too_old_are_refused(fact: PackageFact) -> None:
    host = MonitoringHost()
    host.packages["prometheus"] = fact
    (refusal,) = refusals(packaged(), host.facts(packaged()), None)
    assert "2.43 or newer is needed" in str(refusal)


def test_a_package_s_service_that_somebody_uses_is_refused() -> None:
    host = MonitoringHost()
    host.units["prometheus-alertmanager.service"] = UnitFact(True, True, True, "/usr/lib/systemd/system/x.service")
    host.units[PROMETHEUS.unit] = UnitFact(True, True, True, "/usr/lib/systemd/system/prometheus.service")
    found = [str(one) for one in refusals(packaged(), host.facts(packaged()), None)]
    assert ["prometheus.service that" in found[0], "prometheus-alertmanager.service in use" in found[1]] == [True] * 2


def test_where_a_cluster_was_watched_is_known_after_its_file_names_it_no_more(tmp_path: Path) -> None:
    file, state = tmp_path / "prod-a.yaml", f"pki: {{state_dir: {tmp_path}/state}}\n"
    with_host = (
        "monitoring:\n  host: {machine: 10.0.0.21, ssh: {user: '010', port: 2222}}\n  prometheus: {interval: 30s}\n"
    )
    file.write_text(MINIMAL + state + with_host)
    spec = load_cluster(file).cluster
    remember(spec)
    assert elsewhere(spec) == ()
    file.write_text(MINIMAL + state)
    (found,) = elsewhere(load_cluster(file).cluster)
    assert found.monitoring == spec.monitoring
    assert found.hosts == spec.hosts
    forget(found, "10.0.0.21")
    assert elsewhere(load_cluster(file).cluster) == ()
