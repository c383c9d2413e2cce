"""Looking at a monitoring host: one round trip, nothing changed."""

from __future__ import annotations

import base64
import binascii
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tasks.cluster.spec import Host
from tasks.hosts import observe
from tasks.hosts.facts import HostFacts
from tasks.hosts.observe import damaged
from tasks.hosts.query import FactQuery
from tasks.hosts.query import script_for as script_for_host
from tasks.hosts.shell import Shell
from tasks.monitoring.packages import LOOK, NAMES, PACKAGES, PackageFact
from tasks.monitoring.programs import ALERTMANAGER, INSTALLED, PROGRAMS, PROMETHEUS, Program
from tasks.monitoring.units import MARKER

_OUR_UNITS = frozenset(one.unit for one in PROGRAMS)
#: Shell function: prints the marker of the unit that a process was started from.
STARTED_FROM = f"""
started_from() {{
  [ "$1" != 0 ] && [ -r "/proc/$1/environ" ] || return 0
  tr '\\000' '\\n' <"/proc/$1/environ" 2>/dev/null | while IFS='=' read -r name value; do
    [ "$name" != {MARKER} ] || printf %s "$value"
  done
}}
"""
_EXTRA = f"""{STARTED_FROM}
look_unit() {{
  states=$(systemctl show -p LoadState -p ActiveState -p UnitFileState -p MainPID -p FragmentPath -- "$1") || return 0
  pid=$(systemctl show -p MainPID -- "$1")
  started=$(started_from "${{pid#MainPID=}}")
  program=$(readlink "/proc/${{pid#MainPID=}}/exe" 2>/dev/null) || program=
  printf 'unit\\t%s\\t%s\\t%s\\t%s\\n' "$1" "$(printf %s "$states" | base64 -w0)" "$started" \\
    "$(printf %s "$program" | base64 -w0)"
}}
look_account() {{
  if id -u -- "$1" >/dev/null 2>&1 && getent group "$1" >/dev/null 2>&1; then printf 'account\\t%s\\n' "$1"; fi
}}
look_below() {{
  for entry in "$1"/* "$1"/.[!.]*; do
    if [ ! -e "$entry" ] && [ ! -L "$entry" ]; then continue; fi
    printf 'below\\t%s\\n' "$(printf %s "$entry" | base64 -w0)"
  done
}}
look_parts() {{
  for entry in "$1"/etcd-*.json; do
    [ -f "$entry" ] || continue
    printf 'part\\t%s\\t%s\\n' "$(printf %s "$entry" | base64 -w0)" "$(base64 -w0 <"$entry")"
  done
}}
"""


@dataclass(frozen=True)
class UnitFact:
    """A unit on the monitoring host.

    Args:
        fragment: Path of its file, empty where there is none.
        marker: Of the unit that its process was started from; empty if none runs, or it was not ours.
        replaced: Whether the program that it runs is not on the disk any more.
    """

    loaded: bool = False
    active: bool = False
    enabled: bool = False
    fragment: str = ""
    marker: str = ""
    replaced: bool = False


@dataclass(frozen=True)
class WatchFacts:
    """All facts of a monitoring host.

    Args:
        host: Files and the machine.
        units: By name, with the ending.
        accounts: System users that are there, with their groups.
        below: Paths in the directories of files that belong to one cluster each, and of releases.
        parts: Of Alertmanager's configuration, of all clusters, by path.
        packages: Of the distribution, by name; empty where they are not wanted.
    """

    host: HostFacts
    units: Mapping[str, UnitFact] = field(default_factory=dict)
    accounts: frozenset[str] = frozenset()
    below: frozenset[str] = frozenset()
    parts: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, PackageFact] = field(default_factory=dict)


def query_for(host: Host, stat: Iterable[str], contents: Iterable[str]) -> FactQuery:
    """What is wanted to be known of the files on the host."""
    wanted = frozenset(contents)
    return FactQuery(
        host.name,
        frozenset(stat) - wanted,
        wanted,
        PROMETHEUS.data,
        f"{host.paths.install_dir}/etcd",
        PROMETHEUS.service,
        "systemd",
    )


def script_for(query: FactQuery, *, packages: bool) -> str:
    """The whole script.

    Args:
        packages: Also look for the distribution's packages.
    """
    calls = [_EXTRA]
    calls.append(f"look_below {shlex.quote(INSTALLED)}")
    for one in PROGRAMS:
        calls += [f"look_unit {one.unit}", f"look_account {one.service}", f"look_below {shlex.quote(one.clusters)}"]
    calls.append(f"look_parts {shlex.quote(ALERTMANAGER.clusters)}")
    if packages:
        theirs = [package.unit for package in PACKAGES.values() if package.unit not in _OUR_UNITS]
        calls += [LOOK, *(f"look_unit {unit}" for unit in theirs), shlex.join(["look_packages", *NAMES])]
    return script_for_host(query) + "\n".join([*calls, ""])


def look(shell: Shell, query: FactQuery, *, packages: bool) -> WatchFacts:
    """Look at the host.

    Raises:
        HostError: It can't be reached, or what came back is damaged.
    """
    return parse(query, shell.run(script_for(query, packages=packages), what="looking at the monitoring host").stdout)


def parse(query: FactQuery, stdout: bytes) -> WatchFacts:
    """Read what the script printed.

    Raises:
        CommandFailed: It is damaged.
    """
    host = observe.parse(query, stdout)
    units: dict[str, UnitFact] = {}
    accounts, below = set(), set()
    parts: dict[str, str] = {}
    packages: dict[str, PackageFact] = {}
    try:
        for line in stdout.decode("ascii", errors="replace").splitlines():
            match line.split("\t"):
                case ["unit", name, states, marker, program]:
                    units[name] = _unit(_text(states), marker, replaced=_text(program).endswith(" (deleted)"))
                case ["package", name, installed, candidate]:
                    packages[name] = PackageFact(installed, candidate)
                case ["account", name]:
                    accounts.add(name)
                case ["below", path]:
                    below.add(_text(path))
                case ["part", path, content]:
                    parts[_text(path)] = _text(content)
    except (binascii.Error, ValueError) as error:
        raise damaged(query.host) from error
    return WatchFacts(host, units, frozenset(accounts), frozenset(below), parts, packages)


def _text(encoded: str) -> str:
    return base64.b64decode(encoded, validate=True).decode(errors="replace")


def _unit(states: str, marker: str, *, replaced: bool) -> UnitFact:
    found = dict(line.partition("=")[::2] for line in states.splitlines())
    return UnitFact(
        loaded=found.get("LoadState") == "loaded",
        active=found.get("ActiveState") == "active",
        enabled=found.get("UnitFileState", "").startswith("enabled"),
        fragment=found.get("FragmentPath", ""),
        marker=marker,
        replaced=replaced,
    )


def unit_of(facts: WatchFacts, one: Program) -> UnitFact:
    """The fact about a program's unit."""
    return facts.units.get(one.unit, UnitFact())
