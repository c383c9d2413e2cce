"""What the scripts of a restore are put together with. Pure."""

from __future__ import annotations

import shlex


def assignments(**values: str) -> str:
    """Values as shell variables, whatever is in them."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
