"""How broken connections are put up with while much is moved."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tasks.errors import TransientHostError

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)  # seconds between tries that bring nothing new
SLOWEST = 256 << 10  # bytes a second below which a command is given up and begun anew

T = TypeVar("T")


class Patience:
    """Waits between tries, and gives up when several in a row have brought nothing new."""

    def __init__(self) -> None:
        self.cuts = 0
        self._vain = 0

    def refresh(self) -> None:
        """There was progress."""
        self._vain = 0

    def wait(self, error: TransientHostError) -> None:
        """Wait a little before the next try, or give up and raise the error."""
        self.cuts += 1
        if self._vain == len(PAUSES):
            raise error
        time.sleep(PAUSES[self._vain])
        self._vain += 1

    def run(self, command: Callable[[], T]) -> T:
        """Run what may be repeated until it gets through."""
        while True:
            try:
                return command()
            except TransientHostError as error:
                self.wait(error)


def deadline(count: int) -> float:
    """Seconds that a command which moves or reads so many bytes may take."""
    return 60.0 + count / SLOWEST
