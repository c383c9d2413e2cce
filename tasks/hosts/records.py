"""Records of what is under way, kept as JSON in files on hosts: written by one run, read by the next."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


class RecordFormat(Generic[T]):
    """How a dataclass is written to a file, and read from it.

    Args:
        name: Stands in the file; another one is not read.
        kind: The dataclass.
    """

    def __init__(self, name: str, kind: type[T]) -> None:
        self.name = name
        self._kind = kind

    def to_json(self, record: T) -> bytes:
        """As it is written to hosts: readable, and equal for equal records."""
        return (json.dumps({"format": self.name, **asdict(record)}, indent=2) + "\n").encode()

    def from_json(self, content: bytes) -> T:
        """Read what :meth:`to_json` made.

        Raises:
            ValueError: It is none.
        """
        data: Any = json.loads(content)
        if not isinstance(data, dict) or data.get("format") != self.name:
            raise ValueError(f"not of the format {self.name}")
        try:
            return self._reader.validate_python(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ValueError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None

    @cached_property
    def _reader(self) -> TypeAdapter[T]:
        return TypeAdapter(self._kind)
