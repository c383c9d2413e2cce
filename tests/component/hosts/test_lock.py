"""The lock through real shells, on "hosts" that are directories of this machine; other runs are other processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.cluster.spec import Host
from tasks.errors import CommandFailed, LockHeld, LockLost
from tasks.hosts import lock
from tasks.hosts.lock_holder import new_owner, set_active
from tasks.hosts.locking import HeldLock, acquire, look, remove
from tasks.hosts.shell import Shell, close_all, open_shell
from tests.component.hosts.sshd import local_host

pytestmark = pytest.mark.component

#: Takes the lock, says so, holds it until it reads a line (or is killed), releases it.
HOLDER = """
import sys
from tasks.hosts.lock_holder import new_owner, set_active
from tasks.hosts.locking import acquire
from tasks.errors import LockHeld
from tests.component.hosts.test_lock import hosts_in
from pathlib import Path
sys.stdin.readline()
try:
    held, _ = acquire(hosts_in(Path(sys.argv[1])), new_owner(sys.argv[2], "a-flow", "prod-a"))
except LockHeld as error:
    print("refused", flush=True)
    print(error, file=sys.stderr)
    sys.exit(3)
print("held", flush=True)
sys.stdin.readline()
held.release()
"""


def hosts_in(directory: Path, count: int = 3) -> list[Host]:
    return [local_host(str(directory / f"h{number}"), name=f"h{number}") for number in range(1, count + 1)]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    yield hosts_in(tmp_path)
    close_all()


def start(directory: Path, run: str) -> subprocess.Popen[str]:
    """Another run, at the starting line."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory), run],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def word(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def take(hosts: list[Host], run: str = "run-1") -> HeldLock:
    return acquire(hosts, new_owner(run, "a-flow", "prod-a"))[0]


def locks(hosts: list[Host]) -> list[set[str]]:
    """Sessions by host, seen on the disk."""
    return [{path.name for path in Path(lock.lock_dir(host)).glob("*")} for host in hosts]


def elsewhere(host: Host, session: str) -> None:
    """Make a lock look like that of a run on another machine."""
    path = Path(lock.lock_dir(host), session, "owner")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": "laptop-of-ada", "boot": "another"}))


def lease(host: Host, session: str) -> Path:
    (path,) = Path(lock.lock_dir(host), session).glob("lease.*")
    return path


def test_taken_and_released_without_a_trace(hosts: list[Host]) -> None:
    held = take(hosts)
    assert locks(hosts) == [{held.session}] * 3
    assert Path(lock.lock_dir(hosts[0])).stat().st_mode & 0o777 == 0o700
    assert Path(hosts[0].paths.record_dir).stat().st_mode & 0o777 == 0o755
    assert held.release() == []
    assert not any(Path(host.paths.record_dir).exists() for host in hosts)


def test_what_others_keep_there_stays(hosts: list[Host]) -> None:
    record = Path(hosts[0].paths.record_dir)
    record.mkdir(parents=True)
    (record / "identity.json").touch()
    take(hosts).release()
    assert [path.name for path in record.iterdir()] == ["identity.json"]


def test_a_second_run_is_told_who_holds_it(hosts: list[Host], tmp_path: Path) -> None:
    other = start(tmp_path, "run-of-ada")
    go(other)
    assert word(other) == "held"
    try:
        began = time.monotonic()
        with pytest.raises(LockHeld) as caught:
            take(hosts)
        assert time.monotonic() - began < 10
        said = str(caught.value)
        assert caught.value.exit_code == 3
        for part in (
            "a-flow",
            "run-of-ada",
            f"pid {other.pid}",
            "h1, h2, h3",
            "locks release CLUSTER --run run-of-ada",
        ):
            assert part in said
        assert all(len(there) == 1 for there in locks(hosts)), "nothing of ours is left"
        go(other)
        assert other.wait(20) == 0
    finally:
        other.kill()
        other.communicate()
    take(hosts).release()


