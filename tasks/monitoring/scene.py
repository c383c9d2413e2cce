"""All that planning for a monitoring host looks at."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.cluster.spec import Cluster
from tasks.cluster.spec_monitoring import Watch
from tasks.monitoring.look import WatchFacts
from tasks.monitoring.wanted import Inputs
from tasks.pki.authority import Authority
from tasks.plan import Action, Step


@dataclass(frozen=True)
class Scene:
    """The cluster file, what was found, and what the worker adds.

    Args:
        watch: What runs on the host after this run.
        facts: With this cluster's part among the parts, as it is to be.
        authority: The operator's CA, if there is one.
    """

    cluster: Cluster
    watch: Watch
    facts: WatchFacts
    inputs: Inputs
    authority: Authority | None

    @property
    def host(self) -> str:
        """Its name."""
        return self.watch.host.name

    def step(self, name: str, summary: str, action: Action, why: str = "") -> Step:
        """A step there."""
        return Step(self.host, name, summary, action, why)
