"""Nodes to plain data: typed scalars, values from the environment, and no secret on the way.

What YAML 1.1 makes of ``yes``, ``0022`` or ``12:30`` surprises people. Booleans are taken as such only where one is
wanted; the other oddities are handed on as :class:`Odd`, which fits nowhere, so that the person is told to use quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.cluster import document
from tasks.cluster.document import Items, Node, Scalar
from tasks.cluster.problems import KeyPath, Notes

MAX_VALUES = 10_000
_MAX_PATH = 64
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?([0-9]{1,20}\.[0-9]{0,20}|\.[0-9]{1,20})([eE][-+]?[0-9]{1,3})?")
_ODD = (
    (re.compile(r"[-+]?0[0-7_]+"), "YAML reads a number with a leading zero as octal"),
    (re.compile(r"[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"), "YAML reads digits with colons as a base-60 number"),
    (re.compile(r"[-+]?0(b[01_]+|x[0-9a-fA-F_]+)"), "YAML reads this as a binary or hexadecimal number"),
    (re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?"), "YAML reads this as a number"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?"), "YAML reads this as a date"),
    (re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE), "YAML reads this as infinity or not-a-number"),
)
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_REFERENCE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<inner>[^{}]*)(?P<close>\})?")
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)

SECRET_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00-\x1f\x7f]+|block:[A-Za-z0-9][A-Za-z0-9._/-]*")
_SECRET_KEY = re.compile(
    r"pass(word|wd|wort|phrase|code)|pass$|pasw|pwd|secret|token|credential|(api|access|private|priv)[_-]?key",
    re.IGNORECASE,
)
# Says which kind of token etcd issues and which files sign it; holds none itself (etcd docs, --auth-token).
_NO_SECRETS = ("ETCD_AUTH_TOKEN", "ETCD_AUTH_TOKEN_TTL")
_STAND_IN = "env:HIDDEN"
PLAIN_SECRET = "a secret written in plain"  # noqa: S105 - the name of the problem
_REFERENCES = "env:NAME, file:/path or block:type/name"
PLAIN_SECRET_HINT = f"anyone who reads the file has it: change it, then refer to it: {_REFERENCES}"


class EnvText(str):
    """A value out of the environment. No quotes tell text from numbers there, so it fits wherever it can be read."""

    __slots__ = ()


class Broken:
    """Stands where a value could not be had; the reason is noted already, so nothing more is said about it."""


@dataclass(frozen=True)
class Odd:
    """A plain scalar that YAML 1.1 takes for something else than what was most likely meant."""

    reason: str


def plain_value(text: str) -> str | int | float | bool | Odd | None:
    """What an unquoted scalar stands for."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    for pattern, reason in _ODD:
        if pattern.fullmatch(text):
            return Odd(reason)
    return text


def looks_secret(key: str) -> bool:
    """Whether a key's name says that its value is a secret."""
    return bool(_SECRET_KEY.search(key)) and key not in _NO_SECRETS


