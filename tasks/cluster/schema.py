"""The cluster file for editors (JSON Schema) and for people (a row for every key)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tasks.cluster.model import ClusterSection

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ID = "urn:etcd-flows:cluster-file"
_FROM_ENVIRONMENT = {"type": "string", "pattern": "\\$\\{"}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a cluster file.

    Every property has a description, an example, and a default unless it is required. Numbers, booleans and choices
    also take ``${NAME}``, which only the loader can look up.
    """
    schema = ClusterSection.model_json_schema(mode="validation")
    for group in (schema, *schema["$defs"].values()):
        group["title"] = group["title"].removesuffix("Section")
        for name, value in group["properties"].items():
            group["properties"][name] = _for_editors(value)
    schema["properties"]["hosts"]["minItems"] = 1
    return {"$schema": _DIALECT, "$id": _ID, **schema, "title": "etcd-flows cluster file"}


def _for_editors(value: dict[str, Any]) -> dict[str, Any]:
    """A property without a title, that also takes null (the default) and, where it is no text, ``${NAME}``."""
    value = {name: part for name, part in value.items() if name != "title"}
    notes = {name: value.pop(name) for name in ("description", "default", "examples") if name in value}
    choices = value.pop("anyOf", [value] if value else [])
    if any("enum" in choice or choice.get("type") in ("integer", "number", "boolean") for choice in choices):
        choices = [*choices, _FROM_ENVIRONMENT]
    if "default" in notes and {"type": "null"} not in choices:
        choices = [*choices, {"type": "null"}]
    return {**(choices[0] if len(choices) == 1 else {"anyOf": choices}), **notes}


def reference_rows(schema: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """All keys, each with default, example and meaning, as Markdown.

    Args:
        schema: As :func:`json_schema` makes it.
    """
    return _rows(schema, schema, "")


def _rows(group: dict[str, Any], schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    required = group.get("required", ())
    for name, value in group["properties"].items():
        inner, is_list = _group_inside(value, schema)
        key = f"{prefix}{name}{'[]' if is_list else ''}"
        default = "required" if name in required else "" if inner else _cell(value["default"])
        example = "" if inner else _cell(value["examples"][0])
        yield f"`{key}`", default, example, value["description"].replace("|", "\\|")
        if inner and inner is not group:  # a jump host's own jump host has the same keys again
            yield from _rows(inner, schema, f"{key}.") if not _is_override(key) else ()


def _is_override(key: str) -> bool:
    """A host's or hook's own ``ssh`` has the keys of the top-level one; both lists of hooks have the same keys."""
    return key.endswith("[].ssh") or key == "restore.after_proof[]"


def _group_inside(value: dict[str, Any], schema: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    for choice in value.get("anyOf", [value]):
        for candidate, is_list in ((choice, False), (choice.get("items", {}), True)):
            if "$ref" in candidate:
                return schema["$defs"][candidate["$ref"].rpartition("/")[2]], is_list
    return None, False


def _cell(value: Any) -> str:
    if value is None:
        return "see text"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`".replace("|", "\\|")
