"""Plans: what a flow is going to do, as data.

A plan is computed by pure functions from the cluster file and the observed facts. ``--plan`` prints it and apply
carries out the very same object; no second code path decides.

A *step* is one action on one host. Steps of one host run in order; hosts of one *phase* run side by side; phases run
one after the other. Every step is idempotent: it may be cut off anywhere and run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol


class Action(Protocol):
    """What a step does. Actions are frozen dataclasses and hold no secret, so that a plan can be shown and stored."""

    def fingerprint(self) -> str:
        """A text that is equal for two actions exactly if they would do the same. It holds no secret."""
        ...


@dataclass(frozen=True)
class Step:
    """One idempotent action on one host.

    Args:
        host: Name of the host.
        name: Short name, unique for the host within its phase ("release", "pki", "config", "start").
        summary: One line for people: what will be done.
        action: The typed action that apply carries out.
        why: The observed reason ("etcd 3.5.16 is installed, 3.6.16 is wanted").
        changes: Lines in diff style ("+ ETCD_NAME=etcd-01", "- ..."), secrets left out.
    """

    host: str
    name: str
    summary: str
    action: Action
    why: str = ""
    changes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Stable identity within a phase, used by kill-point tests and reports."""
        return f"{self.host}/{self.name}"


@dataclass(frozen=True)
class Phase:
    """Steps that may run side by side on different hosts; the steps of one host run in the order given here.

    Args:
        undo: Carried out, in order, if the phase fails; what it takes back was healthy before.
    """

    name: str
    steps: tuple[Step, ...]
    undo: tuple[Step, ...] = ()

    def of(self, host: str) -> tuple[Step, ...]:
        """The steps of one host, in order."""
        return tuple(step for step in self.steps if step.host == host)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that have steps in this phase, in the order of first appearance."""
        return tuple(dict.fromkeys(step.host for step in self.steps))


@dataclass(frozen=True)
class Plan:
    """All that one run will do.

    Args:
        flow: Name of the flow ("bootstrap-cluster").
        cluster: Name of the cluster.
        phases: In order. Phases without steps are left out by :func:`make_plan`.
        notes: What people should know before they say yes (warnings, consequences).
    """

    flow: str
    cluster: str
    phases: tuple[Phase, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def empty(self) -> bool:
        """True if there is nothing to do: the hosts already are as the cluster file says."""
        return not self.phases

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order."""
        return tuple(step for phase in self.phases for step in phase.steps)

    @property
    def digest(self) -> str:
        """SHA-256 over everything that would be done; equal digests mean equal plans."""
        text = hashlib.sha256()
        for phase in self.phases:
            for step in phase.steps:
                text.update(f"{phase.name}\0{step.key}\0{step.action.fingerprint()}\0".encode())
        return text.hexdigest()


def make_plan(flow: str, cluster: str, phases: Iterable[Phase], notes: Iterable[str] = ()) -> Plan:
    """Build a plan, leaving out phases in which nothing is done."""
    return Plan(flow, cluster, tuple(phase for phase in phases if phase.steps), tuple(notes))
