"""Secrets that the cluster file refers to as ``block:secret/name``: Secret blocks, read when they are needed."""

from __future__ import annotations

from prefect.blocks.system import Secret

from tasks.errors import InputError


def read_block(name: str) -> str:
    """The value of a Prefect Secret block.

    Args:
        name: As Prefect writes it, ``secret/etcd-sudo``; the type may be left out.

    Raises:
        InputError: There is no such block, or it holds no text. The value is never part of the message.
    """
    kind, _, name = name.rpartition("/")
    if kind not in ("", "secret"):
        raise InputError(
            f"block:{kind}/{name} is of type {kind}, and secrets are read from Secret blocks only",
            state="nothing was changed",
            remedy=f"put the value into a Secret block, and refer to it as block:secret/{name}",
        )
    try:
        value = Secret.load(name).get()  # type: ignore[union-attr]
    except ValueError as error:
        raise InputError(
            f"there is no Prefect Secret block named {name!r}",
            state="nothing was changed",
            remedy=f"create it in the Prefect UI (Blocks, Secret) under the name {name}, or refer to env: or file:",
        ) from error
    if not isinstance(value, str):
        raise InputError(
            f"the Prefect Secret block {name!r} does not hold a text",
            remedy="put the secret as plain text into the block, in Prefect's UI",
        )
    return value
