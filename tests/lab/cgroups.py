"""A control group for each host.

``systemd-nspawn --keep-unit`` takes the caller's group as its own. Hosts booted from one shell would then share
one tree, and one host's systemd removes, or waits for, the groups of another's units of the same name.
"""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

from tests.lab.system import Process

_TOP = "etcd-flows-lab"


def _hierarchies() -> list[Path]:
    """Where systemd keeps track of units on this machine: cgroup v2, and v1's name=systemd."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options):
            found.append(Path(left.split()[4]))
    return found


def wrapped(lab_id: str, host: str, argv: list[str]) -> list[str]:
    """The command that runs ``argv`` in the host's own group, under the same process number."""
    groups = [shlex.quote(str(top / _TOP / lab_id / host)) for top in _hierarchies()]
    steps = [f"mkdir -p {group} && echo $$ >{group}/cgroup.procs" for group in groups]
    return ["sh", "-ec", "\n".join([*steps, 'exec "$@"']), "sh", *argv]


def members(lab_id: str) -> list[Process]:
    """All processes of a lab's hosts."""
    numbers = {
        int(word)
        for top in _hierarchies()
        for listing in (top / _TOP / lab_id).rglob("cgroup.procs")
        for word in _words(listing)
    }
    return [process for number in numbers if (process := Process.of(number))]


def _words(listing: Path) -> list[str]:
    try:
        return listing.read_text().split()
    except OSError:
        return []


def remove(lab_id: str, host: str = "") -> None:
    """Remove the groups of a host, or of a whole lab, as far as they are empty."""
    for top in _hierarchies():
        start = top / _TOP / lab_id / host
        below = sorted((path for path in start.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
        for group in [*below, start, *([top / _TOP] if not host else [])]:
            with contextlib.suppress(OSError):
                group.rmdir()
