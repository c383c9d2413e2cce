"""Large files to and from a host, in ranges that are repeated when the connection breaks.

A range is a command of its own, small enough that the pool opens a new connection before one has moved 512 MiB, where
SSH exchanges new keys and paramiko has lost transports (:mod:`tasks.hosts.pool`). Writes go to their place in the file,
so what a broken connection left running on the host can do no harm: it writes the same bytes to the same place. Hosts
need nothing but coreutils; one that can unpack gets packed bytes where that is quicker (:mod:`tasks.hosts.packing`).
"""

from __future__ import annotations

import hashlib
import shlex
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from tasks.errors import HostError, InputError, TransientHostError
from tasks.hosts.packing import PACKERS, UNPACK, Packer, choose_packer, packed
from tasks.hosts.patience import Patience, deadline
from tasks.hosts.shell import Output, Shell

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""

PUSH_RANGE = 120 << 20  # bytes; three on one connection stay below 512 MiB
PULL_RANGE = 16 << 20  # bytes; two of them are held in memory
PIECE = 1 << 20  # bytes

_BLOCK = 128 << 10


@dataclass(frozen=True)
class Moved:
    """A file that was moved.

    Args:
        bytes: Its size.
        sent: Of that, how many had to be moved; the rest was there from before.
        seconds: How long it took, with all checks.
        cuts: How often the connection broke.
    """

    bytes: int
    sent: int
    seconds: float
    cuts: int


def _silent(done: int, total: int) -> None:
    del done, total


def push_file(
    shell: Shell,
    local: Path,
    remote: str,
    *,
    sha256: str | None = None,
    owner: str = "root:root",
    mode: int = 0o600,
    pack: bool = False,
    progress: Progress = _silent,
) -> Moved:
    """Put a file on a host: whole, checked and synced, or not at all.

    It grows beside its destination and is renamed when its SHA-256 fits. A later call with the same content goes on
    where an earlier one stopped, also in another process; what is there already is only checked.

    Args:
        local: The file here.
        remote: Its absolute path there; a directory that is missing is made, 0755.
        sha256: Of the file, in hex, if it is known; else it is computed first.
        owner: ``user:group``; set only where the script runs as root.
        mode: Permissions.
        pack: Whether its bytes may be packed on the way.
        progress: Told after each range.

    Raises:
        InputError: A path is not absolute, or the file can't be read.
        CommandFailed: There is no room on the host, or it can't be written there.
        HostError: What arrived is not what was sent.
        TransientHostError: The connection keeps breaking; what is there stays, to go on from.
    """
    if not remote.startswith("/") or remote.endswith("/"):
        raise InputError(f"{remote!r} is not an absolute path of a file")
    started = time.monotonic()
    with _opened(local) as file:
        total = local.stat().st_size
        sha256 = sha256 or hashlib.file_digest(file, "sha256").hexdigest()
        place = _Place(remote, total, sha256, owner, mode)
        sending = _Sending(shell, file, place, pack, progress)
        for last in (False, True):
            sending.send()
            if sending.finish(last=last):
                break
    return Moved(total, sending.sent, time.monotonic() - started, sending.patience.cuts)


def pull_file(shell: Shell, remote: str, *, progress: Progress = _silent) -> Iterator[bytes]:
    """Read a file from a host, which must not change meanwhile; its SHA-256 is compared at the end.

    Args:
        remote: Its absolute path there.
        progress: Told after each range.

    Yields:
        Its bytes, a megabyte at a time; nothing twice, whatever breaks.

    Raises:
        CommandFailed: It is not there, or can't be read.
        HostError: What arrived is not what is there.
        TransientHostError: The connection keeps breaking.
    """
    patience, path, digest = Patience(), shlex.quote(remote), hashlib.sha256()
    total = int(patience.run(lambda: shell.run(f"stat -L -c %s -- {path}", what=f"looking at {remote}")).text)
    with ThreadPoolExecutor(1, thread_name_prefix="pull") as ahead:
        offsets = range(0, total, PULL_RANGE)
        coming = deque(ahead.submit(_read, shell, remote, offset, total, patience) for offset in offsets[:1])
        for offset in offsets:
            data = coming.popleft().result()
            if (following := offset + PULL_RANGE) < total:
                coming.append(ahead.submit(_read, shell, remote, following, total, patience))
            digest.update(data)
            progress(offset + len(data), total)
            for start in range(0, len(data), PIECE):
                yield data[start : start + PIECE]
    there = patience.run(lambda: shell.run(f"{_SUM}sum_of {path}", timeout=deadline(total), what=f"checking {remote}"))
    if there.text != digest.hexdigest():
        raise _not_the_same(shell, remote, "its SHA-256 there is another than here")


