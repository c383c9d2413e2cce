"""Many requests to Prefect's server, some under way at once.

The server takes them one after another, so this saves what lies between them: the way there and back, the server's
waits for its database, and our own making of the next one. Measured for 50 clusters, see ``docs/operations.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

#: As many as Prefect's client keeps connections for.
REQUESTS = 8

#: Is told how many of how many are done.
Tell = Callable[[int, int], None]

_Item = TypeVar("_Item")


def each_of(items: Collection[_Item], work: Callable[[_Item], object], tell: Tell | None = None) -> None:
    """Do the same with each of them, in no order; what one of them raises is raised, and no other is begun.

    Args:
        items: What it is done with.
        work: What is done; in threads, so its client has to bear that (httpx's does).
        tell: Is called from this thread after each one.
    """
    with ThreadPoolExecutor(REQUESTS, thread_name_prefix="ask") as pool:
        try:
            for done, ended in enumerate(as_completed([pool.submit(work, item) for item in items]), start=1):
                ended.result()
                if tell:
                    tell(done, len(items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
