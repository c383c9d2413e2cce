"""Progress of a backup on the terminal and in Prefect's UI, and its report as an artifact."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)

from flows.backup_results import BackupPlan, BackupResult
from flows.report import artifact_key
from tasks.reporting.human import duration, size
from tasks.reporting.progress import emit
from tasks.snapshots.pipeline import Progress

#: Seconds between two lines, and between two updates of the artifact.
EVERY = 5.0


class ProgressReport:
    """Tells how far a capture is; only of one that takes long enough to be wondered about."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._artifact: UUID | None = None
        self._told = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """See :func:`tasks.snapshots.pipeline.pump`."""
        now = time.monotonic()
        if now - self._told < EVERY:
            return
        self._told = now
        emit("info", words(progress))
        # Seen with 3.8.8: the artifact's page stays as it was when it was opened, so it has to say as of when that was.
        at = f"{datetime.now(UTC):%H:%M:%S} UTC (reload for newer)"
        self._publish(share(progress), f"Backup of {self._cluster} at {at}: {words(progress)}")

    def done(self) -> None:
        """All is stored."""
        if self._artifact is not None:
            self._publish(100.0, f"Backup of {self._cluster}: stored")

    def _publish(self, percent: float, description: str) -> None:
        if self._artifact is None:
            key = artifact_key("backup-progress", self._cluster)
            made = create_progress_artifact(percent, key=key, description=description)
            self._artifact = made if isinstance(made, UUID) else None
            return
        update_progress_artifact(self._artifact, percent, description)


def share(progress: Progress) -> float:
    """Whole percent of a backup that are with every store, as far as one can tell; 100 is for its end alone."""
    if not progress.expected or not progress.encoded:
        return 0.0
    read = min(1.0, progress.captured / progress.expected)
    return float(min(99, int(100 * read * min(1.0, progress.sent / progress.encoded))))


def words(progress: Progress) -> str:
    """One line: ``1.2 GiB of about 4.0 GiB read at 85.0 MiB/s, 34 s to go``."""
    of = f" of about {size(progress.expected)}" if progress.expected else ""
    if progress.released:
        return f"the member is free; {size(progress.sent)} of {size(progress.encoded)} are with every store"
    left = progress.remaining
    to_go = f", {duration(left)} to go" if left is not None else ""
    spooled = f"; {size(progress.spooled)} wait on the disk" if progress.spooled else ""
    return f"{size(progress.captured)}{of} read at {size(progress.rate)}/s{to_go}{spooled}"


def publish_backup_plan(plan: BackupPlan) -> None:
    """Keep the plan as an artifact of the run."""
    create_markdown_artifact(
        plan.as_markdown(),
        key=artifact_key("backup-plan", plan.cluster.name),
        description="What snapshot-backup is to do",
    )


def publish_backup(result: BackupResult) -> None:
    """Keep the result as an artifact of the run."""
    if result.backup is not None:
        name = result.plan.cluster.name
        create_markdown_artifact(
            result.as_markdown(),
            key=artifact_key("backup", name),
            description=f"Snapshot {result.backup.manifest.id} of {name}",
        )
