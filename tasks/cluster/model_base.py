"""What all groups of keys of a cluster file have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.cluster.scalars import EnvText, plain_value

_CONVERTIBLE = (int, float, bool, int | None, int | str)


def entry(default: Any, description: str, example: Any, **limits: Any) -> Any:
    """A key of the file; ``...`` as default makes it required."""
    return Field(default, description=description, examples=[example], **limits)


def section(model: type[Section], description: str, example: Any) -> Any:
    """A group of keys that may be left out."""
    extra: dict[str, Any] = {"default": {}}
    return Field(default_factory=model, description=description, examples=[example], json_schema_extra=extra)


class Section(BaseModel):
    """What all groups of keys share: unknown keys refused, immutable, empty values mean the default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _lenient(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        result = {}
        for name, value in data.items():
            known = cls.model_fields.get(name)
            if known is not None and value is None:
                continue
            if known is not None and isinstance(value, EnvText) and known.annotation in _CONVERTIBLE:
                value = plain_value(value)
            result[name] = value
        return result
