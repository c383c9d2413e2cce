"""pydantic's findings in words for the person who wrote the file."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import ValidationError

from tasks.cluster.model import SECTIONS
from tasks.cluster.problems import KeyPath, Notes
from tasks.cluster.scalars import Broken, Odd
from tasks.cluster.values import Wrong

Places = dict[KeyPath, tuple[int, int]]

_WANTED = {
    "string_type": "text was expected",
    "int_type": "a whole number was expected",
    "int_from_float": "a whole number was expected",
    "float_type": "a number was expected",
    "bool_type": "true or false was expected",
    "tuple_type": "a list was expected",
    "dict_type": "keys with values were expected",
    "model_type": "keys with values were expected",
    "model_attributes_type": "keys with values were expected",
    "finite_number": "a finite number was expected",
}


def note_errors(error: ValidationError, notes: Notes, places: Places) -> list[KeyPath]:
    """Note every finding at its place in the file.

    Returns:
        Key paths of what is wrong; the path of a missing key ends in that key.
    """
    paths = []
    for finding in error.errors(include_url=False):
        path: KeyPath = tuple(part for part in finding["loc"] if part != "[key]")
        paths.append(path)
        if isinstance(finding.get("input"), Broken) and finding["type"] != "extra_forbidden":
            continue
        at_key = finding["type"] == "extra_forbidden" or "[key]" in finding["loc"]
        message, hint = _words(finding, path)
        notes.add(_offset(path, places, at_key), path, message, hint)
    return paths


def _offset(path: KeyPath, places: Places, at_key: bool) -> int:
    known = path
    while known not in places and known:
        known = known[:-1]
    return places[known][0 if at_key and known == path else 1]


def _words(finding: Any, path: KeyPath) -> tuple[str, str | None]:
    kind, value, context = finding["type"], finding.get("input"), finding.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key", unknown_key_hint(path)
    if kind == "missing":
        model = SECTIONS.get(_section(path))
        known = model.model_fields.get(str(path[-1])) if model else None
        return "is missing", known.description if known else None
    if kind == "value_error" and isinstance(context.get("error"), Wrong):
        return str(context["error"]), context["error"].hint
    if kind == "literal_error":
        choices = [choice.strip("'") for choice in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return f"one of {', '.join(choices)} was expected", _near(value, choices)
    if kind == "too_long":
        return f"more than {context['max_length']} entries", "etcd advises 7 members at most"
    if kind in _WANTED:
        return _WANTED[kind], _type_hint(kind, value, path)
    return str(finding["msg"]).replace("Input should be", "must be"), None


def _section(path: KeyPath) -> str:
    """Name of the group that the path's last key stands in."""
    return next((part for part in reversed(path[:-1]) if isinstance(part, str)), "")


def unknown_key_hint(path: KeyPath) -> str | None:
    """``did you mean`` for a key that its group does not have, or where it belongs."""
    name = str(path[-1])
    model = SECTIONS.get(_section(path))
    if model is None:
        return None
    near = _like(name, list(model.model_fields))
    elsewhere = [section for section, other in SECTIONS.items() if name in other.model_fields and other is not model]
    if elsewhere and (not near or near[0] != name.lower()):
        places = " or ".join(f"`{place}`" if place else "the top level" for place in elsewhere)
        very_near = _like(name, list(model.model_fields), 0.85)
        return (f"did you mean `{very_near[0]}`? " if very_near else "") + f"`{name}` belongs under {places}"
    if near:
        return f"did you mean `{near[0]}`?"
    return f"known here: {', '.join(model.model_fields)}"


def _like(name: str, known: list[str], how: float = 0.6) -> list[str]:
    return difflib.get_close_matches(name.lower().replace("-", "_")[:64], known, 1, how)


def _near(value: object, choices: list[str]) -> str | None:
    if isinstance(value, bool):
        return "write it in quotes: YAML reads yes, no, on and off as true or false"
    near = difflib.get_close_matches(str(value).lower()[:64], choices, 1, 0.6)
    return f"did you mean `{near[0]}`?" if near else None


def _type_hint(kind: str, value: object, path: KeyPath) -> str | None:
    if kind == "string_type" and isinstance(value, Odd):
        return f'write it in quotes: "..."; {value.reason}'
    if kind == "string_type" and isinstance(value, bool):
        return 'write it in quotes: "..."; YAML reads yes, no, on, off, true and false as a boolean'
    if kind == "string_type" and isinstance(value, (int, float)):
        return 'write it in quotes: "..."; YAML reads this as a number'
    if kind in ("int_type", "float_type") and isinstance(value, Odd):
        return f"write plain decimal digits; {value.reason}"
    if kind in ("int_type", "float_type", "bool_type") and isinstance(value, str):
        return "write it without quotes and units"
    if kind == "tuple_type" and path == ("hosts",):
        return "- {name: etcd-01, address: 10.0.0.11}"
    if kind == "tuple_type":
        return "[first, second], or one per line after `- `"
    return None
