"""From a path or a name to a checked :class:`~tasks.cluster.spec.Cluster`, or to all problems at once."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.cluster import document
from tasks.cluster.build import build
from tasks.cluster.check_drill import check_drill
from tasks.cluster.check_members import check_members
from tasks.cluster.check_monitoring import check_monitoring
from tasks.cluster.check_restore import check_restore
from tasks.cluster.check_settings import check_settings
from tasks.cluster.check_snapshots import check_snapshots
from tasks.cluster.checked import Checked
from tasks.cluster.explain import Places, note_errors
from tasks.cluster.model import ClusterSection, is_verbatim
from tasks.cluster.problems import ClusterFileError, KeyPath, Notes, Problem, Severity
from tasks.cluster.scalars import PLAIN_SECRET_HINT, Reader
from tasks.cluster.spec import Cluster
from tasks.cluster.surroundings import Surroundings

__all__ = ["ClusterFileError", "Loaded", "Problem", "find_cluster_file", "load_cluster", "parse_cluster"]

MAX_BYTES = 1 << 20
_SUFFIXES = (".yaml", ".yml")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|AGE-SECRET-KEY-1")


@dataclass(frozen=True)
class Loaded:
    """A usable cluster file.

    Args:
        cluster: Complete and checked.
        warnings: What the person should know; nothing that stops.
    """

    cluster: Cluster
    warnings: tuple[Problem, ...]


def load_cluster(
    path_or_name: str | Path, environ: Mapping[str, str] = os.environ, search: Sequence[Path] | None = None
) -> Loaded:
    """Read, check and complete a cluster file.

    Args:
        path_or_name: Path of a cluster file, or the name of one in the search directories.
        environ: For ``${NAME}`` in the file, HOME, XDG_STATE_HOME and ETCD_FLOWS_CLUSTERS.
        search: Directories for names; None means ./deployments/clusters and $ETCD_FLOWS_CLUSTERS.

    Raises:
        ClusterFileError: With every problem found. Nothing but the file was touched.
    """
    path = find_cluster_file(path_or_name, environ, search)
    return parse_cluster(_read(path), path, environ)


def find_cluster_file(
    path_or_name: str | Path, environ: Mapping[str, str], search: Sequence[Path] | None = None
) -> Path:
    """The file that is meant; a name that two directories have is refused, since guessing could hit the wrong cluster.

    Raises:
        ClusterFileError: There is none, or more than one.
    """
    text = str(path_or_name)
    if isinstance(path_or_name, Path) or "/" in text or text.endswith(_SUFFIXES):
        return Path(path_or_name)
    if search is None:
        listed = environ.get("ETCD_FLOWS_CLUSTERS", "").split(os.pathsep)
        search = [Path("deployments/clusters"), *(Path(item) for item in listed if item)]
    found = [directory / (text + suffix) for directory in search for suffix in _SUFFIXES]
    found = [path for path in found if text and _is_file(path)]
    distinct = list({path.resolve(): path for path in found}.values())
    if len(distinct) == 1:
        return distinct[0]
    if distinct:
        names = ", ".join(str(path) for path in distinct)
        raise _refusal(text, f"the name stands for several files: {names}", "give the path of the one that is meant")
    known = sorted({path.stem for directory in search for path in _listing(directory) if path.suffix in _SUFFIXES})
    near = difflib.get_close_matches(text, known, 1)
    where = " or ".join(str(directory) for directory in search)
    hint = (
        f"did you mean {near[0]}?"
        if near
        else f"name one of these, or a file: {', '.join(known)}"
        if known
        else "give the path of a file"
    )
    raise _refusal(text, f"no cluster file of that name in {where}", hint)


def _is_file(path: Path) -> bool:
    return bool(path.name) and "\0" not in str(path) and os.path.isfile(path)  # noqa: PTH113 - Path's own raises on long names


def _listing(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _refusal(file: str, message: str, hint: str | None = None) -> ClusterFileError:
    return ClusterFileError([Problem(file, None, None, "", message, hint)])


def _read(path: Path) -> bytes:
    """The file's bytes; never waits on a pipe or reads without end."""
    try:
        # Opening a pipe would wait for a writer; O_NONBLOCK does not.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _refusal(str(path), "not a file", "give the path of a YAML file")
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise _refusal(str(path), "a directory, not a file", "give the path of a YAML file") from None
    except FileNotFoundError:
        raise _refusal(str(path), "there is no such file", "check the path") from None
    except PermissionError:
        raise _refusal(str(path), "no permission to read the file", "run as its owner, or correct its mode") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise _refusal(str(path), f"cannot be read: {reason}") from None
    if len(data) > MAX_BYTES:
        raise _refusal(str(path), "larger than 1 MiB, which no cluster file is", "check the path")
    return data


