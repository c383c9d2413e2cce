"""Getting a release onto the worker: checked against its SHA-256, looked into, cached.

The cache has one directory for each checked tarball, named by its SHA-256, and beside them a small record for each
release that says which sum its file of sums named. So a second run needs no network, and what is used is always checked
again first.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.cluster.spec import Release
from tasks.errors import ReleaseError
from tasks.releases.product import Product
from tasks.releases.sources import Candidate, MissingError, candidates, open_source, read_sums
from tasks.releases.tarball import BinaryInfo, inspect

Progress = Callable[[int, int | None], None]

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Wanted:
    """What is being fetched."""

    product: Product
    version: str
    arch: str

    @property
    def tarball(self) -> str:
        """Its file name."""
        return self.product.tarball(self.version, self.arch)

    @property
    def sums(self) -> str:
        """Name of the file of sums beside it."""
        return self.product.sums_of(self.tarball)

    @property
    def pin(self) -> str:
        """The key by which its sum is pinned."""
        return f"{self.product.key}.release.sha256"


@dataclass(frozen=True)
class LocalRelease:
    """A checked release on the worker's disk.

    Args:
        tarball: In the cache; its content has the sum ``sha256``.
        binaries: What is in it, by program name.
    """

    version: str
    arch: str
    tarball: Path
    sha256: str
    binaries: Mapping[str, BinaryInfo]


def silent(done: int, total: int | None) -> None:
    """Shows no progress."""
    del done, total


def fetch_product(product: Product, release: Release, arch: str, progress: Progress = silent) -> LocalRelease:
    """The release for one architecture, from the cache if it is there, else from its source.

    Args:
        release: Which version, without the v, and where from.
        arch: As in the names of release tarballs: ``amd64``, ``arm64``, ...
        progress: Called with bytes done and bytes in all (None when the source does not say).

    Returns:
        What was checked.

    Raises:
        ReleaseError: It can't be had, has no sum to check against, or is not what its sum says. No host was touched.
    """
    if arch not in product.machines:
        raise ReleaseError(
            f"{product.name} is not released for {arch}",
            remedy=f"use hosts with one of {', '.join(sorted(product.machines))}",
        )
    with _cache_errors(release.cache, product.key):
        release.cache.mkdir(parents=True, exist_ok=True, mode=0o755)
        with _locked(release.cache / f".lock-{product.top(release.version, arch)}"):
            return _fetch(release, Wanted(product, release.version, arch), progress)


def _fetch(release: Release, wanted: Wanted, progress: Progress) -> LocalRelease:
    found = candidates(wanted.product, release.source, wanted.version, wanted.arch)
    record = _record_path(release, wanted)
    known = release.sha256.lower() if release.sha256 else _recorded(record)
    if known and not release.sha256 and found[0].local:
        known = None  # a directory's own file of sums is at hand: it is the truth, not what it once said
    if known and (cached := _from_cache(release.cache, known, wanted)):
        return cached
    if release.sha256 and known:
        return _store_first(release.cache, found, known, wanted, progress)
    candidate, expected = _expected(found, wanted)
    local = _from_cache(release.cache, expected, wanted) or _store(
        release.cache, candidate, expected, wanted, progress, pinned=False
    )
    _write(record, {"version": wanted.version, "arch": wanted.arch, "sha256": expected})
    return local


def _store_first(
    cache: Path, found: tuple[Candidate, ...], pinned: str, wanted: Wanted, progress: Progress
) -> LocalRelease:
    """With a pinned sum no file of sums is needed: the first place that has the tarball is used."""
    for candidate in found[:-1]:
        with contextlib.suppress(MissingError):
            return _store(cache, candidate, pinned, wanted, progress, pinned=True)
    return _store(cache, found[-1], pinned, wanted, progress, pinned=True)


def _record_path(release: Release, wanted: Wanted) -> Path:
    source = hashlib.sha256(release.source.encode()).hexdigest()[:12]
    return release.cache / f"{wanted.product.top(wanted.version, wanted.arch)}-{source}.json"


def _recorded(record: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        text = json.loads(record.read_text())["sha256"]
        return text if re.fullmatch(r"[0-9a-f]{64}", text) else None
    return None


def _expected(found: tuple[Candidate, ...], wanted: Wanted) -> tuple[Candidate, str]:
    """The place that has the release, and the sum that it must have by the file of sums there."""
    for candidate in found:
        sums = read_sums(candidate)
        if sums is None:
            continue
        if (expected := sums.get(candidate.name)) is not None:
            return candidate, expected
        raise ReleaseError(
            f"{candidate.shown_sums} has no line for {candidate.name}",
            state="no host was touched",
            remedy=f"add that line, or pin the sum of linux-{wanted.arch}: {wanted.pin} in the cluster file",
        )
    raise ReleaseError(
        f"there is nothing to check {wanted.product.name} {wanted.version} for {wanted.arch} against: no "
        + " and no ".join(candidate.shown_sums for candidate in found),
        state="no host was touched",
        remedy=f"put the release's {wanted.sums} beside the tarball, or pin its sum: {wanted.pin} in the file",
    )


def _from_cache(cache: Path, sha256: str, wanted: Wanted) -> LocalRelease | None:
    """The cached release of that sum, if its tarball still has it; what has decayed is removed."""
    place = cache / sha256
    tarball = place / wanted.tarball
    if not tarball.is_file():
        return None
    if _sha256(tarball) != sha256:
        tarball.unlink()
        (place / "binaries.json").unlink(missing_ok=True)
        return None
    return LocalRelease(wanted.version, wanted.arch, tarball, sha256, _binaries(tarball, wanted))


def _binaries(tarball: Path, wanted: Wanted) -> Mapping[str, BinaryInfo]:
    beside = tarball.parent / "binaries.json"
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        return {name: BinaryInfo(**info) for name, info in json.loads(beside.read_text()).items()}
    found = inspect(wanted.product, tarball, wanted.version, wanted.arch)
    _write(beside, {name: asdict(info) for name, info in found.items()})
    return found


def _store(
    cache: Path, candidate: Candidate, expected: str, wanted: Wanted, progress: Progress, *, pinned: bool
) -> LocalRelease:
    """Copy the tarball into the cache while its sum is computed; it gets its place only when all is well."""
    handle, name = tempfile.mkstemp(prefix=".part-", dir=cache)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            got = _copy(candidate, file.write, lambda: (file.seek(0), file.truncate()), progress)
            file.flush()
            os.fsync(file.fileno())
        if got != expected:
            against = f"the pinned {wanted.pin}" if pinned else candidate.shown_sums
            raise ReleaseError(
                f"{candidate.shown_tarball} is not what it should be: its SHA-256 is {got}, {against} says {expected}",
                state="it was thrown away; no host was touched",
                remedy=f"get the release and its {wanted.sums} again from {wanted.product.page}; if they still "
                "differ, somebody has changed one of them"
                + (f", or {wanted.pin} is that of another version or architecture" if pinned else ""),
            )
        binaries = inspect(wanted.product, part, wanted.version, wanted.arch)
        place = cache / expected
        place.mkdir(exist_ok=True)
        _write(place / "binaries.json", {name: asdict(info) for name, info in binaries.items()})
        tarball = place / wanted.tarball
        part.chmod(0o644)
        part.replace(tarball)
        _sync_dir(place)
    finally:
        part.unlink(missing_ok=True)
    return LocalRelease(wanted.version, wanted.arch, tarball, expected, binaries)


def _copy(
    candidate: Candidate, write: Callable[[bytes], object], restart: Callable[[], object], progress: Progress
) -> str:
    digest = hashlib.sha256()
    done = 0
    for chunk, total in open_source(candidate):
        if chunk is None:  # the source broke off and starts over
            restart()
            digest, done = hashlib.sha256(), 0
            continue
        write(chunk)
        digest.update(chunk)
        done += len(chunk)
        progress(done, total)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, record: Mapping[str, object]) -> None:
    """Write a small JSON file so that it is whole or not there."""
    handle, name = tempfile.mkstemp(prefix=".part-", dir=path.parent)
    with os.fdopen(handle, "w") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def _sync_dir(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the kernel frees the lock of one that dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _cache_errors(cache: Path, key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReleaseError(
            f"the cache {cache} can't be used: {error.strerror or error}",
            state="no host was touched",
            remedy=f"make room there, or choose another directory: {key}.release.cache in the cluster file",
        ) from error
