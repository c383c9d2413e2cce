"""Two of three members are lost for good: the third one's data is restored, whether its etcd still starts or not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from deployments.demo import processes
from tests.loopback import NAMES, Loopback

pytestmark = [pytest.mark.component, pytest.mark.slow, pytest.mark.timeout(600)]

SURVIVORS = ("disaster-restore", "--from-survivors")


def write(members: Loopback, value: str) -> None:
    """Through all members, so that all have it."""
    members.ctl(NAMES[0], f"put kept {value}")
    for name in NAMES:
        assert members.ctl(name, "get kept --print-value-only").strip() == value


def data_dir(members: Loopback, name: str) -> Path:
    """Where the member's data is now."""
    pointer = members.records(name, "data-dir")
    return Path(pointer.read_text().strip() if pointer.exists() else members.spec.host(name).paths.data_dir)


def lose(members: Loopback, *names: str) -> None:
    """The members, and their data."""
    for name in names:
        processes.kill_member(members.root / name)
        shutil.rmtree(data_dir(members, name) / "member")


def assert_back(members: Loopback, value: str) -> None:
    """All three serve it, as one cluster."""
    for name in NAMES:
        assert members.ctl(name, "get kept --print-value-only").strip() == value
        assert "force-new-cluster" not in Path(members.spec.host(name).paths.env_file).read_text().lower()
    assert len(json.loads(members.ctl(NAMES[0], "member list -w json"))["members"]) == len(NAMES)
    assert members.run("bootstrap-cluster")["plan"]["empty"]


def test_with_quorum_it_is_refused(members: Loopback) -> None:
    write(members, "first")
    refused = members.run(*SURVIVORS, "--plan", code=3)
    assert "can decide" in refused["errors"][0]["message"]


def test_one_of_three_is_left_and_answers(members: Loopback) -> None:
    lose(members, NAMES[0], NAMES[2])
    planned = members.run(*SURVIVORS, "--plan")["plan"]
    assert any(f"restored is what {NAMES[1]} holds: term" in note for note in planned["notes"]), planned["notes"]
    assert any("the 2 other members are lost" in note for note in planned["notes"])
    assert any("there is no way back" in note for note in planned["notes"])
    before = members.pids()
    done = members.run(*SURVIVORS, "--confirm", "demo")
    assert before[NAMES[1]] not in members.pids().values()
    assert done["safety_snapshot"] == "", "it is stored once, and not once more"
    (found,) = (members.root / "backups").rglob(f"manifests/{done['restore']['snapshot']}.json")
    manifest = json.loads(found.read_text())["manifest"]
    assert (manifest["kind"], manifest["source"]) == ("safety", NAMES[1])
    assert_back(members, "first")


def test_the_one_that_is_left_does_not_start(members: Loopback) -> None:
    """Its etcd is gone; killed while it brings the copy back, the restore goes on from the stored snapshot."""
    write(members, "second")
    lose(members, NAMES[0], NAMES[1])
    processes.kill_member(members.root / NAMES[2])
    old = data_dir(members, NAMES[2])
    planned = members.run(*SURVIVORS, "--plan")["plan"]
    assert any(f"restored is what {NAMES[2]}:{old} holds" in note for note in planned["notes"]), planned["notes"]
    members.run(*SURVIVORS, "--confirm", "demo")
    assert_back(members, "second")


def test_a_data_directory_and_a_database_alone(members: Loopback, tmp_path: Path) -> None:
    write(members, "third")
    for name in NAMES:
        processes.kill_member(members.root / name)
    copied = tmp_path / "copied"
    shutil.copytree(data_dir(members, NAMES[0]), copied)
    named = f"{NAMES[1]}:{data_dir(members, NAMES[1])}"
    members.run("disaster-restore", "--from-data-dir", named, "--confirm", "demo")
    assert_back(members, "third")

    write(members, "fourth")
    shutil.rmtree(copied / "member/wal")
    database = ("disaster-restore", "--from-data-dir", str(copied), "--confirm", "demo")
    refused = members.run(*database, code=3)
    assert "no-checksum" in refused["errors"][0]["remedy"]
    planned = members.run("disaster-restore", "--from-data-dir", str(copied), "--plan", "--accept", "no-checksum")
    assert any("without its log" in note for note in planned["plan"]["notes"])
    members.run(*database, "--accept", "no-checksum")
    assert_back(members, "third")