def _read(shell: Shell, remote: str, offset: int, total: int, patience: Patience) -> bytes:
    count = min(PULL_RANGE, total - offset)
    flags = f"bs={_BLOCK} iflag=skip_bytes,count_bytes,fullblock skip={offset} count={count} status=none"
    script = f"dd if={shlex.quote(remote)} {flags}"
    data = patience.run(lambda: shell.run(script, timeout=deadline(count), what=f"reading {remote}")).stdout
    patience.refresh()
    if len(data) != count:
        raise _not_the_same(shell, remote, f"it became shorter than {total} bytes while it was read")
    return data


@dataclass(frozen=True)
class _Place:
    """Where a file is going, and what it must be."""

    remote: str
    bytes: int
    sha256: str
    owner: str
    mode: int

    @property
    def words(self) -> str:
        """Shell assignments for the scripts: directory, file, the growing file beside it, sum, size, owner, mode."""
        directory, _, name = self.remote.rpartition("/")
        values = {
            "d": directory or "/",
            "f": self.remote,
            "p": f"{directory}/.{name}.etcd-flows-{self.sha256[:8]}",
            "sum": self.sha256,
            "size": str(self.bytes),
            "owner": self.owner,
            "mode": f"{self.mode:o}",
        }
        return "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())


# coreutils' own sha256sum takes five times as long as one that uses the processor's instructions.
_SUM = r"""
sum() { if command -v openssl >/dev/null; then openssl dgst -sha256 -r; else sha256sum; fi; }
sum_of() { got=$(sum <"$1"); echo "${got%% *}"; }
"""

# Says how much of the growing file is there, or that the file itself is. Other growing files are from other content.
_BEGIN = r"""
[ -d "$d" ] || (umask 022; mkdir -p -- "$d")
if [ -f "$f" ] && [ "$(stat -c %s -- "$f")" -eq "$size" ]; then
  if [ "$(sum_of "$f")" = "$sum" ]; then
    [ "$(id -u)" != 0 ] || chown -- "$owner" "$f"
    chmod -- "$mode" "$f"; echo done; exit 0
  fi
fi
for old in "${p%????????}"????????; do [ "$old" = "$p" ] || [ ! -e "$old" ] || rm -f -- "$old"; done
there=0; [ ! -f "$p" ] || there=$(stat -c %s -- "$p")
free=$(df --output=avail -B1 -- "$d" | tail -n 1)
if [ "$((size - there))" -gt "$free" ]; then
  echo "$f needs $((size - there)) bytes more, there are $free free on $(df --output=target -- "$d" | tail -n 1)" >&2
  exit 73
fi
echo "$there"
for name in {packers}; do if command -v "$name" >/dev/null; then echo "$name"; fi; done
"""

_RANGE = r"""
{unpack}dd of="$p" bs={block} seek={offset} oflag=seek_bytes conv=notrunc iflag=fullblock status=none
[ "$(stat -c %s -- "$p")" -ge {end} ] || {{ echo "the input ended early" >&2; exit 74; }}
"""

