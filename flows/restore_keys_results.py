"""What restore-keys returns: the plan of a dry run, or what was written. Keys are shown, values never."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect.artifacts import create_markdown_artifact

from flows.report import artifact_key
from tasks.keys.apply import Applied
from tasks.keys.compare import Compared, Noted
from tasks.keys.decide import DEEDS, Outcome
from tasks.keys.plan_file import SavedPlan
from tasks.keys.shown import key_json, key_text
from tasks.reporting import tables
from tasks.reporting.human import duration, plural, size
from tasks.reporting.markdown import bullets, code, joined, narrow
from tasks.reporting.tables import Table, table

_WORDS: Mapping[Outcome, tuple[str, str]] = {
    "add": ("to be added", ""),
    "overwrite": ("to be overwritten", "have another value now, which is lost"),
    "delete": ("to be deleted", "are not in the snapshot"),
    "unchanged": ("unchanged", ""),
    "conflict": ("left: conflict", "have another value now; --on-conflict overwrite puts the snapshot's back"),
    "extra": ("left: not in the snapshot", "--delete-extra deletes them"),
    "leased": ("left: bound to a lease", "then or now; --with-leased treats them like others, without the lease"),
}
_SIGNS: Mapping[Outcome, str] = {"add": "+", "overwrite": "~", "delete": "-", "unchanged": " "}
_ROWS = 30


def counts_table(plan: SavedPlan) -> Table:
    """How many keys have which fate."""
    rows = [
        (_WORDS[what][0], keys, size(volume), _WORDS[what][1]) for what, (keys, volume) in plan.counts.items() if keys
    ]
    return table(("what", "keys", "values", ""), rows)


@dataclass(frozen=True)
class KeysResult:
    """What both results have."""

    cluster: str

    @property
    def exit_code(self) -> int:
        """0: all is well."""
        return 0

    def as_text(self) -> str:
        """For people."""
        raise NotImplementedError

    def as_markdown(self) -> str:
        """For Prefect's artifact view."""
        raise NotImplementedError

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        raise NotImplementedError


@dataclass(frozen=True)
class KeysPlanned(KeysResult):
    """A dry run: nothing was changed.

    Args:
        typed: The cluster, as the operator names it.
    """

    typed: str
    compared: Compared

    @property
    def _sides(self) -> str:
        plan = self.compared.plan
        return f"{plan.header.snapshot} (revision {plan.revisions[0]}) beside the running cluster " + (
            f"(revision {plan.revisions[1]})"
        )

    @property
    def _command(self) -> str:
        short = self.compared.plan.short
        return f"etcd-flows restore-keys {shlex.quote(self.typed)} --apply {short} --confirm {self.cluster}"

    def as_text(self) -> str:
        """For people."""
        plan = self.compared.plan
        lines = [
            f"restore-keys {self.cluster}: {self._sides}",
            "",
            tables.as_text(counts_table(plan)),
        ]
        if plan.todos:
            lines += ["", tables.as_text(self._prefixes())]
        lines += ["", *(_line(noted) for noted in self.compared.noted)] if self.compared.noted else []
        lines += [f"note: {text}" for text in plan.warnings]
        if not plan.todos:
            return "\n".join([*lines, "", "nothing to do"])
        todo = f"Nothing was changed. To carry out this plan (kept for two weeks):\n  {self._command}"
        return "\n".join([*lines, "", todo])

    def as_markdown(self) -> str:
        """For Prefect's artifact view."""
        plan = self.compared.plan
        head = (f"{self._sides}.", narrow(counts_table(plan)), bullets(plan.warnings))
        keys = bullets(code(_line(noted).strip()) for noted in self.compared.noted)
        if not plan.todos:
            return joined(*head, "**Nothing to do.**", keys)
        form = f"restore-keys with {code(plan.short)} as *Apply*, {code(self.cluster)} as *Confirm*, and no snapshot"
        todo = (
            f"**Nothing was changed.** To carry out this plan, which is kept for two weeks, run {form}; "
            f"or on the command line: {code(self._command)}"
        )
        return joined(*head, todo, narrow(self._prefixes()), keys)

    def _prefixes(self) -> Table:
        found = sorted(self.compared.tree.tree.items())
        rows = [(key_text(prefix) or "(all)", *(counter[what] for what in DEEDS)) for prefix, counter in found[:_ROWS]]
        rows += [(f"... and {len(found) - _ROWS} more", "", "", "")] if len(found) > _ROWS else []
        return table(("prefix", "add", "overwrite", "delete"), rows)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        return {
            **plan_json(self.cluster, self.compared.plan),
            "applied": False,
            "prefixes": [
                {"prefix": key_text(prefix), **{what: counter[what] for what in DEEDS}}
                for prefix, counter in sorted(self.compared.tree.tree.items())
            ],
            "keys": [
                {
                    **key_json(noted.key),
                    "what": noted.what,
                    "snapshot_bytes": noted.then,
                    "present_bytes": noted.now,
                    "recreated": noted.recreated,
                }
                for noted in self.compared.noted
            ],
        }


