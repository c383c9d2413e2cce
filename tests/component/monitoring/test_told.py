"""What real flows write, read by a real node_exporter, scraped and judged by a real Prometheus."""

from __future__ import annotations

import json
import math
import subprocess
import time
from typing import Any

import pytest

from tests.component.monitoring.conftest import AGE, Told
from tests.loopback import NAMES
from tests.monitoring.dashboards import Asked, asked, choices
from tests.monitoring.programs import program

pytestmark = pytest.mark.component


def value(told: Told, name: str, labels: str = "") -> float | None:
    """What Prometheus knows now."""
    found = told.prometheus.query(f'etcd_flows_{name}{{job="etcd-flows", cluster="demo"{labels}}}')
    return float(found[0]["value"][1]) if found else None


def test_a_backup_a_check_and_a_drill_are_told(told: Told) -> None:
    members, server = told.members, told.prometheus
    backup = members.run("snapshot-backup", code=0)
    manifest = backup["stores"]["local"]
    assert backup["untold"] == ""
    server.eventually(lambda: value(told, "backup_success") == 1)
    local = ', store="local"'
    assert value(told, "snapshots", local) == 1
    assert value(told, "snapshot_taken_timestamp_seconds", local) == manifest["started"]
    assert value(told, "snapshot_revision", local) == manifest["revision_min"]
    assert value(told, "snapshot_database_bytes", local) == manifest["db_bytes"]
    assert value(told, "snapshot_level", local) == 1
    assert value(told, "drill_success") is None
    members.run("check-cluster")
    drilled = members.run("restore-drill")
    server.eventually(lambda: value(told, "snapshot_level", local) == 3)
    assert value(told, "drill_duration_seconds") == pytest.approx(drilled["seconds"], abs=0.001)
    assert value(told, "snapshot_verified_taken_timestamp_seconds", local) == manifest["started"]
    assert value(told, "rto_target_seconds") == 300
    for member in ("etcd-01", "etcd-02", "etcd-03"):
        offset = value(told, "clock_offset_seconds", f', member="{member}"')
        assert offset is not None
        assert abs(offset) < 5
    days = server.query("min by (certificate) (etcd_flows_certificate_not_after_timestamp_seconds - time()) / 86400")
    left = {series["metric"]["certificate"]: float(series["value"][1]) for series in days}
    assert left["ca"] == pytest.approx(3650, abs=2)
    assert {name: round(number / 10) for name, number in left.items() if name != "ca"}.keys() >= {"server", "peer"}
    assert left["server"] == pytest.approx(365, abs=2)


OF_RESTORES = "etcd_flows_restore_"
#: Panels that may be empty here, where all is well; so are those of restores, until there is one.
EMPTY_BY_DESIGN = {
    "etcd-cluster: Alerts",
    "etcd-cluster: Alerts that fire",
    "etcd-cluster: Requests that fail",
    "etcd-latency: Failures between members",
}
CHOSEN = {"cluster": "demo", "member": "etcd-0[123]", "__rate_interval": "2m"}


def load(told: Told) -> None:
    """All kinds of requests for some seconds, one defragmentation and one snapshot."""
    members = told.members
    for number in range(30):
        members.ctl(NAMES[number % 3], f"put /dashboards/{number} {'x' * 1000}")
        time.sleep(0.1)
    for command in (
        "get --prefix /dashboards/",
        "del /dashboards/0",
        "lease grant 600",
        "defrag",
        f"snapshot save {members.root}/load.db",
    ):
        members.ctl("etcd-02", command)


def values(told: Told, expr: str) -> dict[str, float]:
    """What Prometheus gives for a panel's query, by member."""
    return {found["metric"].get("member", ""): float(found["value"][1]) for found in told.prometheus.query(expr)}


def panel(title: str) -> str:
    """The only query of a panel."""
    (found,) = (each.expr for each in asked(CHOSEN) if each.panel == title)
    return found


def empty(told: Told, queries: list[Asked]) -> set[str]:
    """Panels that one of these queries leaves empty, asked as Grafana asks them, until none is or a minute is over."""
    server = told.prometheus

    def answer(each: Asked, times: dict[str, str]) -> list[dict[str, Any]]:
        if each.instant:
            return server.query(each.expr)
        series: list[dict[str, Any]] = server.get("query_range", query=each.expr, **times)["result"]
        return series

    def numbers(series: dict[str, Any]) -> bool:
        return any(not math.isnan(float(number)) for _, number in series.get("values", [series.get("value")]))

    end = time.monotonic() + 60
    while True:
        now = time.time()
        times = {"start": f"{now - 5}", "end": f"{now}", "step": "1"}
        left = {each.panel for each in queries if not any(map(numbers, answer(each, times)))} - EMPTY_BY_DESIGN
        if not left or time.monotonic() > end:
            return left
        time.sleep(1)


def test_no_panel_of_the_dashboards_is_empty(told: Told) -> None:
    server = told.prometheus
    up = 'count(up{job="etcd"} == 1) == 3'  # Prometheus finds its targets some seconds after its start
    server.eventually(lambda: bool(server.query(up)), 60)
    load(told)
    for name, label, series in choices(CHOSEN):
        offered = server.get(f"label/{label}/values", **{"match[]": series})
        assert offered == {"cluster": ["demo"], "member": list(NAMES)}[label], name
    queries = [each for each in asked(CHOSEN) if OF_RESTORES not in each.expr]
    assert not empty(told, queries)
    assert len(queries) > 100


