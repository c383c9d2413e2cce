"""The kinds of values that the ``restore`` section has, each with what to write instead."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from tasks.cluster.values import Wrong


def hook_name(value: str) -> str:
    """A hook's name: stands in plans, reports and records."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", value):
        raise Wrong("a hook's name has 1 to 40 lower-case letters, digits and '-'", "stop-apiserver")
    return value


def command(value: str) -> str:
    """Shell text, of one line or several."""
    if not value.strip() or len(value) > 16_384:
        raise Wrong("a command has 1 to 16384 characters", "systemctl stop kube-apiserver")
    if any(ord(character) < 32 and character not in "\n\t" for character in value):
        raise Wrong("a command has no control characters in it")
    return value.strip()


def variable_name(value: str) -> str:
    """An environment variable (POSIX, 8.1)."""
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", value):
        raise Wrong("a variable's name has upper-case letters, digits and '_'", "TOKEN")
    return value


HookName = Annotated[str, AfterValidator(hook_name)]
Command = Annotated[str, AfterValidator(command)]
VariableName = Annotated[str, AfterValidator(variable_name)]
