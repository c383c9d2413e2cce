"""The plan of enable-monitoring, played through on facts."""

from __future__ import annotations

import configparser
import hashlib
import json
from dataclasses import replace

import pytest
import yaml

from tasks.cluster.spec import Cluster
from tasks.errors import InputError, Refused
from tasks.monitoring import alertmanager, grafana_host
from tasks.monitoring.actions import Configure, ProveReceivers
from tasks.monitoring.look import UnitFact
from tasks.monitoring.programs import PROMETHEUS, arguments
from tasks.monitoring.refusals import refusals
from tasks.monitoring.wanted import Inputs, watch_of, web_secrets
from tasks.monitoring.web import WebInputs, hashed, kept_hash
from tests.unit.cluster.files import MINIMAL, cluster
from tests.unit.monitoring.scene import MonitoringHost

HOOK = "receivers: [{name: ops, webhook: {url: 'http://h/', token: env:TOKEN}}]"
TOKEN = "/etc/alertmanager/clusters/etcd-prod-a.ops.token"


def watched(more: str = "", name: str = "prod-a", metrics: str = "http") -> Cluster:
    text = f"monitoring: {{host: {{machine: 10.0.0.21}}, metrics: {{scheme: {metrics}}}, {more}}}\n"
    return cluster(MINIMAL.replace("prod-a", name) + text)


def secrets(text: bytes = b"env:TOKEN") -> Inputs:
    return Inputs({}, {TOKEN: hashlib.sha256(text).hexdigest()})


def settled(spec: Cluster, inputs: Inputs | None = None, host: MonitoringHost | None = None) -> MonitoringHost:
    """A host on which enable-monitoring has run."""
    host = host or MonitoringHost()
    for step in host.plan(spec, inputs).steps:
        host.carry_out(step)
    assert host.plan(spec, inputs).empty
    return host


def names(host: MonitoringHost, spec: Cluster, inputs: Inputs | None = None) -> list[str]:
    return [step.name for step in host.plan(spec, inputs).steps]


def test_from_nothing_to_nothing_to_do() -> None:
    plan = MonitoringHost().plan(watched(HOOK), secrets())
    assert [phase.name for phase in plan.phases] == ["prepare the monitoring host", "configure", "run", "prove"]
    assert "TOKEN" not in str([step.summary for step in plan.steps])
    settled(watched(HOOK), secrets())
    assert plan.notes == ()
    (note,) = MonitoringHost().plan(watched()).notes
    assert "nobody is told" in note


def test_cut_off_after_any_step_the_next_run_ends_in_the_same_place() -> None:
    spec, inputs = watched(HOOK), secrets()
    whole = settled(spec, inputs)
    for done in range(len(MonitoringHost().plan(spec, inputs).steps)):
        host = MonitoringHost()
        for step in host.plan(spec, inputs).steps[:done]:
            host.carry_out(step)
        plan = host.plan(spec, inputs)
        assert not plan.empty, done
        for step in plan.steps:
            host.carry_out(step)
        assert host.plan(spec, inputs).empty, done
        assert (host.files, host.units) == (whole.files, whole.units), done


def test_a_changed_interval_reloads_and_a_changed_argument_restarts() -> None:
    host = settled(watched())
    plan = host.plan(watched("prometheus: {interval: 30s}"))
    assert {step.summary for step in plan.steps if step.name.endswith("-run")} == {
        "reload Prometheus",
        "reload Alertmanager",  # whose part of the cluster notes what it wants of the host
    }
    assert plan.steps[-1].name == "targets"
    plan = host.plan(watched("prometheus: {retention_time: 90d}"))
    assert "restart Prometheus" in [step.summary for step in plan.steps]


def test_a_member_added_to_the_file_becomes_a_target() -> None:
    host = settled(watched())
    more = MINIMAL + "  - {name: etcd-04, address: 10.0.0.14}\nmonitoring: {host: {machine: 10.0.0.21}}\n"
    plan = host.plan(cluster(more))
    (config,) = [step.action for step in plan.steps if isinstance(step.action, Configure)]
    (targets,) = [file for file in config.files if file.path.endswith("targets.yml")]
    assert b"10.0.0.14:2381" in (targets.content or b"")
    assert plan.steps[-1].summary == "see that Prometheus gets metrics of all 4 members"