@dataclass(frozen=True)
class KeysWritten(KeysResult):
    """A plan that was carried out.

    Args:
        safety: Snapshot of what there was before; empty if none was made.
        seconds: What the writing took.
    """

    plan: SavedPlan
    applied: Applied
    safety: str
    seconds: float

    @property
    def exit_code(self) -> int:
        """1 if keys are not as the plan wants them."""
        return 1 if self.applied.left or self.applied.too_large else 0

    def as_text(self) -> str:
        """For people."""
        applied = self.applied
        added, overwritten, deleted = (applied.done[what] for what in DEEDS)
        counts = f"{added} added, {overwritten} overwritten, {deleted} deleted"
        lines = [f"{self.cluster}: {counts} in {duration(self.seconds)}, from {self.plan.header.snapshot}"]
        if applied.already:
            lines.append(
                f"  {plural(applied.already, 'key')} already as wanted: an earlier run did it, or somebody else"
            )
        if self.safety:
            lines.append(f"  what there was before is snapshot {self.safety}")
        if self.exit_code:
            lines.append(f"  NOT as wanted: {plural(applied.left + applied.too_large, 'key')}, left as they are")
            lines += [f"    {key_text(key)}: {why}" for key, why in applied.first_left]
            lines.append("  what to do: look at them; a new dry run shows how they stand")
        return "\n".join(lines)

    def as_markdown(self) -> str:
        """For Prefect's artifact view."""
        head, *lines = self.as_text().splitlines()
        return joined(f"**{head}**", bullets(line.removeprefix("  ") for line in lines))

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        return {
            **plan_json(self.cluster, self.plan),
            "applied": True,
            "safety_snapshot": self.safety,
            "seconds": round(self.seconds, 3),
            "done": dict(self.applied.done),
            "already": self.applied.already,
            "left": self.applied.left,
            "too_large": self.applied.too_large,
            "keys_left": [{**key_json(key), "why": why} for key, why in self.applied.first_left],
        }


def plan_json(cluster: str, plan: SavedPlan) -> dict[str, Any]:
    """What is known of a plan in both cases."""
    return {
        "cluster": cluster,
        "plan": plan.short,
        "digest": plan.digest,
        "snapshot": plan.header.snapshot,
        "snapshot_revision": plan.revisions[0],
        "compared_at_revision": plan.revisions[1],
        "chosen": list(plan.header.words),
        "counts": {what: {"keys": keys, "bytes": volume} for what, (keys, volume) in plan.counts.items()},
        "warnings": list(plan.warnings),
    }


def _line(noted: Noted) -> str:
    sizes = " -> ".join(size(count) for count in (noted.now, noted.then) if count is not None)
    left = "" if noted.what in DEEDS else f"left, {noted.what}; "
    again = ", deleted and made again since" if noted.recreated else ""
    return f"{_SIGNS.get(noted.what, ' ')} {key_text(noted.key)}  ({left}{sizes}{again})"


def publish_keys(result: KeysResult, requested_by: str, reason: str) -> None:
    """Keep the report as an artifact of the run: who, why, what."""
    who = f"Requested by {requested_by or 'nobody named'}: {reason or 'no reason given'}"
    text = joined(f"# restore-keys {result.cluster}", who, result.as_markdown())
    create_markdown_artifact(
        text,
        key=artifact_key("restore-keys", result.cluster),
        description=f"What restore-keys found in {result.cluster}",
    )