def parse_cluster(data: bytes, path: Path, environ: Mapping[str, str]) -> Loaded:
    """As :func:`load_cluster`, for bytes that were read from ``path``.

    Raises:
        ClusterFileError: With every problem found.
    """
    file = str(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ClusterFileError([Problem(file, line, None, "", "not UTF-8 text", "save the file as UTF-8")]) from None
    notes = Notes(file, text)
    cluster = _interpret(text, notes, path, environ)
    problems = notes.collected()
    if cluster is None or notes.has_errors:
        raise ClusterFileError(problems)
    return Loaded(cluster, problems)


def _interpret(text: str, notes: Notes, path: Path, environ: Mapping[str, str]) -> Cluster | None:
    for match in _PRIVATE_KEY.finditer(text):
        notes.add(match.start(), (), "a private key written in the file", PLAIN_SECRET_HINT)
    root = document.compose(text, notes)
    if root is None:
        return None
    if not isinstance(root, document.Mapping):
        notes.add(root.offset, (), "keys with values were expected", "start with `name: prod-a`")
        return None
    reader = Reader(notes, environ, is_verbatim)
    data = reader.read(root)
    wrong: frozenset[KeyPath] = frozenset()
    try:
        model = ClusterSection.model_validate(data)
    except ValidationError as error:
        wrong = frozenset(note_errors(error, notes, reader.places))
        try:
            model = ClusterSection.model_validate(_mended(data, wrong))
        except ValidationError:  # what is left cannot be understood even in part; its problems are noted
            return None
    directory = Path(os.path.abspath(path)).parent  # noqa: PTH100 - Path.absolute keeps ..
    cluster = build(model, Surroundings(directory, environ), path)

    def note(at: KeyPath, message: str, hint: str | None = None, severity: Severity = "error", /) -> None:
        notes.add(_place(at, reader.places), at, message, hint, severity)

    def line(index: int) -> int:
        return notes.position(_place(("hosts", index), reader.places))[0]

    checked = Checked(cluster, model, note, line)
    if ("hosts",) not in wrong:
        check_members(checked)
    check_settings(checked)
    check_snapshots(checked)
    check_restore(checked)
    check_drill(checked)
    check_monitoring(checked)
    return cluster


def _place(path: KeyPath, places: Places) -> int:
    while path not in places:
        path = path[:-1]
    return places[path][1]


def _mended(value: Any, wrong: frozenset[KeyPath], path: KeyPath = ()) -> Any:
    """The data without what is wrong, so that the rest can be checked in the same run.

    Stand-ins for required keys keep every host at its index; each is unlike any other, so that it causes no finding.
    """
    if isinstance(value, dict):
        value = {
            name: _mended(item, wrong, (*path, name)) for name, item in value.items() if (*path, name) not in wrong
        }
    elif isinstance(value, tuple):
        kept = path == ("hosts",)
        value = tuple(
            {} if (*path, index) in wrong else _mended(item, wrong, (*path, index))
            for index, item in enumerate(value)
            if kept or (*path, index) not in wrong
        )
    if path == ():
        return {"name": "unnamed", "hosts": (), **value}
    if path[:1] == ("hosts",) and len(path) == 2:
        return {"name": f"unnamed-{path[1]}", "address": f"unknown-{path[1]}.invalid", **(value or {})}
    if path[-1] == "jump" and isinstance(value, dict):
        return {"address": f"{'-'.join(str(part) for part in path)}.invalid", **value}
    return value
