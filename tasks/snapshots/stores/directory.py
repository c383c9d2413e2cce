"""A directory as a store: on the worker's disk, or a file system mounted there.

Written is what survives a power cut: a file gets its name only when its bytes are on the disk, and the name is on the
disk before anyone is told (rename(2), fsync(2)). What is being written has a hidden name in the same directory.
Files are 0600, directories 0700: snapshots hold every secret of the cluster.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tasks.errors import StoreConflict, StoreCorrupt, StoreMissing
from tasks.snapshots.stores.base import Entry
from tasks.snapshots.stores.directory_errors import told
from tasks.snapshots.stores.directory_upload import PIECE, DirectoryUpload, sync_directory
from tasks.snapshots.stores.keys import check_key, fits
from tasks.snapshots.stores.used import Memory

_SUFFIX = ".part"
_LOCK = ".lock"
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}
_ATTEMPTS = 5


class DirectoryStore:
    """Objects as files below ``base/folder``.

    Args:
        name: As the cluster file calls it.
        base: Has to be there, or its parent; it is made with the first object.
        folder: Directory of the cluster in it.
        used: File in which this machine remembers that it was used; None to remember nothing.
    """

    def __init__(self, name: str, base: Path, folder: str, used: Path | None = None) -> None:
        self._name = name
        self._base = base
        self._root = base / folder
        self._memory = Memory(used, name, self._root)

    @property
    def name(self) -> str:
        """As the cluster file calls it."""
        return self._name

    @property
    def where(self) -> str:
        """The directory."""
        return str(self._root)

    def upload(self, key: str, *, size_hint: int | None = None, hashed: bool = False) -> DirectoryUpload:
        """Begin to write a file; see :class:`tasks.snapshots.stores.base.Store`."""
        target = self._path(key)
        with told(self._name, self._base, f"begin to write {key}"):
            part, descriptor = self._begin(target)
        return DirectoryUpload(self._name, self._base, key, target, part, descriptor, self._forget, hashed=hashed)

    def put(self, key: str, content: bytes, *, only_new: bool = False, lasting: bool = True) -> None:
        """Write a small file whole; see :class:`tasks.snapshots.stores.base.Store`."""
        target = self._path(key)
        with told(self._name, self._base, f"write {key}"):
            part, descriptor = self._begin(target)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                if not only_new:
                    part.replace(target)
                elif not _place_new(part, target):
                    raise StoreConflict(
                        f"store {self._name}: {key} exists already", state="what is there was left as it is"
                    )
                sync_directory(target.parent)
                self._memory.keep()
            finally:
                self._forget(part)

    def get(self, key: str) -> bytes:
        """A small file, whole."""
        return b"".join(self.read(key))

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """The bytes of a file from an offset on."""
        return self._pieces(key, self._path(key), start)

    def _pieces(self, key: str, path: Path, start: int) -> Iterator[bytes]:
        with told(self._name, self._base, f"read {key}"):
            try:
                file = path.open("rb")
            except (FileNotFoundError, NotADirectoryError):
                raise StoreMissing(f"store {self._name}: there is no {key}") from None
            with file:
                left = os.fstat(file.fileno()).st_size - start
                file.seek(start)
                while left > 0:
                    piece = file.read(min(PIECE, left))
                    if not piece:
                        raise StoreCorrupt(
                            f"store {self._name}: {key} became {left} bytes shorter while it was read",
                            remedy="find out what else writes there; use another snapshot",
                        )
                    left -= len(piece)
                    yield piece

    def head(self, key: str) -> Entry | None:
        """What is there under that key."""
        path = self._path(key)
        with told(self._name, self._base, f"look at {key}"):
            return _entry(key, path)

    def list(self, prefix: str) -> Iterator[Entry]:
        """All files whose key starts like this, in order of their keys as S3 has it (by bytes)."""
        with told(self._name, self._base, f"list {self._root}"):
            self._base.parent.stat()  # else a place that is not mounted would look like one without snapshots
            self._memory.demand()
            for key in sorted(self._keys(prefix), key=str.encode):
                entry = _entry(key, self._root / key)
                if entry is not None:
                    yield entry

    def delete(self, key: str) -> None:
        """Remove a file, and the directories that it leaves empty."""
        path = self._path(key)
        with told(self._name, self._base, f"remove {key}"):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            sync_directory(path.parent)
            self._remove_empty(path.parent)

    def sweep(self, older_than: datetime) -> tuple[str, ...]:
        """Remove what broken uploads left: hidden files not written to since then, and empty directories as old."""
        before = older_than.timestamp()
        swept = []
        with told(self._name, self._base, f"sweep {self._root}"):
            for folder, _, files in os.walk(self._root, topdown=False, onerror=_unless_absent):
                unused = _older(Path(folder), before)
                for file in files:
                    path = Path(folder, file)
                    if _is_part(file) and _older(path, before):
                        path.unlink(missing_ok=True)
                        swept.append(str(path.relative_to(self._root)))
                if unused:
                    self._remove_empty(Path(folder))
        return tuple(sorted(swept))

    def close(self) -> None:
        """Nothing is open between calls."""

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _begin(self, target: Path) -> tuple[Path, int]:
        part = target.with_name(f".{target.name}.{secrets.token_hex(6)}{_SUFFIX}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._memory.demand()
        for _ in range(_ATTEMPTS):
            self._make(target.parent)
            with suppress(FileNotFoundError):  # another process removed the directory as empty in between
                return part, os.open(part, flags, 0o600)
        return part, os.open(part, flags, 0o600)

    def _make(self, folder: Path) -> None:
        """Make a directory, and those above it up to the base; each is on the disk before the next."""
        if folder.is_dir():
            return
        if folder != self._base:  # whose parent has to be there: else a disk that is not mounted would go unnoticed
            self._make(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        sync_directory(folder.parent)

    def _forget(self, part: Path) -> None:
        """Remove what was being written, and directories made for nothing else. Never raises."""
        with suppress(OSError):
            part.unlink(missing_ok=True)
            self._remove_empty(part.parent)

    def _remove_empty(self, folder: Path) -> None:
        while folder != self._base and folder.is_relative_to(self._base):
            if folder == self._root and self._memory.used:  # it has to stay from now on
                return
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return
            folder = folder.parent

    def _keys(self, prefix: str) -> Iterator[str]:
        # Whole directories of the prefix are gone into at once: there may be 10,000 snapshots beside them.
        within, _, _ = prefix.rpartition("/")
        top = self._root / within if not any(part in ("..", ".") for part in within.split("/")) else self._root
        for folder, folders, files in os.walk(top, onerror=_unless_absent):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inner = Path(folder).relative_to(self._root).as_posix()
            start = "" if inner == "." else f"{inner}/"
            yield from (key for file in files if (key := f"{start}{file}").startswith(prefix) and fits(key))


def _entry(key: str, path: Path) -> Entry | None:
    try:
        status = path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # links that lead nowhere are foreign
            raise
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    version = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"
    return Entry(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC), version=version)


def _is_part(name: str) -> bool:
    return name.startswith(".") and name.endswith(_SUFFIX)


def _older(path: Path, before: float) -> bool:
    try:
        return path.lstat().st_mtime < before
    except FileNotFoundError:
        return False


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _place_new(part: Path, target: Path) -> bool:
    """Give a file its name unless that is taken; tells whether it got it. Atomic, also between machines (link(2))."""
    try:
        os.link(part, target)
    except FileExistsError:
        # NFS may repeat a request whose answer was lost: it is taken by ourselves (open(2), on O_EXCL and NFS).
        return os.path.samestat(part.stat(), target.stat())
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _place_locked(part, target)
    return True


def _place_locked(part: Path, target: Path) -> bool:
    """The same where the file system has no hard links (vfat, some of FUSE): under a lock that ends with its holder."""
    descriptor = os.open(target.parent / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return False
        part.rename(target)
        return True
