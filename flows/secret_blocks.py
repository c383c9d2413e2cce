"""Secrets that the cluster file refers to as ``block:name``: Prefect Secret blocks, read when they are needed."""

from __future__ import annotations

from prefect.blocks.system import Secret

from tasks.errors import InputError


def read_block(name: str) -> str:
    """The value of a Prefect Secret block.

    Raises:
        InputError: There is no such block, or it holds no text. The value is never part of the message.
    """
    try:
        value = Secret.load(name).get()  # type: ignore[union-attr]
    except ValueError as error:
        raise InputError(
            f"there is no Prefect Secret block named {name!r}",
            state="nothing was changed",
            remedy=f"create it in the Prefect UI (Blocks, Secret) under the name {name}, or refer to env: or file:",
        ) from error
    if not isinstance(value, str):
        raise InputError(f"the Prefect Secret block {name!r} does not hold a text")
    return value