def test_another_version_is_installed_beside_and_then_run() -> None:
    host = settled(watched())
    found = names(host, watched("alertmanager: {version: 0.34.0}"))
    assert found == ["alertmanager-release", "alertmanager-config", "alertmanager-run", "targets"]


def test_a_program_that_was_tampered_with_is_installed_again() -> None:
    spec = watched()
    host = settled(spec)
    host.put(f"{PROMETHEUS.home(watch_of(spec).prometheus.release.version)}/promtool", b"other", 0o755)
    assert names(host, spec) == ["prometheus-release", "prometheus-run", "targets"]


def test_a_program_that_stopped_is_started_and_proven() -> None:
    spec = watched()
    host = settled(spec)
    host.units[PROMETHEUS.unit] = replace(host.units[PROMETHEUS.unit], active=False, marker="")
    assert names(host, spec) == ["prometheus-run", "targets"]


def test_only_changed_receivers_get_a_test_alert() -> None:
    host = settled(watched(HOOK), secrets())
    assert "receivers" not in names(host, watched(HOOK + ", prometheus: {interval: 30s}"), secrets())
    plan = host.plan(watched(HOOK), secrets(b"another"))
    (config,) = [step.action for step in plan.steps if isinstance(step.action, Configure)]
    assert [file.path for file in config.files] == [TOKEN]
    assert [step.action.receivers for step in plan.steps if isinstance(step.action, ProveReceivers)] == [
        (("ops", "etcd-prod-a-ops"),)
    ]


def test_two_clusters_share_a_host_and_leave_each_other_alone() -> None:
    one, two = watched(HOOK), watched("receivers: [{name: b, webhook: {url: 'http://b/'}}]", name="prod-b")
    host = settled(one, secrets())
    before = {path: fact for path, fact in host.files.items() if "prod-a" in path}
    settled(two, host=host)
    assert {path: fact for path, fact in host.files.items() if "prod-a" in path} == before
    assert host.plan(one, secrets()).empty
    whole = yaml.safe_load(host.files["/etc/alertmanager/alertmanager.yml"].content or b"")
    assert [one["name"] for one in whole["receivers"]] == ["nobody", "etcd-prod-a-ops", "etcd-prod-b-b"]


def test_what_the_other_cluster_wants_otherwise_is_said() -> None:
    host = settled(watched(name="prod-b"))
    note, _ = host.plan(watched("prometheus: {retention_time: 90d}")).notes
    assert "prod-b" in note
    assert "retention 30d" in note


def test_files_that_are_not_wanted_any_more_go_and_nobody_else_s() -> None:
    host = settled(watched())
    clusters = PROMETHEUS.clusters
    for name in ("etcd-prod-a.own-1.rules.yml", "etcd-prod-ab.own-1.rules.yml", "etcd-prod-a.tls"):
        host.put(f"{clusters}/{name}", b"")
    (config,) = [s.action for s in host.plan(watched()).steps if isinstance(s.action, Configure)]
    assert config.remove == (f"{clusters}/etcd-prod-a.own-1.rules.yml",)


@pytest.mark.parametrize(
    ("severity", "pattern"),
    [("info", "info|warning|critical"), ("warning", "warning|critical"), ("critical", "critical")],
)
def test_routes_by_severity(severity: str, pattern: str) -> None:
    spec = watched(f"receivers: [{{name: a, severity: {severity}, webhook: {{url: 'http://x/'}}}}]")
    test, told = json.loads(alertmanager.part(spec, watch_of(spec)))["routes"]
    assert f'severity=~"{pattern}"' in told["matchers"]
    assert told["continue"] is True
    assert "continue" not in test


def test_secrets_are_files_and_never_text() -> None:
    spec = watched(
        "receivers: [{name: a, slack: {url: env:S, channel: '#x'}}, {name: b, email: {to: a@b.c, sender: d@e.f, "
        "server: 'm:25', user: u, password: env:P}}, {name: c, webhook: {secret_url: env:H}}]"
    )
    part = alertmanager.part(spec, watch_of(spec))
    for secret in alertmanager.secret_files(spec, watch_of(spec)):
        assert secret.path in part
    assert len(alertmanager.secret_files(spec, watch_of(spec))) == 3
    assert not {f"env:{name}" for name in "SPH"} & set(part.split('"'))


