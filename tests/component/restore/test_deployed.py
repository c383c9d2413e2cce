"""disaster-restore as a deployment: approved in the UI, refused there, or not answered at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.demo import processes
from tests.component.restore.deployed import Deployed, locked, values
from tests.lab.system import wait_until
from tests.loopback import CLI, NAMES, Loopback

pytestmark = [pytest.mark.component, pytest.mark.slow, pytest.mark.timeout(900)]

AGAIN = ("--confirm", "demo", "--again", "--accept", "no-safety-snapshot")


def test_no_answer_means_no(deployed: Deployed) -> None:
    members = deployed.members
    before = members.pids()
    run = deployed.begin(approval_seconds=3)
    assert "which means no" in deployed.wait(run, "FAILED")
    assert deployed.ask(f"/flow_runs/{run}")["state"]["name"] == "Refused"
    assert members.pids() == before
    assert not any(members.records(name, "restore").exists() for name in NAMES)


def test_typed_names_and_a_plan_that_became_another(deployed: Deployed) -> None:
    members = deployed.members
    run = deployed.begin(requested_by="night shift")
    first = deployed.description(run, deployed.paused(run, 1))
    assert "everything written since is lost" in first
    assert not locked(members), "no lock is held while it waits"
    assert deployed.answer(run, cluster="demo") == "REJECT", "the form wants a reason"
    assert deployed.answer(run, cluster="prod-a", reason="a test") == "ACCEPT"
    assert "'prod-a' was typed" in deployed.description(run, deployed.paused(run, 2))
    for name in NAMES[1:]:
        processes.kill_member(members.root / name)
    assert deployed.answer(run, cluster="demo", reason="first yes") == "ACCEPT"
    third = deployed.description(run, deployed.paused(run, 3))
    assert "have changed since the plan was approved" in third
    assert "there is no way back" in third
    assert not any(members.records(name, "restore").exists() for name in NAMES), "nothing was begun"
    assert deployed.answer(run, cluster="demo", reason="second yes", requested_by="J. Doe") == "ACCEPT"
    deployed.wait(run, "COMPLETED")
    assert values(members) == {"before"}
    for name in NAMES:
        record = json.loads(members.records(name, "restored.json").read_text())
        assert (record["requested_by"], record["reason"], record["had_quorum"]) == ("J. Doe", "second yes", False)


def test_the_way_back_is_approved_too(deployed: Deployed) -> None:
    """A wrong name is no yes; who said yes, and why, is on record."""
    members = deployed.members
    file = members.file.read_text()
    members.file.write_text(f"{file}restore: {{before_stop: [{{name: ask, machine: local, command: 'exit 7'}}]}}\n")
    refused = members.run("disaster-restore", *AGAIN, code=1)
    assert "no member was stopped" in refused["errors"][0]["state"]
    members.file.write_text(file)
    members.run("disaster-restore", *AGAIN)  # from members that could decide: there is a way back
    members.ctl(NAMES[1], "put since 1")
    run = deployed.begin(go_back=True)
    told = deployed.description(run, deployed.paused(run, 1))
    assert "is taken back: the former data serves again" in told
    assert "what was written since the restore is lost" in told
    assert not locked(members)
    pids = members.pids()
    assert deployed.answer(run, cluster="prod-a", reason="a test") == "ACCEPT"
    assert "'prod-a' was typed" in deployed.description(run, deployed.paused(run, 2))
    assert members.pids() == pids
    assert deployed.answer(run, cluster="demo", reason="it was the wrong one", requested_by="J. Doe") == "ACCEPT"
    deployed.wait(run, "COMPLETED")
    assert members.ctl(NAMES[0], "get since") == ""
    last = members.run("list", program=(*CLI, "restores"))["restores"][0]
    assert (last["state"], last["taken_back_for"], last["taken_back_reason"]) == (
        "taken back",
        "J. Doe",
        "it was the wrong one",
    )
    for name in ("begun", "failed", "completed", "taken-back"):
        deployed.heard(f"etcd-flows.restore.{name}", last["id"])


@pytest.mark.parametrize(
    ("number", "point", "stopped", "said"),
    [
        (signal.SIGHUP, f"done/{NAMES[1]}/push", 0, "runs on its former data, nothing holds it"),
        (signal.SIGTERM, f"done/{NAMES[1]}/hold", 3, "stopped and held, set to its former data"),
    ],
    ids=["terminal gone", "terminated"],
)
def test_the_command_line_is_stopped(
    deployed: Deployed, number: signal.Signals, point: str, stopped: int, said: str
) -> None:
    """While one host is between two steps: its next step is not begun, and the same command goes on later."""
    members = deployed.members
    flag = members.root / f"go-{number.name}"
    paused = (sys.executable, "-m", "tests.e2e.paused_run", point, str(flag))
    process = subprocess.Popen(
        members.argv("disaster-restore", *AGAIN, program=paused),
        cwd=members.root,
        env=members.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until("the run is at the point", flag.with_name(f"{flag.name}.paused").exists, 120)
    wait_until("the other hosts are", lambda: len(members.pids()) == len(NAMES) - stopped, 60)
    process.send_signal(number)
    wait_until("the lock is free", lambda: not locked(members), 60)
    flag.touch()
    _, stderr = process.communicate(timeout=90)
    assert process.returncode == 1, stderr
    assert stderr.count(said) == len(NAMES), stderr
    assert f"to go on: etcd-flows disaster-restore {members.file} --confirm demo" in stderr
    assert len(members.pids()) == len(NAMES) - stopped
    assert not members.records(NAMES[1], "restore/unpacked").exists() or stopped, "its next step was begun"
    members.run("disaster-restore", *AGAIN)
    assert values(members) == {"before"}


def beside(members: Loopback) -> dict[str, set[str]]:
    """All data dirs on each host."""
    return {
        name: {found.name for found in Path(members.spec.host(name).paths.data_dir).iterdir() if found.is_dir()}
        for name in NAMES
    }


def test_old_data_goes_when_it_is_no_only_copy(deployed: Deployed) -> None:
    """What the restores of this module have left; a run that is killed is carried on."""
    members = deployed.members
    before, pids = beside(members), members.pids()
    assert all(len(dirs) >= 3 for dirs in before.values()), before
    assert "called 'demo'" in members.run("prune-data-dirs", "--confirm", "prod-a", code=3)["errors"][0]["message"]
    refused = members.run("prune-data-dirs", "--confirm", "demo", code=3)
    assert "no verified snapshot in a store is newer" in refused["errors"][0]["message"]
    members.run("snapshot-backup")
    assert "no verified snapshot" in members.run("prune-data-dirs", "--plan", code=3)["errors"][0]["message"]
    members.run("restore-drill")
    planned = members.run("prune-data-dirs", "--plan", "--keep", "1")
    assert beside(members) == before
    assert {(one["host"], one["path"].rpartition("/")[2]) for one in planned["found"]} == {
        (name, found) for name, dirs in before.items() for found in dirs if f"/{found}" not in current(members, name)
    }
    assert all(one["restore"] for one in planned["found"] if not one["path"].endswith("/member"))

    killed = subprocess.run(
        members.argv(
            "prune-data-dirs",
            *("--keep", "1", "--confirm", "demo"),
            program=(sys.executable, "-m", "tests.e2e.killed_run", f"done/{NAMES[0]}/remove"),
        ),
        cwd=members.root,
        env=members.environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed
    # As a kill in the middle of the removal leaves it.
    data = Path(members.spec.host(NAMES[1]).paths.data_dir)
    gone = data / f".pruned-{'0' * 8}"
    (gone / "member").mkdir(parents=True)
    members.run("prune-data-dirs", "--keep", "1", "--confirm", "demo")
    assert {len(dirs) for dirs in beside(members).values()} == {2}
    assert not gone.exists()
    assert members.run("prune-data-dirs", "--keep", "1", "--plan")["plan"]["empty"]

    assert "taken back" in str(members.run("prune-data-dirs", "--keep", "0", "--plan")["plan"]["notes"])
    members.run("prune-data-dirs", "--keep", "0", "--confirm", "demo")
    for name, dirs in beside(members).items():
        (left,) = dirs
        assert f"/{left}" in current(members, name)
    assert members.pids() == pids
    assert values(members) == {"before"}
    refused = members.run("disaster-restore", "--go-back", "--confirm", "demo", code=3)
    assert "none to take back" in refused["errors"][0]["message"]


def current(members: Loopback, name: str) -> str:
    """The data dir that the member runs on."""
    return members.records(name, "data-dir").read_text().strip()
