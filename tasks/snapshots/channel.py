"""Blocks handed from one thread to the next, a few at a time, so that memory stays bounded."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """A bounded queue for one giver and one taker, either of whom can end it with an error that both then see."""

    def __init__(self, size: int) -> None:
        """Args:
        size: So many items wait at most (:meth:`force` apart).
        """
        self._size = size
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Whether it was ended."""
        return self._error is not None

    def put(self, item: T, wait: float | None = None) -> bool:
        """Give an item.

        Args:
            wait: Seconds to wait for room, None for as long as it takes.

        Returns:
            Whether there was room in time.

        Raises:
            BaseException: What :meth:`fail` was told.
        """
        with self._changed:
            deadline = None if wait is None else monotonic() + wait
            while self._error is None and len(self._items) >= self._size:
                left = None if deadline is None else deadline - monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
            self._append(item)
            return True

    def force(self, item: T) -> None:
        """Give an item even if there is no room."""
        with self._changed:
            self._append(item)

    def get(self) -> T:
        """Take the next item, as soon as there is one.

        Raises:
            BaseException: What :meth:`fail` was told; items that wait are dropped then.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._error)
            if self._error is not None:
                raise self._error
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def fail(self, error: BaseException) -> None:
        """End it for both; only the first error counts."""
        with self._changed:
            self._error = self._error or error
            self._items.clear()
            self._changed.notify_all()

    def _append(self, item: T) -> None:
        if self._error is not None:
            raise self._error
        self._items.append(item)
        self._changed.notify_all()
