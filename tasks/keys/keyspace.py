"""A key space as of one moment, read page by page: of a snapshot, or of the running cluster.

etcd counts all keys of the range that is asked for, however few it shall give back: a page out of a million keys costs
it 100 ms of work, and a thousand such pages are felt by everybody (source: treeIndex.Revisions; seen: 115 ns a key).
So the keys alone are read first, many at a time; values then in ranges that have no more keys than are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field

from tasks.errors import HostError, SnapshotError, TransientHostError
from tasks.etcd.rpc_keys import Page
from tasks.etcd.rpc_types import KeyValue
from tasks.keys.spans import Span

#: Keys that the first request for a range asks for, and the most that any asks for: at etcd's largest value (1.5 MiB)
#: no answer has more than 384 MiB, neither here nor in the member that makes it.
FIRST_PAGE, LARGEST_PAGE = 16, 256

#: The same for pages of keys without values.
FIRST_OUTLINE, LARGEST_OUTLINE = 1024, 16384

#: Bytes that a page should have: enough to hardly feel the round trip, few enough not to be felt by the cluster.
WANTED_PAGE = 2 << 20

#: Asks for a page: first key, end (None: all), how many, at which revision, whether without values.
AskPage = Callable[[bytes, bytes | None, int, int, bool], Page]


@dataclass(frozen=True)
class Keyspace:
    """Keys and values as of one revision.

    Args:
        name: For people: a snapshot's id, or ``now``.
        revision: As of which; never 0.
    """

    name: str
    revision: int
    ask: AskPage = field(repr=False)

    def items(self, spans: Iterable[Span]) -> Iterator[KeyValue]:
        """The keys of some ranges, in order within each; a page is held in memory at a time.

        Raises:
            TransientHostError: The cluster was compacted meanwhile, or no member answers.
            SnapshotError: It can't be read without a password.
            HostError: The member refuses.
        """
        limit = FIRST_PAGE
        for span in spans:
            page = self._page(span.start, span.end, limit)
            yield from page.items
            if page.more and page.items:
                limit = yield from self._many(_after(page), span.end, next_limit(page))

    def _many(self, start: bytes, end: bytes | None, limit: int) -> Generator[KeyValue, None, int]:
        """A range with more keys than a page has; returns how many to ask for after it."""
        more, outline_limit = True, FIRST_OUTLINE
        while more:
            outline = self._page(start, end, outline_limit, keys_only=True)
            keys = [item.key for item in outline.items]
            more = outline.more and bool(keys)
            if more:
                start = _after(outline)
                outline_limit = next_limit(outline, FIRST_OUTLINE, LARGEST_OUTLINE)
            first = 0
            while first < len(keys):
                last = min(first + limit, len(keys)) - 1
                page = self._page(keys[first], keys[last] + b"\0", limit)
                yield from page.items
                first, limit = last + 1, next_limit(page)
        return limit

    def _page(self, start: bytes, end: bytes | None, limit: int, *, keys_only: bool = False) -> Page:
        try:
            return self.ask(start, end, limit, self.revision, keys_only)
        except HostError as error:
            raise _explained(error, self.name) from error


def _after(page: Page) -> bytes:
    """The first key that may come after it."""
    return page.items[-1].key + b"\0"


def next_limit(page: Page, least: int = FIRST_PAGE, most: int = LARGEST_PAGE) -> int:
    """How many keys to ask for after this page. Pure."""
    read = sum(len(item.key) + len(item.value) + 64 for item in page.items)
    return max(least, min(most, WANTED_PAGE * len(page.items) // max(read, 1)))


def _explained(error: HostError, name: str) -> HostError | SnapshotError:
    if "has been compacted" in error.message:
        return TransientHostError(
            f"the cluster compacted revisions while {name} was read",
            state="nothing was changed",
            remedy="run it again; if that does not help, choose fewer keys, so that reading takes less time",
        )
    if "user name is empty" in error.message:
        return SnapshotError(
            f"the keys of {name} can't be read: users and passwords are switched on in it (etcdctl auth enable)",
            state="nothing was changed",
            remedy="only disaster-restore brings back a snapshot with users and passwords, and then all of it",
        )
    return error
