"""How far a run of disaster-restore has come, and when."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.restore.proof import Proof


@dataclass
class Course:
    """How far a run has come, and when.

    Args:
        phases: Name and seconds of each phase that has ended.
        stopped_at: When the first member was about to be stopped (monotonic clock), None if none was.
        writable_at: When clients could first write again.
        proven_at: When the proof was there.
        proofs: What the members said.
        hooks_run: Names of the hooks before the stop that have run.
        hooks_failed: By name, why hooks after the proof have failed.
    """

    phases: list[tuple[str, float]] = field(default_factory=list)
    stopped_at: float | None = None
    writable_at: float | None = None
    proven_at: float | None = None
    proofs: tuple[Proof, ...] = ()
    hooks_run: list[str] = field(default_factory=list)
    hooks_failed: dict[str, str] = field(default_factory=dict)

    def since_stop(self, at: float | None) -> float | None:
        """Seconds from the stop until then; None if one of them was not in this run."""
        return at - self.stopped_at if at is not None and self.stopped_at is not None else None