def test_a_part_that_somebody_changed_is_refused() -> None:
    host = settled(watched(HOOK), secrets())
    host.put("/etc/alertmanager/clusters/etcd-x.json", b"{}")
    with pytest.raises(Refused, match="not what etcd-flows has written"):
        host.plan(watched(HOOK), secrets())


def test_what_is_not_ours_is_not_touched() -> None:
    host, spec = settled(watched()), watched()
    assert refusals(spec, host.facts(spec), None) == ()
    host.units[PROMETHEUS.unit] = UnitFact(True, True, True, "/lib/systemd/system/prometheus.service")
    host.put("/etc/alertmanager/alertmanager.yml", b"route: {}\n")
    found = refusals(spec, host.facts(spec), None)
    assert [str(one).splitlines()[0].split(" that ")[0] for one in found] == [
        "10.0.0.21: there is a prometheus.service",
        "10.0.0.21: there is a /etc/alertmanager/alertmanager.yml",
    ]


def test_tls_and_a_login_come_and_go_without_a_trace() -> None:
    web = "web: {certificate: ./m.crt, key: file:/k, user: ops, password: env:P}"
    spec = cluster(f"{MINIMAL}monitoring: {{host: {{machine: 10.0.0.21, {web}}}}}\n")
    sums = {one.path: hashlib.sha256(str(one.ref).encode()).hexdigest() for one in web_secrets(watch_of(spec))}
    inputs = Inputs({}, sums, WebInputs(b"PEM", "mon.example.com", "$2b$10$hash"))
    host = settled(spec, inputs)
    added = {path for path in host.files if "/web." in path or path.endswith("client.yml")}
    assert {path for path in added if "prometheus" in path} == {
        f"/etc/prometheus/{name}" for name in ("web.yml", "web.crt", "web.key", "web.password", "client.yml")
    }
    assert not any(
        host.files[path].mode & 0o007 for path in added - {f"/etc/{n}/web.crt" for n in ("prometheus", "alertmanager")}
    )
    main = yaml.safe_load(host.files["/etc/prometheus/prometheus.yml"].content or b"")
    (told,) = main["alerting"]["alertmanagers"]
    assert told["tls_config"] == {"ca_file": "web.crt", "server_name": "mon.example.com"}
    assert told["basic_auth"] == {"username": "ops", "password_file": "web.password"}
    settled(watched(), host=host)
    assert not added & set(host.files)


def test_a_password_keeps_its_hash() -> None:
    first = hashed("secret", None)
    assert hashed("secret", first) == first
    assert hashed("other", first) != first
    assert hashed("x" * 100, None)
    assert kept_hash('{"ops": "h"}', "ops") == "h"
    assert kept_hash("[", "ops") is None


GRAFANA = "grafana: {}"


def test_grafana_from_nothing_to_nothing_to_do_and_cut_off_after_any_step() -> None:
    spec = watched(GRAFANA)
    whole = settled(spec)
    assert {name for name in names(MonitoringHost(), spec) if "grafana" in name} == {
        *("grafana-account", "grafana-release", "grafana-password", "grafana-config", "grafana-run", "grafana"),
    }
    for done in range(len(MonitoringHost().plan(spec).steps)):
        host = MonitoringHost()
        for step in host.plan(spec).steps[:done]:
            host.carry_out(step)
        settled(spec, host=host)
        assert (host.files, host.units, host.kept) == (whole.files, whole.units, whole.kept), done


def test_changed_dashboards_are_proven_and_nothing_is_restarted() -> None:
    spec = watched(GRAFANA)
    host = settled(spec)
    host.put(f"{grafana_host.DASHBOARDS}/etcd-member.json", b"{}")
    assert names(host, spec) == ["grafana-config", "grafana"]


def test_a_changed_setting_of_grafana_restarts_it_alone() -> None:
    host = settled(watched(GRAFANA))
    steps = host.plan(watched("grafana: {port: 3001}")).steps
    assert [step.summary for step in steps if step.name == "grafana-run"] == ["restart Grafana"]
    assert "prometheus-run" not in [step.name for step in steps]


