"""Parameters of which a person chooses among known words: in Prefect's forms they are lists to choose from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field


def one_of(words: Iterable[str]) -> Any:
    """What stands beside ``str`` in ``Annotated``: for the form alone, since the flow's own refusal tells more.

    Args:
        words: What can be chosen.
    """
    return Field(json_schema_extra={"enum": list(words)})
