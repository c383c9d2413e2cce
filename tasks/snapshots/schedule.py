"""How old the newest backup may be, from the schedule. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

from cronsim import CronSim, CronSimError

from tasks.errors import InputError

#: A backup is missed when it is late by half of the schedule's longest pause, and by ten minutes at least: a run waits
#: for its worker, and takes its time.
LATE, LATE_LEAST = 0.5, timedelta(minutes=10)
#: Runs of a schedule that are looked at for its longest pause: a week of hourly ones.
_RUNS = 170
#: Any fixed time, so that the same schedule always gives the same.
_FROM = datetime(2026, 1, 1, tzinfo=UTC)


def allowed(cron: str) -> timedelta:
    """How long there may be no backup: the schedule's longest pause, and then some.

    Args:
        cron: Five fields, UTC.

    Raises:
        InputError: That is no schedule.
    """
    try:
        runs = list(islice(CronSim(cron, _FROM), _RUNS))
    except CronSimError as error:
        raise InputError(
            f"{cron!r} is no schedule: {error}", remedy="correct snapshots.schedule in the cluster file"
        ) from None
    longest = max((later - earlier for earlier, later in pairwise(runs)), default=timedelta(days=1))
    return longest + max(longest * LATE, LATE_LEAST)