def test_the_lock_of_a_killed_run_of_this_machine_is_taken_over_at_once(hosts: list[Host], tmp_path: Path) -> None:
    other = start(tmp_path, "run-of-ada")
    go(other)
    assert word(other) == "held"
    other.kill()
    other.communicate()
    remove(hosts[2:], {*locks(hosts)[2]})  # as if it had come only so far
    said: list[str] = []
    held, _ = acquire(hosts, new_owner("run-2", "a-flow", "prod-a"), tell=said.append)
    assert locks(hosts) == [{held.session}] * 3
    assert len(said) == 1
    assert "run-of-ada" in said[0]
    assert "its process is gone" in said[0]
    held.release()


def test_a_run_of_another_machine_is_dead_only_when_its_leases_have_ended(hosts: list[Host]) -> None:
    old = take(hosts, "run-of-ada")
    for host in hosts:
        elsewhere(host, old.session)
    for host in hosts[1:]:
        os.utime(lease(host, old.session), (1, 1))
    with pytest.raises(LockHeld, match="laptop-of-ada"):
        acquire(hosts[:1], replace(new_owner("run-2", "a-flow", "prod-a")))
    seen, _ = look(hosts)
    (holder,) = lock.holders(seen, lambda *_: None)
    assert holder.life == "alive"
    os.utime(lease(hosts[0], old.session), (1, 1))
    held = take(hosts, "run-2")
    with pytest.raises(LockLost), open_shell(hosts[1], old.guard(hosts[1])) as shell:
        shell.run("echo never")
    with pytest.raises(LockLost):
        old.check()
    held.release()


def test_a_host_that_was_started_again_keeps_no_lock_for_ever(hosts: list[Host]) -> None:
    old = take(hosts)
    for host in hosts:
        elsewhere(host, old.session)
        lease(host, old.session).rename(Path(lock.lock_dir(host), old.session, "lease.an-earlier-boot"))
    (holder,) = lock.holders(look(hosts)[0], lambda *_: None)
    assert (holder.life, holder.heard) == ("dead", None), "this machine has been up for longer than the limit"
    take(hosts, "run-2").release()


def test_every_command_renews_the_lease_for_as_long_as_it_may_run(hosts: list[Host]) -> None:
    held = take(hosts)
    with open_shell(hosts[0], held.guard(hosts[0])) as shell:
        assert shell.run("head -c 3; exit 0", stdin=[b"abc"], timeout=1000).text == "abc"
    (entry,) = look(hosts[:1])[0]["h1"]
    assert 1000 < entry.lease_left <= 1000 + lock.MARGIN
    (entry,) = look(hosts[1:2])[0]["h2"]
    assert lock.LEASE - 5 < entry.lease_left <= lock.LEASE
    held.release()


def test_a_silent_run_is_heard_of(hosts: list[Host], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.3)
    held = take(hosts)
    for host in hosts:
        os.utime(lease(host, held.session), (1, 1))
    time.sleep(1.5)
    seen, _ = look(hosts)
    assert all(entry.lease_left > lock.LEASE - 10 for entries in seen.values() for entry in entries)
    remove(hosts, [held.session])
    time.sleep(1.5)
    with pytest.raises(LockLost, match="no longer there"):
        held.check()
    held.release()


def test_after_a_forced_release_nothing_more_is_done(hosts: list[Host], tmp_path: Path) -> None:
    held = take(hosts)
    remove(hosts[1:2], [held.session])
    with pytest.raises(LockLost) as caught, open_shell(hosts[1], held.guard(hosts[1])) as shell:
        shell.run(f"touch {tmp_path}/done")
    assert caught.value.host == "h2"
    assert not (tmp_path / "done").exists()
    with pytest.raises(LockLost), open_shell(hosts[0], held.guard(hosts[0])) as shell:
        shell.run(f"touch {tmp_path}/done")
    assert not (tmp_path / "done").exists(), "on no other host either"
    held.release()


def test_threads_that_are_left_over_change_nothing_after_the_release(hosts: list[Host]) -> None:
    held = take(hosts)
    held.release()
    with pytest.raises(LockLost), open_shell(hosts[0], held.guard(hosts[0])) as shell:
        shell.run("true")


