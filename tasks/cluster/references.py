"""All secrets that a cluster file points to, and where it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from tasks.cluster.spec import SecretRef


def secret_references(part: object, key: str = "") -> Iterator[tuple[str, SecretRef]]:
    """All references in a cluster, with where they are; those that all hosts share once. Pure."""
    seen = set()
    for path, ref in _references(part, key):
        if ref not in seen:
            seen.add(ref)
            yield path, ref


def _references(part: object, key: str) -> Iterator[tuple[str, SecretRef]]:
    if isinstance(part, SecretRef):
        yield key, part
    elif isinstance(part, tuple):
        for number, item in enumerate(part):
            yield from _references(item, f"{key}[{getattr(item, 'name', number)}]")
    elif is_dataclass(part):
        for each in fields(part):
            yield from _references(getattr(part, each.name), f"{key}.{each.name}".lstrip("."))
