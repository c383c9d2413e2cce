"""What the flows tell Prometheus: from catalogs, facts and outcomes to a file, and how the file changes."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.cluster.spec import Cluster, MonitoringSettings, StoreSettings
from tasks.errors import EtcdFlowsError
from tasks.hosts.shell import close_all
from tasks.monitoring.own_facts import (
    backup_age,
    backup_update,
    drill_update,
    file_update,
    recorded_drill,
    restore_update,
    store_update,
    unreadable_store,
)
from tasks.monitoring.own_families import FAMILIES, MANY, Sample, Update, merged, said
from tasks.monitoring.publish import change_on_host, publish
from tasks.monitoring.textfile import parse, render
from tasks.snapshots.catalog import read_catalog
from tasks.snapshots.marks import verification, write_mark
from tasks.snapshots.stores.directory import DirectoryStore
from tests import etcd_specs
from tests.unit.snapshots.shelf import KEY, NOW, STRANGER, TRUSTED, catalog_of, shelve

HOUR = timedelta(hours=1)
STORE = (("store", "local"),)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore("local", tmp_path / "backups", "prod-a")


def told(update: Update | None) -> dict[str, float]:
    assert update is not None
    return {sample.name.removeprefix("etcd_flows_"): sample.value for sample in update.samples}


def cluster(**changes: object) -> Cluster:
    plain = etcd_specs.cluster()
    stored = replace(plain.snapshots, schedule="0 */6 * * *", stores=(StoreSettings("local", Path("/srv")),))
    settings = MonitoringSettings("docs/alerts.md", **changes)  # type: ignore[arg-type]
    return replace(plain, snapshots=stored, monitoring=settings)


def test_a_store_is_judged_by_the_newest_sound_backup_that_it_lists(store: DirectoryStore) -> None:
    shelve(store, NOW - 3 * HOUR, level="opened")
    good = shelve(store, NOW - 2 * HOUR, pages=8)
    shelve(store, NOW - HOUR, key=STRANGER)  # forged
    shelve(store, NOW - HOUR, 1, bad="a page is torn")
    shelve(store, NOW, kind="safety")  # before a restore: no backup of the schedule
    store.put("manifests/20261124T150000Z-00000009.json", b"noise")
    found = told(store_update(catalog_of(store), NOW + HOUR))
    assert found == {
        "store_readable": 1,
        "store_read_timestamp_seconds": (NOW + HOUR).timestamp(),
        "snapshots": 2,
        "snapshots_unsound": 3,
        "snapshot_taken_timestamp_seconds": (NOW - 2 * HOUR).timestamp(),
        "snapshot_revision": 1000,
        "snapshot_database_bytes": good.db_bytes,
        "snapshot_stored_bytes": good.object_bytes,
        "snapshot_level": 1,
        "snapshot_verified_taken_timestamp_seconds": (NOW - 3 * HOUR).timestamp(),
    }


def test_an_empty_store_is_told_as_that(store: DirectoryStore) -> None:
    assert told(store_update(catalog_of(store), NOW)) == {
        "store_readable": 1,
        "store_read_timestamp_seconds": NOW.timestamp(),
        "snapshots": 0,
        "snapshots_unsound": 0,
    }


def test_what_a_store_no_longer_has_is_no_longer_told(store: DirectoryStore, tmp_path: Path) -> None:
    shelve(store, NOW, level="restored")
    before = merged((), [store_update(catalog_of(store), NOW)], {"local"})
    assert Sample("etcd_flows_snapshot_level", 3, STORE) in before
    empty = DirectoryStore("local", tmp_path / "empty", "prod-a")
    after = merged(before, [store_update(read_catalog(empty, "prod-a", TRUSTED), NOW + HOUR)], {"local"})
    assert Sample("etcd_flows_snapshots", 0, STORE) in after
    assert not [sample for sample in after if sample.name.startswith("etcd_flows_snapshot_")]


def test_a_store_that_can_t_be_read_keeps_what_was_known_and_its_time(store: DirectoryStore) -> None:
    shelve(store, NOW)
    before = merged((), [store_update(catalog_of(store), NOW)], {"local"})
    after = merged(before, [unreadable_store("local")], {"local"})
    assert set(before) - set(after) == {Sample("etcd_flows_store_readable", 1, STORE)}
    assert set(after) - set(before) == {Sample("etcd_flows_store_readable", 0, STORE)}


def test_a_failed_run_keeps_when_the_last_good_one_was() -> None:
    known = merged((), [backup_update(NOW, 4.5), drill_update(NOW, 9.0)], ())
    known = merged(known, [backup_update(NOW + HOUR, None)], ())
    found = {sample.name.removeprefix("etcd_flows_"): sample.value for sample in known}
    assert (found["backup_success"], found["drill_success"]) == (0, 1)
    assert found["backup_ended_timestamp_seconds"] == (NOW + HOUR).timestamp()
    assert found["backup_succeeded_timestamp_seconds"] == NOW.timestamp()
    assert found["backup_duration_seconds"] == 4.5


def test_a_restore_that_failed_says_nothing_of_an_earlier_one_s_time() -> None:
    known = merged((), [restore_update(NOW, good=True, writable=8.0, proven=9.0)], ())
    known = merged(known, [restore_update(NOW + HOUR, good=False, writable=None, proven=None)], ())
    assert {sample.name for sample in known} == {
        "etcd_flows_restore_success",
        "etcd_flows_restore_ended_timestamp_seconds",
    }


def test_drills_held_elsewhere_are_found_in_the_stores(store: DirectoryStore) -> None:
    assert recorded_drill([catalog_of(store)]) is None
    manifest = shelve(store, NOW)
    write_mark(store, verification(manifest, "restored", NOW, seconds=12.0), KEY)
    write_mark(store, verification(manifest, "restored", NOW + HOUR, bad="a key is missing"), KEY)
    write_mark(store, verification(manifest, "restored", NOW + 2 * HOUR, seconds=1.0), STRANGER)  # forged
    found = recorded_drill([catalog_of(store)])
    assert told(found) == {
        "drill_success": 0,
        "drill_ended_timestamp_seconds": (NOW + HOUR).timestamp(),
        "drill_succeeded_timestamp_seconds": NOW.timestamp(),
        "drill_duration_seconds": 12.0,
    }
    assert found is not None
    own = drill_update(NOW + 3 * HOUR, None)  # could not be held, so no store knows of it
    assert set(merged((), [own, found], ())) == set(own.samples)
    assert set(found.samples) <= set(merged(drill_update(NOW - HOUR, 3.0).samples, [found], ()))


def test_stores_and_members_that_are_gone_are_not_told_of() -> None:
    old = (said("store", "former", {"snapshots": 2}), said("member", "etcd-09", {"clock_offset_seconds": 1.0}))
    known = merged((), [*old, backup_update(NOW, 1.0)], {"former", "etcd-09"})
    assert {sample.subject for sample in known} == {"", "former", "etcd-09"}
    assert {sample.subject for sample in merged(known, (), {"local", "etcd-01"})} == {""}


@pytest.mark.parametrize(
    ("schedule", "told_age", "hours"),
    [("0 */6 * * *", None, 9), ("0 3 * * 1-5", None, 108), (None, None, 36), ("0 */6 * * *", 7200.0, 2)],
)
def test_how_old_the_newest_backup_may_be(schedule: str | None, told_age: float | None, hours: float) -> None:
    plain = cluster(backup_age=told_age)
    assert backup_age(replace(plain, snapshots=replace(plain.snapshots, schedule=schedule))) == hours * 3600


def test_the_cluster_file_s_aims_are_told() -> None:
    assert told(file_update(replace(cluster(), rto_seconds=900.0), NOW)) == {
        "rto_target_seconds": 900,
        "backup_age_limit_seconds": 9 * 3600,
        "drill_age_limit_seconds": 35 * 86400,
        "written_timestamp_seconds": NOW.timestamp(),
    }
    assert "rto_target_seconds" not in told(file_update(cluster(), NOW))


_MANY = {"store": "local", "member": "etcd-01"}


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    family = draw(st.sampled_from(FAMILIES))
    labels: list[tuple[str, str]] = [(family.group, _MANY[family.group])] if family.group in MANY else []
    if "certificate" in family.name:
        labels.append(("certificate", draw(st.text('aä"\\\n{}=, ', max_size=8))))
    value = draw(st.floats(allow_nan=False) | st.integers(0, 2**53).map(float))
    return Sample(family.name, value, tuple(sorted(labels)))


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first draw of all reads all modules
@given(st.lists(samples(), unique_by=lambda sample: (sample.name, sample.labels)))
def test_what_is_written_is_read_back(given_samples: list[Sample]) -> None:
    text = render("prod-a", given_samples)
    assert set(parse(text)) == set(given_samples)
    assert render("prod-a", merged(parse(text), (), _MANY.values())) == text


def test_times_are_not_rounded() -> None:
    at = datetime(2026, 11, 24, 14, 30, 0, 250000, tzinfo=UTC)
    (sample,) = parse(render("prod-a", [Sample("etcd_flows_backup_ended_timestamp_seconds", at.timestamp())]))
    assert sample.value == at.timestamp()


def test_the_file_is_whole_readable_for_others_and_changed_by_one_at_a_time(tmp_path: Path) -> None:
    spec = cluster(textfile_directory=tmp_path)
    many = replace(spec.snapshots, stores=tuple(StoreSettings(f"s{n}", Path("/srv")) for n in range(8)))
    spec = replace(spec, snapshots=many)
    said_of = [said("store", f"s{number}", {"snapshots": number}) for number in range(8)]
    threads = [threading.Thread(target=publish, args=(spec, [update], pytest.fail)) for update in said_of]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (file,) = (path for path in tmp_path.iterdir() if not path.name.endswith(".lock"))
    assert file.name == "etcd_flows_prod-a.prom"
    assert file.stat().st_mode & 0o777 == 0o644
    assert {sample.subject: sample.value for sample in parse(file.read_text())} == {f"s{n}": n for n in range(8)}


def test_a_file_that_is_none_is_begun_anew_and_that_is_said(tmp_path: Path) -> None:
    file = tmp_path / "etcd_flows_prod-a.prom"
    file.write_bytes(b"etcd_flows_snapshots{\xff\n")
    words: list[str] = []
    publish(cluster(textfile_directory=tmp_path), [backup_update(NOW, 1.0)], words.append)
    assert "can't be read" in words[0]
    assert len(parse(file.read_text())) == 4


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(EtcdFlowsError, match="can't be written: No such file") as caught:
        publish(cluster(textfile_directory=tmp_path / "typo"), [backup_update(NOW, 1.0)], pytest.fail)
    assert "monitoring.textfile_directory" in (caught.value.remedy or "")
    assert not (tmp_path / "typo").exists()


def test_without_a_place_nothing_is_written() -> None:
    publish(etcd_specs.cluster(), [backup_update(NOW, 1.0)], pytest.fail)
    publish(cluster(), [backup_update(NOW, 1.0)], pytest.fail)


def test_on_a_host_it_is_changed_by_one_at_a_time(tmp_path: Path) -> None:
    here = replace(etcd_specs.host("watcher"), ssh=replace(etcd_specs.LOCAL, sudo="none"))
    file = tmp_path / "etcd_flows_prod-a.prom"
    meddled: list[str] = []

    def edit(text: str) -> str:
        if not meddled:
            file.write_text("another run was quicker\n")
        meddled.append(text)
        return text + "ours\n"

    try:
        change_on_host(here, str(file), edit)
        assert meddled == ["", "another run was quicker\n"]
        assert file.read_text() == "another run was quicker\nours\n"
        assert file.stat().st_mode & 0o777 == 0o644
        with pytest.raises(EtcdFlowsError):
            change_on_host(here, str(tmp_path / "typo" / "x.prom"), lambda text: text)
        assert not (tmp_path / "typo").exists()
    finally:
        close_all()