# The disk writes while the sum is computed.
_FINISH = r"""
[ -f "$p" ] || if [ -f "$f" ]; then p=$f; elif [ "$size" -eq 0 ]; then : >"$p"; fi
sync -- "$p" & syncing=$!
if [ "$(sum_of "$p")" != "$sum" ] || [ "$(stat -c %s -- "$p")" -ne "$size" ]; then rm -f -- "$p"; exit 75; fi
[ "$(id -u)" != 0 ] || chown -- "$owner" "$p"
chmod -- "$mode" "$p"
wait "$syncing"
[ "$p" = "$f" ] || mv -f -T -- "$p" "$f"
sync -- "$d"
"""


class _Sending:
    """One file on its way to one host."""

    def __init__(self, shell: Shell, file: BufferedReader, place: _Place, pack: bool, progress: Progress) -> None:
        self.shell = shell
        self.file = file
        self.place = place
        self.pack = pack
        self.packer: Packer | None = None
        self.progress = progress
        self.patience = Patience()
        self.sent = 0

    def send(self) -> None:
        """Until the host has all of it."""
        reached = 0
        while (offset := self._there()) < self.place.bytes:
            if offset > reached:
                self.patience.refresh()
            reached = offset
            self.progress(offset, self.place.bytes)
            try:
                while offset < self.place.bytes:
                    offset = self._range(offset)
            except TransientHostError as error:
                self.patience.wait(error)
        self.progress(self.place.bytes, self.place.bytes)

    def _there(self) -> int:
        script = self.place.words + _SUM + _BEGIN.replace("{packers}", " ".join(PACKERS if self.pack else ()))
        limit, what = deadline(self.place.bytes), f"looking at {self.place.remote}"
        said, *there = self.patience.run(lambda: self.shell.run(script, timeout=limit, what=what)).text.split("\n")
        if said == "done":
            return self.place.bytes
        self.packer = choose_packer(self.file, self.place.bytes, there)
        return int(said)

    def _range(self, offset: int) -> int:
        count = min(PUSH_RANGE, self.place.bytes - offset)
        unpack = f"{UNPACK[self.packer]} | " if self.packer else ""
        script = self.place.words + _RANGE.format(unpack=unpack, block=_BLOCK, offset=offset, end=offset + count)
        self.file.seek(offset)
        part = _Part(self.file, count)
        data = packed(part, self.packer) if self.packer else [part]
        self.shell.run(script, stdin=data, timeout=deadline(count), what=f"writing {self.place.remote}")
        self.sent += count
        self.patience.refresh()
        self.progress(offset + count, self.place.bytes)
        return offset + count

    def finish(self, *, last: bool) -> bool:
        """Check it and give it its name; false if it is damaged and may be sent once more."""
        output = self.patience.run(self._finish_once)
        if output.text != "damaged":
            return True
        if last:
            raise _not_the_same(self.shell, self.place.remote, "what arrived has another SHA-256 than what was sent")
        return False

    def _finish_once(self) -> Output:
        # `exit 75` is an answer, everything else but 0 an error.
        script = f"({self.place.words}{_SUM}{_FINISH}) || {{ c=$?; [ $c -ne 75 ] || echo damaged; [ $c -eq 75 ]; }}\n"
        what = f"checking {self.place.remote}"
        return self.shell.run(script, timeout=deadline(self.place.bytes), what=what)


class _Part:
    """The next so many bytes of a file."""

    def __init__(self, file: BufferedReader, count: int) -> None:
        self._file = file
        self._left = count

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes, empty at the end."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data


def _opened(local: Path) -> BufferedReader:
    try:
        return local.open("rb")
    except OSError as error:
        raise InputError(
            f"{local} can't be read: {error.strerror}", remedy="correct the path or its permissions, then run again"
        ) from error


def _not_the_same(shell: Shell, remote: str, why: str) -> HostError:
    return HostError(
        f"{remote} was not moved whole: {why}",
        host=shell.host.name,
        state="what had arrived was thrown away",
        remedy="look for a failing disk or memory on the host and here, or for a program that writes to the file; "
        "then run it again",
    )
