"""Words to write the schemas of ``--json`` with, and what several of them share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
BOOL: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
SECONDS: Schema = {"type": "number", "minimum": 0}


def record(optional: Mapping[str, Schema] | None = None, /, **properties: Schema) -> Schema:
    """An object that has all of these keys."""
    return {"type": "object", "properties": {**properties, **(optional or {})}, "required": list(properties)}


def list_of(of: Schema) -> Schema:
    """An array of these."""
    return {"type": "array", "items": of}


def map_of(of: Schema) -> Schema:
    """An object whose keys are names: of stores, say."""
    return {"type": "object", "additionalProperties": of}


def maybe(of: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [of, {"type": "null"}]}


def one_of(*words: str) -> Schema:
    """One of these words."""
    return {"enum": list(words)}


def said(of: Schema, description: str) -> Schema:
    """The same with a description, for what the name alone does not say."""
    return {**of, "description": description}


OK = said(BOOL, "Whether the exit code is 0.")

LEVEL = said(one_of("stream", "stored", "opened", "restored"), "How far it is proven.")
#: What a database said of itself when it was opened.
CONTENTS = record(revision=COUNT, compact_revision={"type": "integer"}, hash=COUNT, keys=maybe(COUNT))
#: An error, as it stands in every answer that has some.
FAILURE = record(message=TEXT, host=maybe(TEXT), state=maybe(TEXT), remedy=maybe(TEXT))
#: Stores that could not be read or written, and why.
FAILED = said(map_of(TEXT), "Stores that failed, and why.")
FINDING = record(
    level=one_of("ok", "waived", "warning", "error"),
    check=said(TEXT, "Short stable name."),
    host=said(maybe(TEXT), "Where; null for the whole cluster, or for this machine."),
    text=TEXT,
    remedy=said(TEXT, "What to do; empty where nothing is to be done."),
)
VERDICT = said(one_of("ok", "waived", "warning", "error"), "The gravest level among the findings.")
TIMELINE = list_of(record(phase=TEXT, seconds=SECONDS))


def key(**more: Schema) -> Schema:
    """A key of etcd, with what is said of it."""
    base64 = {"key_base64": said(TEXT, "Only if the key is no text; `key` is then escaped.")}
    return record(base64, key=TEXT, **more)
