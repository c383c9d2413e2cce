"""Which deployments there are, and what has to be done to those that a server has."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.declared import OFFERED, REPORTER, changes, declared, prefect_yaml
from deployments.lost_runs import TakenUp, lost_runs
from deployments.served_clusters import served_clusters
from deployments.trigger import parse_parameters
from tasks.cluster.spec import StoreSettings
from tasks.errors import InputError, Several
from tasks.snapshots.schedule import allowed
from tests import etcd_specs

HOSTS = "hosts: [{name: etcd-01, address: 10.0.0.11}]\n"


def test_a_schedule_only_where_there_is_a_store() -> None:
    bare = etcd_specs.cluster()
    wanted = replace(bare.snapshots, schedule="0 */6 * * *", stores=(StoreSettings("local", Path("/srv")),))
    stored = replace(bare, snapshots=wanted)
    found = {each.name: each for each in declared({"b": stored, "a": bare})}
    assert len(found) == 2 * (len(OFFERED) - 1) + 1, "no monitoring host, and one deployment for all clusters"
    assert found["snapshot-backup/a"].cron is None
    assert found["snapshot-backup/b"].cron == "0 */6 * * *"
    assert found["check-cluster/a"].cron
    assert found["disaster-restore/b"].cron is None
    yaml = prefect_yaml(declared({"b": stored}), "pool")["deployments"]
    (backup,) = [each for each in yaml if each["entrypoint"] == "flows.snapshot_backup.snapshot_backup"]
    assert backup["schedules"][0]["parameters"] == {"kind": "scheduled"}
    assert backup["parameters"] == {"cluster": "b"}


def test_drills_only_where_what_is_stored_can_be_read(tmp_path: Path) -> None:
    store = "stores: [{name: local, directory: /srv}]"
    locked = "encryption: {recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]"
    files = {
        "clear": f"snapshots: {{{store}}}",
        "monthly": f"snapshots: {{{store}}}\ndrill: {{schedule: 0 5 1 * *}}",
        "never": f"snapshots: {{{store}}}\ndrill: {{schedule: never}}",
        "unread": f"snapshots: {{{store}, {locked}}}}}",
        "read": f"snapshots: {{{store}, {locked}, identity: file:/run/secrets/age}}}}",
        "bare": "drill: {schedule: 0 5 1 * *}",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\n{HOSTS}{text}\n")
    found = declared(served_clusters({"ETCD_FLOWS_CLUSTERS": str(tmp_path)}))
    drills = [each for each in found if each.flow == "restore-drill"]
    assert {each.cluster: each.cron for each in drills} == {
        "clear": "0 5 * * 0",
        "monthly": "0 5 1 * *",
        "never": None,
        "unread": None,
        "read": "0 5 * * 0",
        "bare": None,
    }
    assert {each.collision for each in drills} == {"CANCEL_NEW"}


def test_monitoring_only_where_there_is_a_host(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: alpha\n" + HOSTS + "monitoring: {}\n")
    (tmp_path / "b.yaml").write_text("name: beta\n" + HOSTS + "monitoring: {host: {machine: local}}\n")
    found = {each.name for each in declared(served_clusters({"ETCD_FLOWS_CLUSTERS": str(tmp_path)}))}
    assert "enable-monitoring/b" in found
    assert "enable-monitoring/a" not in found


def test_every_flow_is_offered() -> None:
    flows = Path(__file__).parents[2] / "flows"
    texts = {path.stem: path.read_text() for path in flows.glob("*.py")}
    found = {name for name, text in texts.items() if "\n@flow(" in text}
    assert [name for name in found if "\n@ends_in_state\n" not in texts[name]] == [], "else a bad run ends as Completed"
    offered = {each.module for each in OFFERED} | {REPORTER.entrypoint.rpartition(".")[2]}
    assert found == offered, "a new flow joins by one line in deployments/declared.py"


def test_the_version_tells_every_difference() -> None:
    (one, *_) = declared({"a": etcd_specs.cluster()})
    versions = {
        one.version({}, "1"),
        one.version({}, "2"),
        one.version({"more": 1}, "1"),
        replace(one, cron="1 * * * *").version({}, "1"),
    }
    assert len(versions) == 4
    assert one.version({}, "1") in versions


@pytest.mark.parametrize(
    ("cron", "hours"), [("0 */6 * * *", 9), ("0 3 * * *", 36), ("0 8,20 * * *", 18), ("0 4 * * 0", 252)]
)
def test_when_a_backup_counts_as_missed(cron: str, hours: float) -> None:
    assert allowed(cron) == timedelta(hours=hours)


def test_often_backups_are_not_missed_at_once() -> None:
    assert allowed("*/5 * * * *") == timedelta(minutes=15)


def test_what_is_no_schedule_is_said() -> None:
    with pytest.raises(InputError, match="99"):
        allowed("99 * * * *")


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("12")),
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("12")),
)
def test_changes_lead_to_what_is_wanted(wanted: dict[str, str], present: dict[str, str]) -> None:
    after = dict(present)
    for name, change in changes(wanted, present).items():
        if change == "remove":
            del after[name]
        elif change != "keep":
            assert (change == "create") == (name not in present)
            after[name] = wanted[name]
    assert after == wanted


def test_clusters_by_their_files(tmp_path: Path) -> None:
    environ = {"ETCD_FLOWS_CLUSTERS": str(tmp_path)}
    with pytest.raises(InputError, match="no cluster file in"):
        served_clusters(environ)
    (tmp_path / "b.yaml").write_text("name: beta\n" + HOSTS)
    (tmp_path / "a.yml").write_text("name: alpha\n" + HOSTS)
    assert {name: cluster.name for name, cluster in served_clusters(environ).items()} == {"a": "alpha", "b": "beta"}
    assert set(served_clusters(environ, ["b"])) == {"b"}
    with pytest.raises(InputError, match=r"no cluster file c\.yaml"):
        served_clusters(environ, ["c"])
    (tmp_path / "a.yml").write_text("name: alpha\nhost: 1\n")
    (tmp_path / "b.yaml").write_text("name: [")
    with pytest.raises(Several) as caught:
        served_clusters(environ)
    assert "a.yml" in str(caught.value)
    assert "b.yaml" in str(caught.value)


def test_shipped_examples_are_nobodys_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(InputError, match="no cluster file in"):
        served_clusters({})


def test_parameters_as_typed() -> None:
    assert parse_parameters(["a=true", "b=x=y", 'c=["etcd-01"]', "d=", "e=12"]) == {
        "a": True,
        "b": "x=y",
        "c": ["etcd-01"],
        "d": "",
        "e": 12,
    }
    with pytest.raises(InputError):
        parse_parameters(["--plan"])


def test_prefect_can_cancel_no_run_that_changes_hosts_over_its_limits() -> None:
    limited = {each.flow for each in OFFERED if each.collision}
    assert limited <= {each.flow for each in OFFERED if each.again}
    yaml = prefect_yaml(declared({"a": etcd_specs.cluster()}), "pool")["deployments"]
    limits = {each["entrypoint"].rpartition(".")[2]: each["concurrency_limit"] for each in yaml}
    assert limits["disaster_restore"] is None
    assert limits["snapshot_backup"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


def test_what_is_taken_up_again_unasked_changes_no_host() -> None:
    again = {each.flow for each in OFFERED if each.again}
    assert again == {"snapshot-backup", "verify-snapshots", "check-cluster", "restore-drill", "preflight-cluster"}
    every = lost_runs("ours: ")
    assert len({each.name for each in every}) == len(every)
    for each in every:
        if isinstance(each, TakenUp) or each.state_name == "Lost":
            assert set(each.flows) == again
    assert {flow for each in every for flow in each.flows} == {each.flow for each in OFFERED}
