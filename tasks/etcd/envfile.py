r"""The environment file: written so that systemd and a POSIX shell read the same, read as systemd reads it.

Rules of systemd.exec(5), EnvironmentFile=, and of systemd's src/basic/env-file.c: lines starting with ``#`` or ``;``
are comments; unquoted values lose the white space around them; a backslash outside quotes takes the next character as
it is and joins lines; single quotes keep all but a single quote; in double quotes a backslash takes effect only before
a double quote, a backslash, a backtick and a dollar sign; nothing is expanded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tasks.errors import InputError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@%+\[\]-]*")
_SPECIAL = re.compile(r'(["\\`$])')
_WHITE = " \t"
_NEWLINE = "\n\r"


def quote(value: str) -> str:
    """A value as it is written behind the ``=``.

    Raises:
        InputError: It holds a control character, which no etcd setting needs and systemd may refuse.
    """
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in value):
        raise InputError("a setting must not hold line breaks or other control characters")
    if _PLAIN.fullmatch(value):
        return value
    return '"' + _SPECIAL.sub(r"\\\1", value) + '"'


def render(settings: Iterable[tuple[str, str]]) -> str:
    """``NAME=value`` lines in the order given.

    Raises:
        InputError: A name is none, or a value can't be written.
    """
    lines = []
    for name, value in settings:
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} can't be the name of an environment variable")
        lines.append(f"{name}={quote(value)}\n")
    return "".join(lines)


def parse_env(text: str) -> dict[str, str]:
    """Read an environment file as systemd's parser does (src/basic/env-file.c); the last of two settings counts."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        char = text[position]
        if char in _WHITE + _NEWLINE:
            position += 1
        elif char in "#;":
            position = _skip_comment(text, position)
        else:
            position = _setting(text, position, found)
    return found


def _skip_comment(text: str, position: int) -> int:
    while position < len(text) and text[position] not in _NEWLINE:
        position += 2 if text[position] == "\\" and text[position + 1 : position + 2] not in ("\n", "\r") else 1
    return position


def _setting(text: str, position: int, found: dict[str, str]) -> int:
    start = position
    while position < len(text) and text[position] not in "=" + _NEWLINE:
        position += 1
    if text[position : position + 1] != "=":
        return position
    name = text[start:position].rstrip(_WHITE)
    value, position = _value(text, position + 1)
    if _NAME.fullmatch(name):
        found[name] = value
    return position


def _value(text: str, position: int) -> tuple[str, int]:
    """The value that starts here and where it ends: quoted pieces first, then bare text to the end of the line."""
    value = ""
    while position < len(text) and text[position] not in _NEWLINE:
        char = text[position]
        if char in _WHITE:
            position += 1
        elif char in "'\"":
            piece, position = _quoted(text, position + 1, char)
            value += piece
        else:
            bare, position = _bare(text, position)
            value += bare
    return value, position


def _quoted(text: str, position: int, mark: str) -> tuple[str, int]:
    piece = ""
    while position < len(text) and text[position] != mark:
        char, follower = text[position], text[position + 1 : position + 2]
        if mark == '"' and char == "\\":
            kept = "" if follower == "\n" else follower
            piece += kept if follower in ('"', "\\", "`", "$", "\n") else char + follower
            position += 2
        else:
            piece += char
            position += 1
    return piece, position + 1


def _bare(text: str, position: int) -> tuple[str, int]:
    """Unquoted text: quotes mean nothing here any more, white space at its end is lost unless escaped."""
    piece, keep = "", 0
    while position < len(text) and text[position] not in _NEWLINE:
        if text[position] == "\\":
            follower = text[position + 1 : position + 2]
            piece += "" if follower in ("\n", "\r") else follower
            position += 2
            keep = len(piece)
        else:
            piece += text[position]
            position += 1
    return piece[:keep] + piece[keep:].rstrip(_WHITE), position


def diff_env(old: str, new: str) -> tuple[str, ...]:
    """What changes from one environment file to another, as ``- NAME=value`` and ``+ NAME=value`` lines.

    Order and comments don't count.
    """
    return diff_settings(parse_env(old), parse_env(new))


def diff_settings(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Like :func:`diff_env`, of settings already read."""
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) == after.get(name):
            continue
        lines += [f"{sign} {name}={side[name]}" for sign, side in (("-", before), ("+", after)) if name in side]
    return tuple(lines)
