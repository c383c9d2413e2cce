"""What is printed with ``--json`` compared with its published schema."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from deployments.outputs import names, output_schema


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(output_schema(name))


def assert_as_published(name: str, printed: str) -> Any:
    """The document on stdout, which is what the schema of that command says.

    Args:
        name: The command's words with ``-`` between them.
    """
    document = json.loads(printed)
    wrong = [f"{error.json_path}: {error.message[:300]}" for error in _deepest(_validator(name), document)]
    assert not wrong, f"{name} --json is not as published: {wrong}"
    return document


def name_of(*words: str) -> str:
    """The schema's name for a command line that begins with these words."""
    return "-".join(words[:2]) if "-".join(words[:2]) in names() else words[0]


def _deepest(validator: Draft202012Validator, document: Any) -> list[Any]:
    """The errors themselves, not that none of the alternatives fits."""
    found = []
    for error in validator.iter_errors(document):
        found += list(error.context or ()) or [error]
    return found