def test_release_waits_for_the_command_that_is_running(hosts: list[Host], tmp_path: Path) -> None:
    held = take(hosts)
    script = f"touch {tmp_path}/began; sleep 1; touch {tmp_path}/ended"
    working = threading.Thread(target=lambda: Shell(hosts[0], held.guard(hosts[0])).run(script))
    working.start()
    while not (tmp_path / "began").exists():
        time.sleep(0.01)
    held.release()
    assert (tmp_path / "ended").exists()
    working.join()


def test_a_dead_run_whose_command_still_works_is_waited_for(hosts: list[Host], tmp_path: Path) -> None:
    old = take(hosts)
    script = f"touch {tmp_path}/began; sleep 2; touch {tmp_path}/ended"
    working = threading.Thread(target=lambda: Shell(hosts[0], old.guard(hosts[0])).run(script))
    working.start()
    while not (tmp_path / "began").exists():
        time.sleep(0.01)
    for host in hosts:
        elsewhere(host, old.session)
        os.utime(lease(host, old.session), (1, 1))
    # Another process, since one host does one thing at a time for each process.
    other = start(tmp_path, "run-2")
    go(other)
    assert word(other) == "held"
    assert (tmp_path / "ended").exists()
    go(other)
    assert other.wait(20) == 0
    other.communicate()
    working.join()


def test_what_shall_run_in_the_same_round_trip(hosts: list[Host]) -> None:
    then = {host.name: f"echo 'seen on {host.name}'" for host in hosts}
    held, outputs = acquire(hosts, new_owner("run-1", "a-flow", "prod-a"), then=then)
    assert [outputs[host.name].text.splitlines()[-1] for host in hosts] == [f"seen on {host.name}" for host in hosts]
    held.release()


def test_all_or_none(hosts: list[Host]) -> None:
    record = Path(hosts[1].paths.record_dir)
    record.parent.mkdir(parents=True)
    record.write_text("in the way")
    with pytest.raises(CommandFailed, match="taking the lock") as caught:
        take(hosts)
    assert caught.value.host == "h2"
    assert not any(Path(lock.lock_dir(host)).exists() for host in hosts)


def test_a_torn_lock_is_no_lock_for_ever(hosts: list[Host]) -> None:
    """What a power cut may leave: names without content."""
    for host in hosts:
        torn = Path(lock.lock_dir(host), "0123")
        torn.mkdir(parents=True)
        (torn / "owner").touch()
        (Path(lock.lock_dir(host)) / ".new.999999999").mkdir()
    held = take(hosts)  # this machine has been up for longer than the limit, and nothing was heard since
    assert [sorted(path.name for path in Path(lock.lock_dir(host)).iterdir()) for host in hosts] == [[held.session]] * 3
    held.release()


@pytest.mark.slow
def test_at_the_very_same_moment_one_gets_it(tmp_path: Path) -> None:
    """Races of three processes: never two at once, never nobody."""
    for number in range(4):
        runs = [start(tmp_path, f"run-{number}-{letter}") for letter in "abc"]
        try:
            time.sleep(1.5)
            for run in runs:
                go(run)
            words = [word(run) for run in runs]
            assert sorted(words) == ["held", "refused", "refused"], [run.communicate() for run in runs]
            winner = runs[words.index("held")]
            go(winner)
            assert winner.wait(20) == 0
        finally:
            for run in runs:
                run.kill()
                run.communicate()
        assert locks(hosts_in(tmp_path)) == [set()] * 3


def test_two_threads_of_one_process_are_two_runs(hosts: list[Host]) -> None:
    held = take(hosts)
    with pytest.raises(LockHeld, match="its process lives on this machine"):
        take(hosts, "run-2")
    with pytest.raises(LockHeld):
        take(hosts, "run-1")
    set_active(held.session, False)  # its flow has ended, and could not release it
    again = take(hosts, "run-2")
    again.release()
    held.release()
