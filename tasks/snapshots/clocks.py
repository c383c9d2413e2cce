"""Snapshots that say they are from the future: some clock was wrong then, or is now. Pure.

A snapshot's time is that of the machine that made it. While one lies in the future, the newest by time need not be the
newest: what was made since with a right clock looks older. etcd's revision only grows as long as its cluster id stays,
so it tells the order there; across a restore, which makes a new id, nothing does. In the past, times are believed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

#: Clocks that are kept by NTP differ by less; a backup every few minutes is still told apart.
TOLERATED = timedelta(minutes=10)


def of_the_future(taken: datetime, now: datetime) -> bool:
    """Whether a time can't be true if ``now`` is."""
    return taken > now + TOLERATED
