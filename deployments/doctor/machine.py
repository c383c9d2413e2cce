"""Python, packages, clock, disks and terminal of this machine."""

from __future__ import annotations

import codecs
import ctypes
import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tasks.cluster.surroundings import Surroundings
from tasks.findings import Finding
from tasks.reporting.human import size

#: What pyproject.toml demands.
PYTHON = (3, 11)
#: Packages of ours, which another directory of that name could stand before.
OURS = ("deployments", "flows", "tasks")
#: Parts in machine code, which an installation for another Python or another libc lacks or can't load.
COMPILED = ("cryptography.hazmat.bindings._rust", "grpc._cython.cygrpc", "pydantic_core", "pyrage", "zstandard")
#: adjtimex(2) returns this where nothing keeps the clock in step.
_TIME_ERROR = 5
_MIB, _GIB = 1 << 20, 1 << 30


def check_machine(environ: Mapping[str, str], here: Path) -> list[Finding]:
    """All of it.

    Args:
        environ: Of this process.
        here: The current directory.
    """
    home = Path(__file__).resolve().parents[2]
    requires = metadata.requires("etcd-flows") or []
    return [
        python(sys.version_info[:3], sys.prefix),
        *packages(requires, _version),
        *loadable(COMPILED),
        shadowed(here, home),
        *clock(_clock_state()),
        *disks(Surroundings(here, environ)),
        terminal(environ, sys.stdout.encoding or "ascii"),
    ]


def python(version: tuple[int, ...], prefix: str) -> Finding:
    """Whether this Python is one that is supported. Pure."""
    text = f"{'.'.join(map(str, version))} in {prefix}"
    if version[:2] < PYTHON:
        wanted = ".".join(map(str, PYTHON))
        return Finding("error", "python", f"{text} is older than {wanted}", None, f"use Python {wanted} or newer")
    return Finding("ok", "python", text)


def packages(requires: Iterable[str], installed: Callable[[str], str | None]) -> list[Finding]:
    """Whether what we depend on is there in versions that work. Pure.

    Args:
        requires: Requirements as a package's metadata has them; those of extras are passed over.
        installed: The version of a package, None if it is not there.
    """
    remedy = "install again with the tested versions: pip install -c constraints.txt . (in the checkout)"
    seen, wrong = [], []
    for requirement in map(Requirement, requires):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, version = requirement.name, installed(requirement.name)
        seen.append(f"{name} {version}")
        if version is None:
            wrong.append(Finding("error", "packages", f"{name} is not installed", None, remedy))
        elif not requirement.specifier.contains(version, prereleases=True):
            text = f"{name} is {version}, but {requirement.specifier} works"
            wrong.append(Finding("error", "packages", text, None, remedy))
    return wrong or [Finding("ok", "packages", ", ".join(seen))]


def loadable(modules: Iterable[str]) -> list[Finding]:
    """Findings about modules that can't be imported; none if all can."""
    found = []
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a broken installation can raise anything
            text = f"{name.partition('.')[0]} can't be loaded: {type(error).__name__}: {error}"
            found.append(Finding("error", "packages", text, None, "install it again for this Python: pip install -I"))
    return found


def shadowed(here: Path, home: Path) -> Finding:
    """Whether what is started here, such as a worker, would import somebody else's packages.

    Python puts the current directory before what is installed when it runs a module (``python -m prefect``).
    """
    names = [name for name in OURS if (here / name / "__init__.py").is_file() or (here / f"{name}.py").is_file()]
    if names and here.resolve() != home:
        text = f"{here} has {' and '.join(names)}, which Prefect's workers started here would take for ours"
        return Finding("warning", "packages", text, None, "start serve and workers in another directory")
    return Finding("ok", "packages", f"flows and tasks are those in {home}")


def clock(state: int | None) -> list[Finding]:
    """Whether something keeps the clock in step. Pure.

    Args:
        state: What adjtimex(2) returned; None where it can't be asked.
    """
    if state is None:
        return []
    if state == _TIME_ERROR:
        text = "the kernel says that nothing keeps the clock in step"
        remedy = "certificates get this machine's time: start chrony or systemd-timesyncd; inside a container, where \
the machine does that, it may be unable to say so"
        return [Finding("warning", "clock", text, None, remedy)]
    return [Finding("ok", "clock", "kept in step by a time service")]


def disks(around: Surroundings) -> list[Finding]:
    """Whether the places that flows write to can be written to, and have room."""
    cache, scratch = around.path("~/.cache/etcd-flows"), around.path(around.environ.get("TMPDIR") or "/tmp")  # noqa: S108
    places = (
        (around.state_home / "etcd-flows", 50 * _MIB, "keys and certificates of clusters"),
        (cache, 500 * _MIB, "etcd's releases"),
        (scratch, 2 * _GIB, "databases that are verified, drilled or restored, twice their size"),
    )
    found = [room(path, need, what) for path, need, what in places]
    if programs_forbidden(cache):
        text = f"{cache} is on a file system where no program may be run (noexec), etcd's tools are to run there"
        found.append(Finding("error", "disk", text, None, "name another place: etcd.release.cache"))
    return found


def room(path: Path, need: int, what: str) -> Finding:
    """One place: whether it, or what it will be made in, can be written to, and whether there is room."""
    place = existing(path)
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding("error", "disk", f"{place} can't be written to ({what})", None, "correct its owner or mode")
    free = shutil.disk_usage(place).free
    text = f"{path}: {size(free)} free"
    if free < need:
        return Finding("warning", "disk", f"{text}; it is for {what}", None, f"make room: {size(need)} or more")
    return Finding("ok", "disk", text)


def existing(path: Path) -> Path:
    """The path, or the nearest directory above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def programs_forbidden(path: Path) -> bool:
    """Whether its file system is mounted so that programs on it can't be run."""
    return bool(os.statvfs(existing(path)).f_flag & getattr(os, "ST_NOEXEC", 0))


def terminal(environ: Mapping[str, str], encoding: str) -> Finding:
    """Whether names of any language can be shown. Pure."""
    if codecs.lookup(encoding).name != "utf-8":
        text = f"output is {encoding}: letters beyond that are lost or end the program"
        return Finding("warning", "terminal", text, None, "export LC_ALL=C.UTF-8")
    colours = "no colours (NO_COLOR)" if environ.get("NO_COLOR") else f"TERM={environ.get('TERM') or 'unset'}"
    return Finding("ok", "terminal", f"UTF-8, {colours}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _clock_state() -> int | None:
    """Ask the kernel, changing nothing (modes 0); None where it has no adjtimex, as on macOS."""
    try:
        state = int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512)))
    except (OSError, AttributeError):
        return None
    return state if state >= 0 else None