def test_a_second_operator_gets_the_password_that_the_host_has() -> None:
    host = settled(watched(GRAFANA))
    made, host.kept = host.kept, b""
    (step,) = [one for one in host.plan(watched(GRAFANA, name="prod-b")).steps if one.name == "grafana-password"]
    assert step.summary.startswith("fetch")
    host.carry_out(step)
    assert host.kept == made


def test_grafana_s_file_holds_no_secret_and_lets_nobody_in() -> None:
    web = "web: {certificate: ./m.crt, key: file:/k, user: ops, password: env:P}"
    spec = cluster(f"{MINIMAL}monitoring: {{host: {{machine: 10.0.0.21, {web}}}, grafana: {{}}}}\n")
    files = grafana_host.files(watch_of(spec), "mon.example.com")
    read = configparser.ConfigParser(interpolation=None)
    read.read_string(files[grafana_host.INI])
    assert read["security"]["admin_password"] == "$__file{/etc/grafana/admin.password}"
    assert (read["server"]["protocol"], read["security"]["cookie_secure"]) == ("https", "true")
    assert not any(
        read.getboolean(section, key)
        for section, key in (
            ("auth.anonymous", "enabled"),
            ("users", "allow_sign_up"),
            ("snapshots", "external_enabled"),
        )
    )
    assert not any(read.getboolean("analytics", key) for key in read["analytics"])
    (source,) = [text for path, text in files.items() if "datasources" in path]
    (entry,) = yaml.safe_load(source)["datasources"]
    assert entry["url"] == "https://127.0.0.1:9090"
    assert entry["jsonData"]["serverName"] == "mon.example.com"
    assert entry["secureJsonData"]["basicAuthPassword"] == "$__file{/etc/grafana/web.password}"


def test_of_two_versions_the_newer_stays_until_no_file_wants_it() -> None:
    older, newer = watched("prometheus: {version: 3.5.3}"), watched("prometheus: {version: 3.10.0}", name="prod-b")
    host = settled(older)
    settled(newer, host=host)
    plan = host.plan(older)
    assert plan.empty, [step.summary for step in plan.steps]
    assert "Prometheus 3.10.0 stays" in plan.notes[0]
    assert host.plan(newer).empty
    settled(watched("prometheus: {version: 3.5.3}", name="prod-b"), host=host)
    assert "prometheus-3.5.3" in (host.files[PROMETHEUS.unit_file].content or b"").decode()
    assert host.plan(older).empty


def test_a_newer_version_that_never_arrived_holds_nobody_up() -> None:
    older, newer = watched("prometheus: {version: 3.5.3}"), watched("prometheus: {version: 3.10.0}", name="prod-b")
    host = settled(older)
    for step in host.plan(newer).steps:
        if step.name != "prometheus-release":
            host.carry_out(step)
    settled(older, host=host)
    assert "prometheus-3.5.3" in (host.files[PROMETHEUS.unit_file].content or b"").decode()


def test_metrics_over_https_need_the_operator_s_ca() -> None:
    spec = watched(metrics="https")
    (refusal,) = refusals(spec, MonitoringHost().facts(spec), None)
    assert "there is no CA" in str(refusal)


def test_without_a_monitoring_host_there_is_nothing_to_plan() -> None:
    with pytest.raises(InputError, match="no monitoring host"):
        watch_of(cluster(MINIMAL + "monitoring: {}\n"))


def test_an_address_for_all_is_reached_on_loopback() -> None:
    spec = cluster(MINIMAL + "monitoring: {host: {machine: local, listen_address: '::'}}\n")
    watch = watch_of(spec)
    assert "--web.listen-address=[::]:9090" in arguments(watch, PROMETHEUS)
    (config,) = [
        s.action
        for s in MonitoringHost().plan(spec).steps
        if isinstance(s.action, Configure) and s.action.name == "prometheus"
    ]
    (main,) = [file for file in config.files if file.path.endswith("prometheus.yml")]
    assert b"'[::1]:9093'" in (main.content or b"")
