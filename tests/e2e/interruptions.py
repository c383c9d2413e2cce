"""Interruptions of a run: what is done to it at points of its plan, and what must be true afterwards.

Each kind is done to the host, or to the run, while a command of the step is under way there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from difflib import unified_diff
from pathlib import Path

import pytest
import yaml

from flows.planning import plan_bootstrap
from tasks.etcd.identity import Identity
from tasks.reporting.human import plural
from tests import etcd_specs as specs
from tests.e2e.interruption_report import PROPERTY, Row
from tests.e2e.product import TIMEOUT, Done, Product, assert_healthy, etcdctl, leftovers, token
from tests.lab.hosts import LabHost
from tests.lab.system import LabError, wait_until
from tests.unit.flows.simulation import bare

Record = Callable[[str, object], None]  # pytest's record_property

#: Which steps bring data with a command, and are interrupted when half of it has arrived.
WITH_DATA = frozenset({"release", "pki", "config", "formed", "undo"})


def point(host: str, step: str) -> str:
    """In the middle of a step (see :mod:`tests.e2e.points_run`)."""
    return f"{'half' if step in WITH_DATA else 'sent'}/{host}/{step}"


def bare_steps() -> list[str]:
    """``HOST/STEP`` of every step of the plan for three bare hosts, from the product's own planning."""
    cluster = specs.cluster()
    facts = {host.name: bare(cluster, host) for host in cluster.hosts}
    _, plan = plan_bootstrap(cluster, facts, None, Identity("uuid", "token"))
    return [step.key for step in plan.steps]


@dataclass(frozen=True)
class Kind:
    """A kind of interruption; :data:`tests.e2e.interruption_report.WHAT` says in words what it does.

    Args:
        act: Done at the point, to the run's process and to the host.
        mend: Done to the host once the run has ended.
    """

    name: str
    act: Callable[[int, LabHost], None]
    mend: Callable[[LabHost], None] = lambda host: None


def _kill(pid: int, host: LabHost) -> None:
    os.killpg(pid, signal.SIGKILL)


def _cut(pid: int, host: LabHost) -> None:
    host.drop_ssh_sessions()


def _lose(pid: int, host: LabHost) -> None:
    host.refuse_ssh()


def _unplug(pid: int, host: LabHost) -> None:
    host.power_cut()


KILLED = Kind("killed", _kill)
CUT = Kind("cut", _cut)
LOST = Kind("lost", _lose, LabHost.open_ssh)
POWER = Kind("power cut", _unplug, LabHost.boot)
KINDS = (KILLED, CUT, LOST, POWER)
#: For the arrivals at a point before the one that is meant.
PASSED = Kind("passed", lambda pid, host: None)


@dataclass(frozen=True)
class Hit:
    """An interruption that came to pass, on which host in which step."""

    kind: Kind
    host: LabHost
    step: str


@dataclass(frozen=True)
class Interrupted:
    """A run that was interrupted; what it did to hosts has been mended."""

    done: Done
    hits: tuple[Hit, ...]
    seconds: float
    flow: str

    @property
    def said(self) -> str:
        """How it ended, in a line."""
        if self.done.code == -signal.SIGKILL:
            return "killed"
        if self.done.code == 0:
            return "done: it went on by itself"
        errors = self.done.errors
        return f"exit {self.done.code}: " + "; ".join(f"{e['host'] or 'cluster'}: {e['message']}" for e in errors)

    def note(self, note: Record, rerun: str, seconds: float, phase: str = "") -> None:
        """Keep it for the report (``note``: pytest's ``record_property``).

        Args:
            rerun: How the next run ended.
            seconds: How long that took.
            phase: Where a step occurs in several.
        """
        where = f"{phase}: " if phase else ""
        for hit in self.hits:
            if hit.kind is PASSED:
                continue
            row = Row(self.flow, where + hit.step, hit.kind.name, self.said, rerun, round(self.seconds + seconds, 1))
            note(PROPERTY, asdict(row))


def interrupt(
    product: Product,
    hosts: list[LabHost],
    points: Iterable[tuple[str, Kind]],
    *words: str,
    flow: str = "bootstrap-cluster",
) -> Interrupted:
    """Run a flow and interrupt it at each of some points; all of them have to be reached.

    Args:
        points: As in :mod:`tests.e2e.points_run`. One given twice with ``*`` is for the first host and for the second.
        words: Further words of the command line.
    """
    wanted = list(points)
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(dir=product.directory))
    names = {host.name: host for host in hosts}
    argv = [sys.executable, "-m", "tests.e2e.points_run", str(directory), ",".join(point for point, _ in wanted)]
    process = product.start(*argv, flow, str(product.file), *words, "--json")
    hits: list[Hit] = []
    try:
        pending = dict(enumerate(wanted))
        while process.poll() is None:
            assert time.monotonic() < began + TIMEOUT, "the interrupted run does not end"
            for number in [n for n in pending if (directory / f"{n}.reached").exists()]:
                step = (directory / f"{number}.reached").read_text()
                hits.append(Hit(pending.pop(number)[1], names[step.partition("/")[0]], step))
                hits[-1].kind.act(process.pid, hits[-1].host)
                (directory / f"{number}.go").touch()
            time.sleep(0.02)
    finally:
        process.kill()
    for hit in hits:
        hit.kind.mend(hit.host)
    done = Done.of(process)
    shutil.rmtree(directory)
    missed = [point for point, _ in pending.values()]
    assert not missed, f"not reached: {missed}\n{done.output}"
    return Interrupted(done, tuple(hits), time.monotonic() - began, flow)


