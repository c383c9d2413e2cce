"""Seconds of wall clock and CPU, and how they are shown.

On a machine that does other things too, wall clocks tell little; CPU seconds stay what they are.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.e2e.conftest import PrefectServer
from tests.lab.hosts import LabHost
from tests.lab.system import processes_in

#: How often each thing is done; they take turns, so that what else the machine does falls on all of them alike.
RUNS = int(os.environ.get("BENCH_RUNS", "3"))


@dataclass(frozen=True)
class Took:
    """What something took.

    Args:
        wall: Seconds that a person waits.
        cpu: CPU seconds of the processes that were started here.
        hosts: CPU seconds on all hosts together.
        server: CPU seconds of Prefect's server.
    """

    wall: float
    cpu: float
    hosts: float = 0.0
    server: float = 0.0


class Meter:
    """Measures what is done by child processes, on some hosts, and by Prefect's server."""

    def __init__(self, hosts: list[LabHost], server: PrefectServer) -> None:
        self._hosts = hosts
        self._server = server

    def took(self, work: Callable[[], object]) -> Took:
        """Do something and measure it."""
        before, began = self._cpu(), time.monotonic()
        work()
        wall, after = time.monotonic() - began, self._cpu()
        return Took(wall, *(b - a for a, b in zip(before, after, strict=True)))

    def _cpu(self) -> tuple[float, float, float]:
        here = resource.getrusage(resource.RUSAGE_CHILDREN)
        on_hosts = [_cpu_of(process.pid) for host in self._hosts for process in processes_in(host.namespace)]
        return here.ru_utime + here.ru_stime, sum(on_hosts), _cpu_of(self._server.pid)


def _cpu_of(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended (proc(5), fields 14 to 17 of stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def shown(name: str, values: list[Took]) -> str:
    """One line: median, range, CPU."""
    walls = [value.wall for value in values]
    here, there, server = (median(getattr(v, which) for v in values) for which in ("cpu", "hosts", "server"))
    spread = f"({min(walls):.2f} to {max(walls):.2f}, {len(walls)} runs)"
    cpu = f"CPU {here + there + server:5.2f} s: here {here:.2f}, hosts {there:.2f}, Prefect's server {server:.2f}"
    return f"  {name:<50} {median(walls):6.2f} s  {spread:<26} {cpu}"


def ratio(name: str, of: list[Took], to: list[Took], target: str) -> str:
    """One line: how many times as long the one takes as the other, by their medians."""
    pairs = [a.wall / b.wall for a, b in zip(of, to, strict=True)]
    value = median(a.wall for a in of) / median(b.wall for b in to)
    cpu = median(_all(a) for a in of) / median(_all(b) for b in to)
    by_pairs = f"({min(pairs):.2f} to {max(pairs):.2f} by pairs)"
    return f"  {name:<50} {value:6.2f}    {by_pairs:<26} CPU {cpu:5.2f}    target: {target}"


def _all(value: Took) -> float:
    return value.cpu + value.hosts + value.server


# --- where the time goes ----------------------------------------------------------------------------------------------


def steps(logs: Iterable[Path]) -> list[str]:
    """Where the time of runs of :mod:`tests.bench.timed_run` went: medians of all runs, one line a stretch."""
    found: dict[str, list[tuple[float, float]]] = {}
    for log in logs:
        for name, wall, cpu in _stretches([json.loads(line) for line in log.read_text().splitlines()]):
            found.setdefault(name, []).append((wall, cpu))
    return [
        f"    {name:<48} {median(w for w, _ in values):6.2f} s  CPU {median(c for _, c in values):5.2f} s"
        for name, values in found.items()
    ]


def _stretches(events: list[dict[str, float | str]]) -> Iterable[tuple[str, float, float]]:
    """Names and lengths of the stretches between one run's milestones."""
    at, cpu = 0.0, 0.0
    doing = "interpreter, command line, cluster file"
    last = max((number for number, event in enumerate(events) if event["kind"] == "done"), default=-1)
    for number, event in enumerate(events):
        following = "lock released, members asked, end of the run" if number == last else _begins(event)
        if following:
            yield doing, float(event["at"]) - at, float(event["cpu"]) - cpu
            at, cpu, doing = float(event["at"]), float(event["cpu"]), following


def _begins(event: dict[str, float | str]) -> str:
    """The stretch that begins with an event, empty if none does."""
    kind, text = str(event["kind"]), str(event["text"])
    if kind == "phase":
        return text
    if kind == "clock":
        return {
            "prefect": "import of Prefect (the hosts are asked meanwhile)",
            "import": "import of the flow",
            "imported": "Prefect begins the run; what is found is waited for",
            "result": "end of the process",
            "end": "end",
        }.get(text, "")
    return "release checked, lock taken, plan made anew" if text.startswith("plan ") else ""
