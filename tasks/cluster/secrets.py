"""References to secrets turned into secrets, as late as possible and without a trace."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from tasks.cluster.spec import SecretRef
from tasks.errors import InputError

MAX_BYTES = 64 * 1024
_UNTOUCHED = "nothing was touched"

BlockReader = Callable[[str], str]
_block_reader: BlockReader | None = None


class Secret:
    """A value that shows itself only when asked: not in str, repr, format, tracebacks' arguments, pickles or copies."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The value itself; to be handed straight to whoever needs it."""
        return self.__value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __str__(self) -> str:
        return "(hidden)"

    def __reduce__(self) -> NoReturn:
        # Prefect stores results and parameters pickled.
        raise TypeError("a Secret is never stored; pass its SecretRef and resolve it where it is used")


def set_block_reader(reader: BlockReader | None) -> None:
    """Say how ``block:`` references are read.

    Args:
        reader: Takes what follows ``block:`` and returns the value. None: blocks cannot be read here.
    """
    global _block_reader
    _block_reader = reader


def resolve(ref: SecretRef, environ: Mapping[str, str] = os.environ) -> Secret:
    """Look a secret up.

    Args:
        ref: What to look up; files by absolute path, as the cluster file's loader makes them.
        environ: For ``env:`` references.

    Returns:
        The secret, without the one newline that files tend to end in.

    Raises:
        InputError: Not there, empty, unreadable, or a file that everyone may read. Names the reference only.
    """
    if ref.kind == "env":
        value = environ.get(ref.name)
        if value is None:
            remedy = f"set {ref.name} for the process that runs the flow"
            raise _refusal(ref, "the environment variable is not set", remedy)
    elif ref.kind == "file":
        value = _from_file(ref)
    else:
        value = _from_block(ref)
    if not value:
        raise _refusal(ref, "it is empty", "put the secret there")
    return Secret(value)


def _refusal(ref: SecretRef, reason: str, remedy: str) -> InputError:
    return InputError(f"the secret {ref} cannot be used: {reason}", state=_UNTOUCHED, remedy=remedy)


def _from_file(ref: SecretRef) -> str:
    try:
        # Opening a pipe would wait for a writer; O_NONBLOCK does not. Mode and content are those of the one open file.
        with os.fdopen(os.open(Path(ref.name), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _refusal(ref, "it is not a regular file", "give the path of a file")
            if status.st_mode & stat.S_IROTH:
                raise _refusal(ref, "everyone on this machine may read the file", f"chmod 600 {ref.name}")
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror or "unreadable" if isinstance(error, OSError) else "that is not a path"
        raise _refusal(
            ref, reason, "check the path (it counts from where the cluster file lies) and who may read it"
        ) from None
    if len(data) > MAX_BYTES:
        raise _refusal(ref, "the file is larger than 64 KiB", "give the path of the secret's own file")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # Not chained: the decoding error carries the bytes.
        raise _refusal(ref, "the file is not UTF-8 text", "store the secret as text") from None
    return text.removesuffix("\n").removesuffix("\r")


def _from_block(ref: SecretRef) -> str:
    if _block_reader is None:
        raise _refusal(ref, "Prefect blocks can be read only within a flow run", "run the flow, or use env: or file:")
    try:
        value = _block_reader(ref.name)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - any failure may carry the value in its text; only its kind is told
        kind = type(error).__name__
    else:
        if isinstance(value, str):
            return value
        kind = "no text in it"
    raise _refusal(ref, f"the block could not be read ({kind})", "check its name: prefect block ls")
