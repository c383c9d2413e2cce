"""Two runs on one cluster: one works, the other is told who does; whoever dies leaves no lock for ever."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.product import KILLED, TIMEOUT, Done, Product, assert_healthy, leftovers
from tests.lab.hosts import LabHost
from tests.lab.system import wait_until
from tests.outputs import assert_as_published
from tests.starter import Run

Fresh = Callable[[int], list[LabHost]]

LOCKS = "/var/lib/etcd-flows/lock"
WORKING = "start/etcd-01/config"  # in the middle of the first phase


@dataclass
class Paused:
    """A run that stands still at one event.

    Args:
        flag: Made to let it go on.
    """

    process: Run
    flag: Path

    @property
    def there(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()
        return self.flag.with_name(f"{self.flag.name}.paused").exists()

    def finish(self) -> Done:
        self.flag.touch()
        return Done.of(self.process)


@contextmanager
def paused(product: Product, event: str, verb: str, *words: str, name: str = "flag") -> Iterator[Paused]:
    """A run of its own process, on its way to the event."""
    flag = product.directory / name
    program = (sys.executable, "-m", "tests.e2e.paused_run", event, str(flag))
    process = product.start(*program, verb, str(product.file), *words)
    try:
        yield Paused(process, flag)
    finally:
        process.kill()
        for file in (flag, flag.with_name(f"{flag.name}.paused")):
            file.unlink(missing_ok=True)


def arrived(*runs: Paused) -> None:
    wait_until("the runs stand still", lambda: all(run.there for run in runs), 120)


def sessions(hosts: list[LabHost]) -> list[list[str]]:
    """The locks on each host."""
    return [host.exec(f"ls -A {LOCKS} 2>/dev/null; true").split() for host in hosts]


def listed(product: Product) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = locks(product, "list", "--json").json["locks"]
    return found


def locks(product: Product, verb: str, *words: str) -> Done:
    """``etcd-flows locks VERB CLUSTER``."""
    program = (sys.executable, "-m", "deployments.cli", "locks")
    done = product.run(verb, *words, program=program, as_json=False)
    if "--json" in words:
        assert_as_published(f"locks-{verb}", done.stdout)
    return done


def free(hosts: list[LabHost]) -> None:
    assert sessions(hosts) == [[] for _ in hosts]


def test_the_second_run_is_told_who_works_there(fresh_hosts: Fresh, product: Product) -> None:
    hosts = fresh_hosts(3)
    product.describe(hosts)
    with paused(product, WORKING, "bootstrap-cluster") as first:
        arrived(first)
        second = product.run("bootstrap-cluster")
        assert second.code == 3, second.output
        (error,) = second.errors
        for part in ("bootstrap-cluster of", f"pid {first.process.pid}", "etcd-01, etcd-02, etcd-03", "lives"):
            assert part in error["message"]
        assert "locks list" in error["remedy"]
        assert "nothing was changed" in error["state"]
        found = listed(product)
        assert [(lock["host"], lock["state"], lock["pid"]) for lock in found] == [
            (host.name, "alive", first.process.pid) for host in hosts
        ]
        (run,) = {lock["run"] for lock in found}
        assert run in error["message"]
        assert f"pid {first.process.pid}" in locks(product, "list").stdout
        assert product.run("destroy-cluster", "--confirm", "prod-a", "--delete-data").code in (
            0,
            3,
        )  # nothing yet, or held
        refused = locks(product, "release", "--run", run)
        assert refused.code == 3, refused.output
        assert "--force" in refused.stderr
        assert locks(product, "release", "--run", "no-such-run").code == 2
        assert len(listed(product)) == 3
        done = first.finish()
    assert done.code == 0, done.output
    assert_healthy(hosts)
    free(hosts)
    assert "no lock on" in locks(product, "list").stdout
    again = product.bootstrap()
    assert again.json["plan"]["empty"] is True


def test_a_killed_run_is_taken_over_at_once_on_its_machine(fresh_hosts: Fresh, product: Product) -> None:
    hosts = fresh_hosts(3)
    product.describe(hosts)
    assert product.run("bootstrap-cluster", program=(*KILLED, WORKING)).code == -signal.SIGKILL
    assert [len(there) for there in sessions(hosts)] == [1, 1, 1]
    assert {lock["state"] for lock in listed(product)} == {"dead"}
    hosts[1].exec(f"rm -rf {LOCKS}")  # as if it had come only to two of three
    done = product.bootstrap()
    assert "is taken over: its process is gone" in done.stderr
    assert_healthy(hosts)
    free(hosts)
    assert [leftovers(host) for host in hosts] == [[], [], []]


def test_a_run_killed_on_another_machine_is_taken_over_when_its_leases_have_ended(
    fresh_hosts: Fresh, product: Product
) -> None:
    hosts = fresh_hosts(3)
    product.describe(hosts)
    assert product.run("bootstrap-cluster", program=(*KILLED, WORKING)).code == -signal.SIGKILL
    for host in hosts:
        host.exec(f'sed -i \'s/"machine": "[^"]*"/"machine": "laptop-of-ada"/\' {LOCKS}/*/owner')
    refused = product.run("bootstrap-cluster")
    assert refused.code == 3, refused.output
    assert "@laptop-of-ada" in refused.errors[0]["message"]
    assert "heard of" in refused.errors[0]["message"]
    for host in hosts:
        host.exec(f"touch -d @1 {LOCKS}/*/lease.*")
    (run,) = {lock["run"] for lock in listed(product)}
    released = locks(product, "release", "--run", run)
    assert released.code == 0, released.output
    assert "etcd-01, etcd-02, etcd-03" in released.stdout
    product.bootstrap()
    assert_healthy(hosts)
    free(hosts)


def test_a_run_whose_lock_is_taken_away_changes_nothing_more(fresh_hosts: Fresh, product: Product) -> None:
    hosts = fresh_hosts(3)
    product.describe(hosts)
    with paused(product, WORKING, "bootstrap-cluster") as first:
        arrived(first)
        (run,) = {lock["run"] for lock in listed(product)}
        assert locks(product, "release", "--run", run, "--force").code == 0
        done = first.finish()
    assert done.code == 1, done.output
    assert "this run's lock is no longer there" in done.stderr
    assert "changed nothing more" in done.stderr
    # Hosts are prepared side by side, so one may have been ahead of the pause; no later phase was begun.
    assert not any(host.exec("pidof etcd; true") for host in hosts)
    product.bootstrap()
    assert_healthy(hosts)


def test_a_failed_run_lets_go(fresh_hosts: Fresh, product: Product) -> None:
    hosts = fresh_hosts(3)
    product.describe(hosts)
    with paused(product, WORKING, "bootstrap-cluster") as run:
        arrived(run)
        # A directory where the settings shall be; the other hosts may be past that by now.
        hosts[0].exec("mkdir -p /etc/etcd/etcd.env")
        done = run.finish()
    assert done.code == 1, done.output
    assert "/etc/etcd/etcd.env" in done.stderr
    free(hosts)


def test_an_interrupted_run_lets_go(fresh_hosts: Fresh, product: Product) -> None:
    hosts = fresh_hosts(3)
    product.describe(hosts)
    with paused(product, "start the members", "bootstrap-cluster") as run:
        arrived(run)
        run.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        done = run.finish()
    assert done.code != 0
    free(hosts)


def test_a_power_cut_host_keeps_no_lock_for_ever(fresh_hosts: Fresh, product: Product) -> None:
    hosts = fresh_hosts(3)
    product.describe(hosts)
    with paused(product, WORKING, "bootstrap-cluster") as run:
        arrived(run)
        hosts[1].power_cut()
        done = run.finish()
    assert done.code == 1, done.output
    assert "etcd-02" in done.stderr
    assert "the lock stays on etcd-02" in done.stderr
    hosts[1].boot()
    assert [len(there) for there in sessions(hosts)] == [0, 1, 0]
    product.bootstrap()
    assert_healthy(hosts)
    free(hosts)


@pytest.mark.slow
def test_again_and_again_at_the_very_same_moment(fresh_hosts: Fresh, product: Product) -> None:
    """Two runs that have planned the same go for the lock together; built and destroyed in turns."""
    hosts = fresh_hosts(3)
    product.describe(hosts)
    verbs = (("bootstrap-cluster",), ("destroy-cluster", "--confirm", "prod-a", "--delete-data"))
    for number in range(4):
        words = verbs[number % 2]
        with paused(product, "plan ", *words, name="a") as one, paused(product, "plan ", *words, name="b") as two:
            arrived(one, two)
            one.flag.touch()
            done = [two.finish(), one.finish()]
        codes = sorted(run.code for run in done)
        assert codes in ([0, 3], [0, 0]), [run.output for run in done]
        if codes == [0, 0]:  # one after the other: the later one found that it was done
            assert any("the plan is made anew" in run.stderr for run in done), [run.output for run in done]
        free(hosts)
        if number % 2 == 0:
            assert_healthy(hosts)


#: A flow that holds the lock calls another one that wants it.
NESTED = """
import sys
from pathlib import Path
from prefect import flow
from flows.fan_out import all_hosts_at_once
from flows.locking import cluster_lock
from tests import etcd_specs as specs

