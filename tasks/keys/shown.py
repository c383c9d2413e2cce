"""Keys as people and machines get to see them. Pure."""

from __future__ import annotations

import base64

from tasks.reporting.human import visible


def key_text(key: bytes) -> str:
    """A key for people: what is no printable text is escaped."""
    return visible(key.decode(errors="backslashreplace"))


def key_json(key: bytes) -> dict[str, str]:
    """A key for machines; in base64 as well where it is no text."""
    try:
        return {"key": key.decode()}
    except UnicodeDecodeError:
        return {"key": key_text(key), "key_base64": base64.b64encode(key).decode()}
