"""Plans of restore-keys on the operator's disk: what was seen and decided, key by key, and no value.

A plan may have as many lines as the cluster has keys, so it is written as it is made and read as it is carried out. Its
digest is that of the file: who confirms a digest confirms each line of it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tasks.cluster.spec import PkiSettings
from tasks.errors import InputError
from tasks.keys.decide import OUTCOMES, Outcome, Todo
from tasks.keys.spans import Span

_FORMAT = 1
_SHOWN = 12  # characters of the digest that people type
_KEPT = 14 * 86400.0  # seconds for which a plan is kept


@dataclass(frozen=True)
class Header:
    """What a plan is about.

    Args:
        cluster_id: etcd's own, which every restore of the cluster changes: revisions mean nothing in another.
        db_sha256: Of the snapshot's database.
        words: The choice and the rules, as options of the command line.
        spans: The keys that were read.
    """

    cluster: str
    cluster_id: str
    snapshot: str
    db_sha256: str
    words: tuple[str, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class SavedPlan:
    """A plan on disk.

    Args:
        counts: Keys and bytes of each outcome.
        warnings: What people should know.
        revisions: The snapshot's, and the cluster's when it was compared.
    """

    header: Header
    path: Path
    digest: str
    counts: Mapping[Outcome, tuple[int, int]]
    warnings: tuple[str, ...]
    revisions: tuple[int, int]

    @property
    def short(self) -> str:
        """The digest as it is typed."""
        return self.digest[:_SHOWN]

    @property
    def todos(self) -> int:
        """How many keys are to be written or deleted."""
        return sum(self.counts[what][0] for what in ("add", "overwrite", "delete"))

    def lines(self) -> Iterator[Todo]:
        """What is to be done, in the order of the keys."""
        with self.path.open("rb") as file:
            file.readline()
            for line in file:
                found = json.loads(line)
                if "key" not in found:
                    return
                yield Todo(base64.b64decode(found.pop("key")), **found)


class Writer:
    """Writes a plan line by line."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        self._header = header
        self._hash = hashlib.sha256()
        spans = [[_text(span.start), None if span.end is None else _text(span.end)] for span in header.spans]
        self._line({"format": _FORMAT, **asdict(header), "spans": spans})

    def add(self, todo: Todo) -> None:
        """One key more."""
        self._line({**asdict(todo), "key": _text(todo.key)})

    def finish(
        self,
        counts: Mapping[Outcome, tuple[int, int]],
        warnings: tuple[str, ...],
        revisions: tuple[int, int],
        folder: Path,
    ) -> SavedPlan:
        """The last line; the file has the name then by which it is found, and is on the disk."""
        self._line({"counts": dict(counts), "warnings": warnings, "revisions": revisions})
        self._file.flush()
        os.fsync(self._file.fileno())
        digest = self._hash.hexdigest()
        path = folder / f"{digest}.plan"
        Path(self._file.name).replace(path)
        return SavedPlan(self._header, path, digest, counts, warnings, revisions)

    def _line(self, content: Mapping[str, Any]) -> None:
        line = json.dumps(content, sort_keys=True).encode() + b"\n"
        self._hash.update(line)
        self._file.write(line)


def plans_dir(settings: PkiSettings) -> Path:
    """Where plans are kept: with the operator's other private things."""
    return settings.state_dir / "restore-keys"


@contextmanager
def new_plan(folder: Path, header: Header) -> Iterator[Writer]:
    """Write a plan; it is gone at the end unless it was finished. Plans that are two weeks old go as well.

    Raises:
        InputError: It can't be written there.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in folder.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - old.stat().st_mtime > _KEPT:
                    old.unlink()
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
            try:
                yield Writer(file.file, header)  # type: ignore[arg-type]
            finally:
                Path(file.name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"the plan can't be written in {folder}: {error.strerror or error}",
            state="nothing was changed",
            remedy="make room, or correct the permissions of the directory",
        ) from error


def find_plan(folder: Path, digest: str) -> SavedPlan:
    """The plan that somebody confirms.

    Args:
        digest: At least twelve characters of it.

    Raises:
        InputError: There is no such plan here, or its file was changed.
    """
    found = list(folder.glob(f"{digest}*.plan")) if re.fullmatch(rf"[0-9a-f]{{{_SHOWN},64}}", digest) else []
    if len(found) != 1:
        raise InputError(
            f"no plan {digest[:64]!r} is in {folder}",
            state="nothing was changed",
            remedy="make it on this machine, by the same command without --apply; plans are kept for two weeks",
        )
    try:
        return _read(found[0])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{found[0]} is no plan, or was changed: {error}",
            state="nothing was changed",
            remedy="remove it, and make the plan anew: the same command without --apply",
        ) from error


def _read(path: Path) -> SavedPlan:
    total, first, last = hashlib.sha256(), b"", b""
    with path.open("rb") as file:
        for line in file:
            total.update(line)
            first, last = first or line, line
    if total.hexdigest() != path.stem:
        raise ValueError("its SHA-256 is another")
    head, tail = json.loads(first), json.loads(last)
    if head.pop("format") != _FORMAT:
        raise ValueError("of another version of this program")
    spans = tuple(Span(base64.b64decode(a), None if b is None else base64.b64decode(b)) for a, b in head.pop("spans"))
    header = Header(**{**head, "words": tuple(head["words"])}, spans=spans)
    counts: dict[Outcome, tuple[int, int]] = {what: tuple(tail["counts"][what]) for what in OUTCOMES}
    revisions = (int(tail["revisions"][0]), int(tail["revisions"][1]))
    return SavedPlan(header, path, path.stem, counts, tuple(tail["warnings"]), revisions)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
