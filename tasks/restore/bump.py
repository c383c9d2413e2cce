"""By how much revisions are raised in a restore. Pure.

Clients remember revisions (Kubernetes' informers do): if a restored cluster counts through revisions again that they
have seen before, with other content, their caches are wrong and nothing tells them. So the restored data gets a
revision beyond all that were ever given out, and everything before it is marked as compacted: watches that span the
restore are told so and begin anew. etcd's documentation: 1e9 is enough for a week at 1500 writes a second.
"""

from __future__ import annotations

import math

from tasks.errors import Refused

LEAST = 1_000_000_000
WEEK = 7 * 24 * 3600.0  # seconds
#: Added to what was seen: the old cluster may go on until it is stopped.
MARGIN = 1.2
#: Revisions are signed 64-bit numbers; half of them stay for the future.
LARGEST = 1 << 62


def decide_bump(snapshot_revision: int, newest_seen: int, age_seconds: float) -> int:
    """The amount that is added to the snapshot's newest revision, the same on every member.

    Args:
        snapshot_revision: The snapshot's newest; its least possible one if it is not known exactly.
        newest_seen: The newest revision that anybody is known to have seen: live members, later snapshots; 0 for none.
        age_seconds: How old the snapshot is; each week begun counts as one.

    Raises:
        Refused: There are no revisions left.
    """
    weeks = max(1, math.ceil(max(0.0, age_seconds) / WEEK))
    seen = math.ceil(max(0, newest_seen - snapshot_revision) * MARGIN)
    bump = max(LEAST * weeks, seen)
    if snapshot_revision + bump > LARGEST:
        raise Refused(
            f"raising revision {snapshot_revision} by {bump} would leave no room for revisions to come",
            state="nothing was changed",
            remedy="restore into a new cluster, whose clients know no revisions",
        )
    return bump
