"""What flows return: plain data that the command line prints and machines read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.etcd.members import MemberStatus
from tasks.findings import Finding, worst
from tasks.plan import Plan
from tasks.reporting import findings, plans, tables
from tasks.reporting.human import plural
from tasks.reporting.tables import Table


@dataclass(frozen=True)
class PlannedResult:
    """Result of a flow that carries out a plan and has nothing more to tell."""

    plan: Plan
    applied: bool

    @property
    def exit_code(self) -> int:
        """0: whatever went wrong was raised."""
        return 0

    def as_text(self) -> str:
        """For people."""
        return f"{self.plan.cluster}: done" if self.applied else plans.as_text(self.plan)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        return {"plan": plans.as_json(self.plan), "applied": self.applied}


@dataclass(frozen=True)
class BootstrapResult(PlannedResult):
    """Result of bootstrap-cluster.

    Args:
        plan: What was to be done.
        applied: Whether it was done (False for an empty plan and for plan-only runs).
        members: Healthy members at the end; empty for plan-only runs.
        table: The members as people want to see them.
        findings: Of the preflight; empty where nothing had to be done.
    """

    members: tuple[MemberStatus, ...] = ()
    table: Table | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        """3 for a plan that the preflight would not let through; else 0, since what went wrong was raised."""
        return 3 if worst(self.findings) == "error" else 0

    def as_text(self) -> str:
        """For people."""
        if self.table is None:
            refused = "\nthe preflight found errors (see above), so this would be refused" if self.exit_code else ""
            return plans.as_text(self.plan) + refused
        head = "nothing to do: the cluster already is as its file says" if not self.applied else "done"
        return "\n".join([f"{self.plan.cluster}: {head}\n\n{tables.as_text(self.table)}", *plans.notes(self.plan)])

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        members = [member_json(member) for member in self.members]
        return {**super().as_json(), "members": members, "preflight": [findings.as_json(f) for f in self.findings]}


def member_json(member: MemberStatus) -> dict[str, Any]:
    """One member for ``--json``."""
    return {
        "name": member.name,
        "id": member.member_id,
        "cluster_id": member.cluster_id,
        "endpoint": member.endpoint,
        "version": member.version,
        "leader": member.is_leader,
        "learner": member.learner,
        "db_bytes": member.db_bytes,
        "db_in_use_bytes": member.db_in_use_bytes,
        "revision": member.revision,
        "raft_index": member.raft_index,
        "raft_term": member.raft_term,
        "errors": list(member.errors),
    }


@dataclass(frozen=True)
class CheckResult:
    """Result of check-cluster and preflight-cluster.

    Args:
        good: What a cluster is called that nothing is wrong with.
    """

    cluster: str
    findings: tuple[Finding, ...]
    good: str = "healthy"

    @property
    def exit_code(self) -> int:
        """1 if anything is wrong; warnings alone are 0."""
        return 1 if worst(self.findings) == "error" else 0

    def as_text(self) -> str:
        """For people."""
        errors = sum(finding.level == "error" for finding in self.findings)
        warnings = sum(finding.level == "warning" for finding in self.findings)
        verdict = (
            self.good if not errors and not warnings else f"{plural(errors, 'error')}, {plural(warnings, 'warning')}"
        )
        lines = [tables.as_text(findings.as_table(self.findings)), "", f"{self.cluster}: {verdict}"]
        return "\n".join([*lines, *findings.remedies(self.cluster, self.findings)])

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "cluster": self.cluster,
            "verdict": worst(self.findings),
            "findings": [findings.as_json(finding) for finding in self.findings],
        }
