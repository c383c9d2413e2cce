"""The cluster file's keys for restore drills."""

from __future__ import annotations

from tasks.cluster.model_base import Section, entry
from tasks.cluster.values_snapshots import Span


class DrillSection(Section):
    """Restore drills."""

    rto: Span | None = entry(
        None,
        "How long a restore may take (recovery time objective): drills say whether they kept to it, and their picture "
        "shows it. Default: none is set.",
        "15m",
    )