def test_dashboards_show_what_etcd_says(told: Told) -> None:
    members, server = told.members, told.prometheus
    said = {name: json.loads(members.ctl(name, "endpoint status -w json"))[0]["Status"] for name in NAMES}
    (leader,) = (name for name in NAMES if said[name]["header"]["member_id"] == said[name]["leader"])
    counted = members.ctl("etcd-01", "get '' --from-key --count-only -w fields")
    keys = float(counted.rpartition('"Count" : ')[2])
    revision = {name: float(said[name]["header"]["revision"]) for name in NAMES}
    server.eventually(lambda: values(told, panel("etcd-cluster: Revision")) == revision, 60)
    assert values(told, panel("etcd-cluster: Leader")) == {leader: 1}
    assert values(told, panel("etcd-cluster: Keys")) == dict.fromkeys(NAMES, keys)
    assert values(told, panel("etcd-cluster: In use")) == {name: said[name]["dbSizeInUse"] for name in NAMES}
    size = max(said[name]["dbSize"] for name in NAMES)
    quota = told.members.spec.etcd.quota_bytes
    assert values(told, panel("etcd-cluster: Quota used"))[""] == pytest.approx(size / quota)
    assert values(told, panel("etcd-cluster: Members down")) == {"": 0}
    assert values(told, panel("etcd-cluster: May still fail")) == {"": 1}


def test_the_file_follows_prometheus_s_conventions(told: Told) -> None:
    done = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=told.file.read_bytes(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_nothing_is_scraped_twice_or_of_others(told: Told) -> None:
    other = told.file.with_name("etcd_flows_other.prom")
    other.write_text('etcd_flows_backup_success{cluster="other"} 0\n')
    try:
        time.sleep(3)
        assert len(told.prometheus.query("etcd_flows_backup_success")) == 1
        assert not told.prometheus.query('{__name__=~"node_.*"}')
    finally:
        other.unlink()


def test_an_old_backup_is_an_alert_until_a_new_one_is_listed(told: Told) -> None:
    server = told.prometheus
    old = ("EtcdBackupTooOld", "firing")
    server.eventually(lambda: old in server.alerts(), AGE + 60)
    (alert,) = (a for a in server.get("alerts")["alerts"] if a["labels"]["severity"] == "warning")
    assert alert["labels"]["store"] == "local"
    assert "store local lists was taken" in alert["annotations"]["description"]
    told.members.run("snapshot-backup")
    server.eventually(lambda: not any(name == "EtcdBackupTooOld" for name, _ in server.alerts()), 60)


def test_a_backup_that_fails_is_an_alert_and_what_was_known_stays(told: Told) -> None:
    members, server = told.members, told.prometheus
    taken = value(told, "snapshot_taken_timestamp_seconds")
    good = value(told, "backup_succeeded_timestamp_seconds")
    backups = members.root / "backups"
    away = backups.rename(members.root / "away")
    backups.write_text("no directory any more")
    try:
        members.run("snapshot-backup", code=1)
        server.eventually(lambda: ("EtcdBackupFailed", "firing") in server.alerts(), 60)
        assert value(told, "store_readable") == 0
        assert value(told, "snapshot_taken_timestamp_seconds") == taken
        assert value(told, "backup_succeeded_timestamp_seconds") == good
    finally:
        backups.unlink()
        away.rename(backups)
    members.run("prune-snapshots")
    server.eventually(lambda: value(told, "store_readable") == 1, 60)
    assert value(told, "backup_success") == 0, "only a good backup ends that"


def test_a_good_backup_is_good_although_prometheus_can_t_be_told(told: Told) -> None:
    folder = told.file.parent
    away = folder.rename(folder.with_name("moved"))
    try:
        backup = told.members.run("snapshot-backup", code=0)
        assert "can't be written: No such file" in backup["untold"]
        assert "Prometheus is not told" in backup["stderr"]
        findings = told.members.run("check-cluster")["findings"]
        assert [finding["level"] for finding in findings if finding["check"] == "metrics"] == ["warning"]
    finally:
        away.rename(folder)


def test_a_restore_is_told_and_its_panels_show_it(told: Told) -> None:
    members, server = told.members, told.prometheus
    queries = [each for each in asked(CHOSEN) if OF_RESTORES in each.expr]
    assert len(queries) == 5
    assert all(not server.query(each.expr) for each in queries)
    restored = members.run("disaster-restore", "--confirm", "demo")
    server.eventually(lambda: value(told, "restore_success") == 1, 60)
    assert not empty(told, queries)
    shown = {each.panel: server.query(each.expr)[0]["value"][1] for each in queries}
    written = restored["seconds_until_writable"]
    assert float(shown["etcd-backup: Until writable"]) == pytest.approx(written, abs=0.001)
    proven = restored["seconds_until_proven"]
    assert float(shown["etcd-backup: Until proven"]) == pytest.approx(proven, abs=0.001)
