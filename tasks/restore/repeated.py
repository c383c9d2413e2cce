"""Whether a run would only repeat the restore that has just ended. Pure.

Somebody at 3 a.m. presses arrow-up; an API client that lost the answer asks again. What clients have written since the
restore must not be thrown away by that. So the finished record on the hosts is looked at first: the same snapshot, and
a cluster that serves it, means that there is nothing to do; to restore it once more has to be said (``again``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from tasks.cluster.spec import Cluster
from tasks.errors import Refused
from tasks.etcd.members import MemberStatus
from tasks.etcd.restored import ended_path, last_path
from tasks.hosts.facts import HostFacts
from tasks.reporting.human import age
from tasks.restore.record import Record, from_json

#: Seconds for which a run with the same words counts as a repetition, not as somebody's new wish.
RECENT = 24 * 3600.0

#: Which snapshot a run means, seen from the last restore: the same; one that was made of the restored cluster since;
#: another.
Meant = Literal["same", "later", "other"]

_LOST = "what clients have written since then would be lost to them"


@dataclass(frozen=True)
class Ended:
    """The last restore that has ended on these hosts, whose data is in use.

    Args:
        at: Unix time of its end; that of its beginning where the hosts do not tell.
    """

    record: Record
    at: float

    @property
    def when(self) -> str:
        """For people."""
        return f"{datetime.fromtimestamp(self.at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def all_ended(cluster: Cluster, facts: Mapping[str, HostFacts]) -> tuple[Ended, ...]:
    """The restores that have ended and whose data is in use, the newest first; more than one where a host was left out
    of the last one and is back.
    """
    found: dict[str, Ended] = {}
    for host in cluster.hosts:
        if host.name not in facts:
            continue
        try:
            record = from_json(facts[host.name].file(last_path(host)).content or b"")
        except ValueError:
            continue
        if facts[host.name].data_dir.path == record.data_dir(host):
            at = _number(facts[host.name].file(ended_path(host)).content) or record.began
            known = found.get(record.id)
            found[record.id] = Ended(record, max(at, known.at) if known else at)
    return tuple(sorted(found.values(), key=lambda one: one.record.began, reverse=True))


def _number(content: bytes | None) -> float:
    try:
        return float(content or b"0")
    except ValueError:
        return 0.0


def serving(cluster: Cluster, statuses: Mapping[str, MemberStatus]) -> Literal["well", "partly", "no"]:
    """Whether the members serve as one cluster: all of them, enough to decide, or too few."""
    led = [status for status in statuses.values() if status.leader_id != "0"]
    groups = {(status.cluster_id, status.leader_id) for status in led}
    if len(led) < cluster.quorum:
        return "no"
    sound = len(led) == len(cluster.hosts) and len(groups) == 1 and not any(status.errors for status in led)
    return "well" if sound else "partly"


def nothing_to_do(
    cluster: Cluster, ended: Ended, statuses: Mapping[str, MemberStatus], meant: Meant, now: float
) -> bool:
    """Whether the run repeats what has been done already; False if it is a restore of its own.

    Args:
        cluster: Without its dead members.
        ended: The last restore.
        statuses: Of the members that answer.
        now: Unix time.

    Raises:
        Refused: It is not surely either, and would cost what was written since.
    """
    state, since = serving(cluster, statuses), max(0.0, now - ended.at)
    if meant == "other" or state == "no" or (meant == "later" and since > RECENT):
        return False
    was = f"restored from {ended.record.snapshot} at {ended.when}, {age(since)} ago"
    if meant == "later":
        raise _refused(f"the cluster was {was}; the newest snapshot was made of it since", "name it: --snapshot ID; or")
    if state == "partly":
        raise _refused(f"the cluster was {was}, and serves since, if not with all members", "see check-cluster; or")
    if since > RECENT:
        raise _refused(f"the cluster was {was}, and serves since", "to go back to that snapshot once more:")
    return True


def _refused(why: str, remedy: str) -> Refused:
    return Refused(f"{why}: {_LOST}", state="nothing was changed", remedy=f"{remedy} --again")