prefix = sys.argv[1]
hosts = [specs.host(f"h{n}", f"127.0.0.{n}", service="supervisor", paths=specs.paths(f"{prefix}/h{n}")) for n in (1, 2)]
cluster = specs.cluster(*hosts, etc_hosts=False, user="nobody")

def there():
    return [sorted(p.name for p in Path(h.paths.record_dir, "lock").glob("*")) for h in hosts]

@flow(task_runner=all_hosts_at_once())
def inner():
    with cluster_lock(cluster, "inner") as locked:
        assert set(locked.facts) == {"h1", "h2"}
        return locked.lock.session, there()

@flow(task_runner=all_hosts_at_once())
def outer():
    with cluster_lock(cluster, "outer") as locked:
        session, seen = inner()
        assert session == locked.lock.session
        assert seen == there() == [[session], [session]]
        assert locked.lock.owner.flow == "outer"
        return locked.lock.owner.run

print(outer())
assert there() == [[], []]
"""


def test_a_called_flow_works_under_its_callers_lock(product: Product, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", NESTED, str(tmp_path)]
    done = subprocess.run(argv, env=product.environment(), capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr[-3000:]
    url = f"{product.environ['PREFECT_API_URL']}/flow_runs/{done.stdout.strip()}"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
        assert json.load(answer)["parent_task_run_id"] is None, "the lock names Prefect's flow run, the outer one"