def then_converges(run: Interrupted, product: Product, note: Record, phase: str = "") -> Done:
    """Run again, which must end well, and keep how it went for the report."""
    began = time.monotonic()
    done = product.run("bootstrap-cluster")
    run.note(note, ending(done), time.monotonic() - began, phase)
    assert done.code == 0, done.output
    assert (product.state / "client.crt").exists(), "the operator has no client certificate"
    return done


def ending(done: Done) -> str:
    """How the next run ended, in words."""
    if done.code != 0:
        return f"EXIT {done.code}"
    steps = sum(len(phase["steps"]) for phase in done.json["plan"]["phases"])
    return f"healthy after {plural(steps, 'step')}" if steps else "healthy, nothing to do"


# --- what must be true ------------------------------------------------------------------------------------------------


def quiet(hosts: list[LabHost]) -> None:
    """What an interrupted run had begun on the hosts ends by itself once its connection is gone, and tidies up."""
    try:
        wait_until("the remote scripts have ended", lambda: not any(leftovers(host) for host in hosts), 30)
    except LabError:
        pytest.fail(f"left on the hosts: {[leftovers(host) for host in hosts]}")


def identities(hosts: list[LabHost]) -> list[dict[str, str]]:
    """What the hosts say about whose they are."""
    texts = [host.exec("cat /var/lib/etcd-flows/identity.json 2>/dev/null; true") for host in hosts]
    return [json.loads(text) for text in texts if text]


def shape(host: LabHost) -> str:
    """All that a bootstrap makes on a host: names, kinds, modes, owners; the programs by content. No times, no data."""
    return host.exec(
        "find /etc /opt /usr/local /var/lib/etcd /var/lib/etcd-flows"
        " \\( -path /var/lib/etcd/member -o -path /var/lib/etcd-flows/lock \\) -prune -o"
        # useradd's own locks, which a power cut leaves and the next useradd passes over
        " -regextype egrep -regex '/etc/(passwd|shadow|group|gshadow|subuid|subgid)[.]([0-9]+|lock)' -o"
        " -printf '%p %y %m %u:%g %l\\n' | LC_ALL=C sort; sha256sum /opt/bin/*; id etcd;"
        " systemctl is-enabled etcd"
    )


def assert_converged(
    rerun: Done, hosts: list[LabHost], shapes: Mapping[str, str], before: Iterable[Mapping[str, str]] = ()
) -> None:
    """One healthy cluster with one identity, and every host looks as if nothing had ever been interrupted.

    Args:
        rerun: The run after the interrupted one.
        shapes: Of the hosts after a bootstrap that nobody interrupted.
        before: Identities that were on the hosts when the run was interrupted: they have to be kept.
    """
    assert_healthy(hosts)
    found = identities(hosts)
    assert len(found) == len(hosts)
    assert len({(one["uuid"], one["token"]) for one in found}) == 1
    assert {token(host) for host in hosts} == {found[0]["token"]}
    assert {one["token"] for one in before} <= {found[0]["token"]}, "a token that was on a host is used again"
    for host in hosts:
        assert leftovers(host) == []
        differs = "\n".join(unified_diff(shapes[host.name].splitlines(), shape(host).splitlines(), lineterm="", n=0))
        assert not differs, f"{host.name} differs from a host that nobody interrupted:\n{differs}"
        assert json.loads(host.read("/var/lib/etcd-flows/formed.json"))["uuid"] == found[0]["uuid"]
        # A run that finds nothing to do takes no lock, and so leaves a dead one to the next that does.
        locks = host.exec("ls -A /var/lib/etcd-flows/lock 2>/dev/null; true").split()
        assert not locks or rerun.json["plan"]["empty"], f"{host.name} is still locked"
        assert len(host.exec("pidof etcd").split()) == 1
    assert etcdctl(hosts[0], "get etcd-flows/ --prefix --keys-only").split() == [], "gates clean up after themselves"


@dataclass
class Formed:
    """A cluster that was bootstrapped without any interruption.

    Args:
        shapes: Of its hosts, by name.
    """

    product: Product
    hosts: list[LabHost]
    shapes: dict[str, str]
    heartbeat: int = 100

    def change(self, *, bad: bool = False) -> None:
        """Put another heartbeat into the cluster file; a bad one of the settings too, or none."""
        self.heartbeat = 250 - self.heartbeat
        extra = {"ETCD_MAX_REQUEST_BYTES": "not-a-number"} if bad else {}
        content = yaml.safe_load(self.product.file.read_text())
        content["etcd"] |= {"heartbeat_ms": self.heartbeat, "election_ms": 1500, "extra": extra}
        self.product.write(content)

    def order_of_change(self) -> list[str]:
        """Names of the members in the order in which a change comes to them: the leader last."""
        answers = json.loads(etcdctl(self.hosts[0], "endpoint status --cluster -w json"))
        by_endpoint = {answer["Endpoint"]: answer["Status"] for answer in answers}
        leads = {host.name: by_endpoint[f"https://{host.address}:2379"] for host in self.hosts}
        return sorted(leads, key=lambda name: leads[name]["leader"] == leads[name]["header"]["member_id"])

    def assert_changed(self) -> None:
        """The settings are in force on every member."""
        for host in self.hosts:
            environ = host.exec("tr '\\0' '\\n' </proc/$(pidof etcd)/environ").splitlines()
            assert f"ETCD_HEARTBEAT_INTERVAL={self.heartbeat}" in environ
            assert not any("MAX_REQUEST_BYTES" in line for line in environ)


def form(product: Product, hosts: list[LabHost]) -> Formed:
    """Bootstrap hosts and let nobody interrupt it."""
    product.describe(hosts)
    product.bootstrap()
    return Formed(product, hosts, {host.name: shape(host) for host in hosts})
