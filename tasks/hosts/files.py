"""Writing files atomically: the script and its data, as pure functions."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tasks.errors import InputError


@dataclass(frozen=True)
class FileWrite:
    """One file to be written.

    Args:
        path: Absolute.
        content: Never shown.
        mode: Permission bits.
    """

    path: str
    content: bytes = field(repr=False)
    mode: int
    owner: str = "root"
    group: str = "root"


# The temporary file is made 0600 and gets owner and mode while it holds nothing that others may not see; sync(1) with a
# file name is fsync(2). A reader sees the old file or the new one, even after a power cut.
_PUT = """
uid=$(id -u)
t=
trap 'c=$?; [ -z "$t" ] || rm -f -- "$t"; exit "$c"' EXIT
trap 'exit 143' HUP INT TERM PIPE
put() {
  if [ -d "$1/$2" ] && [ ! -L "$1/$2" ]; then echo "$1/$2 is a directory" >&2; exit 73; fi
  [ -d "$1" ] || (umask 022; mkdir -p -- "$1")
  for old in "$1/.$2.etcd-flows-"????????; do [ ! -e "$old" ] || rm -f -- "$old"; done
  t=$(mktemp -- "$1/.$2.etcd-flows-XXXXXXXX")
  head -c "$3" >"$t"
  if [ "$(stat -c %s -- "$t")" -ne "$3" ]; then echo "the input ended inside $1/$2" >&2; exit 74; fi
  [ "$uid" -ne 0 ] || chown -- "$5" "$t"
  chmod -- "$4" "$t"
  sync -- "$t"
  mv -fT -- "$t" "$1/$2"
  t=
  sync -- "$1"
}
"""


def script_for(files: Sequence[FileWrite]) -> str:
    """The script that writes the files from its standard input, in order.

    Raises:
        InputError: A path is not absolute, not normal, or holds a newline.
    """
    return _PUT + "".join(_call(file) for file in files)


def data_of(files: Sequence[FileWrite]) -> Iterator[bytes]:
    """What the script reads."""
    return (file.content for file in files)


def _call(file: FileWrite) -> str:
    directory, name = posixpath.split(file.path)
    if not file.path.startswith("/") or not name or posixpath.normpath(file.path) != file.path:
        raise InputError(f"{file.path!r} is not an absolute, normal path of a file")
    if any(character in file.path for character in "\n\0"):
        raise InputError(f"{file.path!r} holds a newline or a NUL")
    words = [directory, name, str(len(file.content)), f"{file.mode:04o}", f"{file.owner}:{file.group}"]
    return "put " + " ".join(shlex.quote(word) for word in words) + "\n"