@dataclass
class Reader:
    """Turns a document into dicts, tuples and scalars.

    Args:
        notes: Receives what is wrong.
        environ: Where ``${NAME}`` comes from.
        verbatim: Tells for a key path whether an unquoted value is text as it stands (``rack: 012``).
        places: Filled with the offsets of every key path's key and value.
    """

    notes: Notes
    environ: Mapping[str, str]
    verbatim: Callable[[KeyPath], bool]
    places: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    _count: int = 0

    def read(self, node: Node, path: KeyPath = (), key_offset: int | None = None) -> Any:
        """The data of a node; oddities are noted and left out."""
        self.places.setdefault(path, (node.offset if key_offset is None else key_offset, node.offset))
        if len(path) > _MAX_PATH or self._spent(1, node):
            return Broken()
        if isinstance(node, document.Mapping):
            return self._mapping(node, path)
        if isinstance(node, Items):
            return tuple(self.read(child, (*path, index)) for index, child in enumerate(node.children))
        return self._scalar(node, path) if isinstance(node, Scalar) else Broken()

    def _spent(self, values: int, node: Node) -> bool:
        """Whether the file has used up the values it may have; noted the first time."""
        before, self._count = self._count, self._count + values
        if before <= MAX_VALUES < self._count:
            self.notes.add(node.offset, (), f"more than {MAX_VALUES:,} values, counting what aliases repeat", None)
        return self._count > MAX_VALUES

    def _mapping(self, node: document.Mapping, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node, merged in self._entries(node, path):
            if not isinstance(key_node, Scalar):
                self.notes.add(key_node.offset, path, "a key must be a single word", None)
                continue
            key = key_node.text
            if key in data:
                if not merged:
                    line = self.notes.position(self.places[(*path, key)][0])[0]
                    self.notes.add(
                        key_node.offset,
                        (*path, key),
                        f"the same key is already on line {line}",
                        "remove one of the two",
                    )
                continue
            data[key] = self.read(value_node, (*path, key), key_node.offset)
        return data

    def _entries(self, node: document.Mapping, path: KeyPath) -> list[tuple[Node, Node, bool]]:
        """Own entries first, then those of merge keys (``<<: *base``), which own ones override."""
        own: list[tuple[Node, Node, bool]] = []
        merged: list[tuple[Node, Node, bool]] = []
        for key, value in node.entries():
            if not (isinstance(key, Scalar) and key.plain and key.text == "<<"):
                own.append((key, value, False))
                continue
            for source in value.children if isinstance(value, Items) else [value]:
                if isinstance(source, document.Mapping):
                    if self._spent(len(source.children), source):
                        break
                    merged += [(inner_key, inner_value, True) for inner_key, inner_value in source.entries()]
                else:
                    self.notes.add(source.offset, path, "<< must name a mapping (or a list of mappings)", None)
        return own + merged

    def _scalar(self, node: Scalar, path: KeyPath) -> Any:
        name = path[-1] if path and isinstance(path[-1], str) else ""
        secret = looks_secret(name)
        text = self._from_environment(node, path, secret)
        if text is None:
            return _STAND_IN if secret else Broken()
        if secret and not (node.plain and node.text in ("", "~", "null")):
            return self._secret(node, text, path)
        if any("\ud800" <= character <= "\udfff" for character in text):
            self.notes.add(node.offset, path, "half of a surrogate pair, which is no character", None)
            return Broken()
        if text is not node.text:
            return EnvText(text)
        return plain_value(text) if node.plain and not (text and self.verbatim(path)) else text

    def _secret(self, node: Scalar, text: str, path: KeyPath) -> str:
        if SECRET_REFERENCE.fullmatch(text):
            return text
        self.notes.hide(text)
        self.notes.hide(node.text)
        hint = PLAIN_SECRET_HINT
        if "${" in node.text:
            hint = "${NAME} puts the secret itself here; write env:NAME, which is looked up only when it is needed"
        self.notes.add(node.offset, path, PLAIN_SECRET, hint)
        return _STAND_IN

    def _from_environment(self, node: Scalar, path: KeyPath, secret: bool) -> str | None:
        """The scalar's text, the very same object when nothing was replaced; None after noting what is not set."""
        if "${" not in node.text:
            return node.text
        complaints: list[tuple[str, str | None]] = []

        def replace(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "${"
            parts = _VARIABLE.fullmatch(match["inner"])
            if parts is None or not match["close"]:
                complaints.append(("not a reference to an environment variable", "${NAME}, ${NAME:-default} or $${"))
                return ""
            value = self.environ.get(parts["name"])
            if parts["default"] is not None:
                return value or str(parts["default"])
            if value is None:
                name = "an environment variable named here" if secret else f"the environment variable {parts['name']}"
                complaints.append((f"{name} is not set", "set it, or give a default: ${NAME:-default}"))
            return value or ""

        text = _REFERENCE.sub(replace, node.text)
        for message, hint in complaints:
            self.notes.add(node.offset, path, message, hint)
        return None if complaints else text
