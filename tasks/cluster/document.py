"""YAML text to nodes that know where they stand.

Built on PyYAML's event stream, not on its loader: events come one by one, so that nesting and size can be bounded, keys
that appear twice are seen, no tag constructs anything, and every value keeps its offset in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tasks.cluster.problems import Notes

MAX_DEPTH = 32
MAX_EVENTS = 20_000
_STRING_TAGS = ("!", "tag:yaml.org,2002:str")
_QUOTED = re.compile(r"'([^']*)'")
_OF_YAML = re.compile(r"|.|<[a-z ]+>")


@dataclass(eq=False)
class Node:
    """Anything in the document; ``offset`` counts characters from the start of the text."""

    offset: int


@dataclass(eq=False)
class Scalar(Node):
    """A single value as written; ``plain`` means without quotes."""

    text: str
    plain: bool


@dataclass(eq=False)
class Items(Node):
    """A list."""

    children: list[Node] = field(default_factory=list)


@dataclass(eq=False)
class Mapping(Node):
    """Keys and values, in turn, in the order of the file; twice the same key is still here twice."""

    children: list[Node] = field(default_factory=list)

    def entries(self) -> Iterator[tuple[Node, Node]]:
        """Pairs of key and value."""
        return zip(self.children[::2], self.children[1::2], strict=True)


def compose(text: str, notes: Notes) -> Node | None:
    """The document's root, or None after noting why there is none.

    Args:
        text: A whole cluster file.
        notes: Receives syntax errors, tags, second documents, aliases to nothing or to themselves, too deep nesting.
    """
    composer = _Composer(notes)
    loader: Any = None  # the stubs leave get_event untyped
    try:
        loader = yaml.SafeLoader(text)
        while loader.check_event():
            if not composer.take(loader.get_event()):
                return None
    except yaml.reader.ReaderError as error:
        notes.add(error.position, (), "a control character that YAML does not allow", "retype this line as plain text")
        return None
    except yaml.MarkedYAMLError as error:
        _note_syntax(error, text, notes)
        return None
    except (ValueError, OverflowError):
        # PyYAML passes on int() and chr() failures, e.g. for "\UFFFFFFFF" or %YAML with a number of 5,000 digits.
        offset = loader.index if loader else 0
        notes.add(offset, (), "not valid YAML: a number or character code that does not exist", None)
        return None
    if composer.root is None:
        notes.add(0, (), "the file is empty", "a cluster needs at least `name` and `hosts`")
    return composer.root


class _Composer:
    """Turns events into nodes without recursion."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.root: Node | None = None
        self.stack: list[Items | Mapping] = []
        self.anchors: dict[str, Node] = {}
        self.events = 0
        self.documents = 0

    def take(self, event: yaml.Event) -> bool:
        """Work in one event; False when reading cannot go on."""
        self.events += 1
        offset = event.start_mark.index if event.start_mark else 0
        if self.events > MAX_EVENTS:
            self.notes.add(offset, (), f"the file has more than {MAX_EVENTS:,} parts", None)
            return False
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.notes.add(offset, (), "a second YAML document starts here", "one file holds one cluster")
                return False
        elif isinstance(event, yaml.AliasEvent):
            return self._alias(event, offset)
        elif isinstance(event, yaml.ScalarEvent):
            self._tag(event, offset)
            self._place(Scalar(offset, event.value, bool(event.implicit[0]) and not event.style), event.anchor)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            return self._open(event, offset)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            self.stack.pop()
        return True

    def _open(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent, offset: int) -> bool:
        self._tag(event, offset)
        node = Mapping(offset) if isinstance(event, yaml.MappingStartEvent) else Items(offset)
        self._place(node, event.anchor)
        self.stack.append(node)
        if len(self.stack) > MAX_DEPTH:
            self.notes.add(offset, (), f"nested more than {MAX_DEPTH} levels deep", None)
            return False
        return True

    def _alias(self, event: yaml.AliasEvent, offset: int) -> bool:
        target = self.anchors.get(event.anchor or "")
        if target is None:
            self.notes.add(
                offset, (), "an alias (*) to an anchor that is not in the file", "put the value in quotes if * is meant"
            )
            return False
        if any(target is node for node in self.stack):
            self.notes.add(offset, (), "an alias (*) that contains itself", None)
            return False
        self._place(target, None)
        return True

    def _place(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self.anchors[anchor] = node
        if self.stack:
            self.stack[-1].children.append(node)
        else:
            self.root = node

    def _tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, offset: int) -> None:
        if event.tag is not None and event.tag not in _STRING_TAGS:
            self.notes.add(
                offset, (), "a YAML tag (!)", "cluster files have none; put the value in quotes if ! is meant"
            )


def _unquoted(quoted: re.Match[str]) -> str:
    """A sign or a token's name as it is; anything longer is of the file, and may be a secret."""
    return quoted[0] if _OF_YAML.fullmatch(quoted[1]) else "something"


def _note_syntax(error: yaml.MarkedYAMLError, text: str, notes: Notes) -> None:
    """One problem for a syntax error; PyYAML's wording, without the pieces of the file that it quotes."""
    mark = error.problem_mark or error.context_mark
    offset = mark.index if mark else 0
    line = notes.position(offset)[0]
    lines = text.split("\n")
    source = lines[line - 1] if line <= len(lines) else ""
    problem = _QUOTED.sub(_unquoted, error.problem or "cannot be read").replace("\t", "\\t")
    hint = "check the indentation, quotes and brackets here and on the line before"
    if "\\t" in problem or source[: len(source) - len(source.lstrip())].count("\t"):
        problem, hint = "a tab where YAML wants spaces", "indent with spaces"
    elif "${" in source:
        hint = 'inside { } or [ ] put it in quotes: "${NAME}"'
    notes.add(offset, (), f"not valid YAML: {problem}", hint)
