"""What the cross checks look at and where they report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tasks.cluster.model import ClusterSection
from tasks.cluster.problems import KeyPath, Severity
from tasks.cluster.spec import Cluster, Host


class Note(Protocol):
    """Notes a problem at a key path; a key that is not in the file stands for the group it would be in."""

    def __call__(self, path: KeyPath, message: str, hint: str | None = None, severity: Severity = "error", /) -> None:
        """Note it."""


@dataclass(frozen=True)
class Checked:
    """The cluster to look at; harmless stand-ins where the file has something unusable.

    Args:
        cluster: Resolved from what of the file is valid; as many hosts as the file has.
        model: The keys it was resolved from.
        note: Where findings go.
        line: Line on which the host of that index in the file begins.
    """

    cluster: Cluster
    model: ClusterSection
    note: Note
    line: Callable[[int], int]

    @property
    def hosts(self) -> list[tuple[int, Host]]:
        """Hosts with their indexes in the file."""
        return list(enumerate(self.cluster.hosts))
