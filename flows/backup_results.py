"""What snapshot-backup returns: the plan, and what became of it in each store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.cluster.spec import Cluster
from tasks.reporting import tables
from tasks.reporting.human import duration, plural, size
from tasks.reporting.markdown import bullets, joined, narrow
from tasks.reporting.tables import Table, table
from tasks.snapshots.backup import Backup
from tasks.snapshots.manifest import Manifest, to_json
from tasks.snapshots.source import Sources


@dataclass(frozen=True)
class BackupPlan:
    """What a backup would do now.

    Args:
        sources: The members that would be read, best first, and how.
        stores: By name, where each is.
    """

    cluster: Cluster
    sources: Sources
    stores: Mapping[str, str]

    def as_text(self) -> str:
        """For people."""
        settings, best = self.cluster.snapshots, self.sources.choices[0]
        status = next(status for status in self.sources.statuses if status.name == best.name)
        keep = settings.retention
        rules = [f"the last {keep.last}"] + [
            f"{count} {name}"
            for name, count in (
                ("hourly", keep.hourly),
                ("daily", keep.daily),
                ("weekly", keep.weekly),
                ("monthly", keep.monthly),
            )
            if count
        ]
        lines = [
            f"snapshot-backup {self.cluster.name}: about {size(status.db_bytes)}, revision {status.revision} or later",
            f"1. read {best.name} ({best.why}), {_WAYS[self.sources.way]}: {self.sources.why}",
            *([f"   if it fails: {', '.join(c.name for c in self.sources.choices[1:])}"] if self.others else []),
            f"2. compression {settings.compression}, {_encryption(self.cluster)}",
            f"3. store in {', '.join(f'{name} ({where})' for name, where in self.stores.items())}",
            f"4. prove it as far as: {settings.verify}; sign the manifest and write it last",
            f"5. remove what no rule keeps: {', '.join(rules)}; at least {plural(keep.min_verified, 'verified one')}",
        ]
        lines += [f"note: {name}: {error.message}" for name, error in self.sources.troubles.items()]
        return "\n".join(lines)

    def as_markdown(self) -> str:
        """For Prefect's artifact view."""
        head, *lines = self.as_text().splitlines()
        points = [f"   * {line.strip()}" if line.startswith(" ") else line for line in lines]
        notes = [line for line in points if line.startswith("note: ")]
        return joined(f"# {head}", "\n".join(line for line in points if line not in notes), bullets(notes))

    @property
    def others(self) -> bool:
        """Whether there is more than one member to read from."""
        return len(self.sources.choices) > 1

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        return {
            "cluster": self.cluster.name,
            "way": self.sources.way,
            "why": self.sources.why,
            "sources": [{"member": choice.name, "why": choice.why} for choice in self.sources.choices],
            "stores": dict(self.stores),
        }


_WAYS = {"stream": "streamed over gRPC", "host": "captured there and fetched over SSH"}


def _encryption(cluster: Cluster) -> str:
    settings = cluster.snapshots
    if settings.recipients:
        return f"encrypted for {plural(len(settings.recipients), 'recipient')}"
    return "encrypted with a passphrase" if settings.passphrase else "NOT encrypted"


@dataclass(frozen=True)
class BackupResult:
    """Result of snapshot-backup.

    Args:
        plan: What was to be done.
        backup: What was made; None for plan-only runs.
        wrong: What failed after the snapshot was stored (a verification, the removal of old ones), in words.
        removed: Ids that retention removed, by store.
        seconds: From the start of the capture to the end.
        untold: Why Prometheus was not told of it; empty if it was, or is not to be.
    """

    plan: BackupPlan
    backup: Backup | None = None
    wrong: tuple[str, ...] = ()
    removed: Mapping[str, tuple[str, ...]] | None = None
    level: str = "stored"
    seconds: float = 0.0
    untold: str = ""

    @property
    def exit_code(self) -> int:
        """1 if any store does not hold the snapshot, or anything after it failed (rule 22)."""
        return 1 if self.wrong or (self.backup and self.backup.failed) else 0

    def as_text(self) -> str:
        """For people."""
        if self.backup is None:
            return self.plan.as_text()
        manifest, pumped = self.backup.manifest, self.backup.pumped
        state = "PARTIAL" if self.backup.failed else "stored"
        how = f"{state} in {duration(self.seconds)}"
        if self.backup.earlier:
            how = "was stored before this run's worker went away; nothing was captured again"
        lines = [
            f"{manifest.cluster}: snapshot {manifest.id} {how}",
            "",
            tables.as_text(self.table()),
            "",
            f"  revision {_revision(manifest)}, {size(manifest.db_bytes)} of database, etcd {manifest.etcd_version}",
            f"  read from {manifest.source} ({self.backup.source.why}), which was held for "
            f"{duration(pumped.held_seconds)}",
        ]
        if pumped.spooled_bytes:
            lines.append(f"  {size(pumped.spooled_bytes)} waited on this machine's disk for slow stores")
        lines += [
            f"  {name}: removed {plural(len(ids), 'old snapshot')}" for name, ids in (self.removed or {}).items() if ids
        ]
        lines += [f"  note: {note}" for note in manifest.notes]
        if self.untold:
            lines.append(f"  warning: Prometheus was not told: {self.untold}")
        lines += [f"  FAILED: {name}: {error}" for name, error in self.backup.failed.items()]
        lines += [f"  FAILED: {what}" for what in self.wrong]
        return "\n".join(lines)

    def as_markdown(self) -> str:
        """For Prefect's artifact view."""
        head, _, *lines = self.as_text().split("\n\n")
        where = [f"{name}: {place}" for name, place in self.plan.stores.items()]
        said = [line.strip() for part in lines for line in part.splitlines()]
        return joined(head, narrow(self.table(), "store", "state", "size", "codec", "proof"), bullets([*where, *said]))

    def table(self) -> Table:
        """One row a store."""
        assert self.backup is not None  # noqa: S101 - only asked for when there is one
        rows = [
            (name, "stored", size(m.object_bytes), _codec(m), m.proof, self.plan.stores[name])
            for name, m in self.backup.manifests.items()
        ]
        rows += [(name, "FAILED", "-", "-", "-", self.plan.stores[name]) for name in self.backup.failed]
        return table(("store", "state", "size", "codec", "proof", "where"), rows)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; keys are stable."""
        if self.backup is None:
            return {"plan": self.plan.as_json(), "applied": False}
        failed = {name: {"message": e.message, "remedy": e.remedy} for name, e in self.backup.failed.items()}
        return {
            "plan": self.plan.as_json(),
            "applied": True,
            "snapshot": self.backup.manifest.id,
            "level": self.level,
            "partial": bool(failed),
            "earlier": self.backup.earlier,
            "stores": {name: to_json(manifest) for name, manifest in self.backup.manifests.items()},
            "failed": failed,
            "wrong": list(self.wrong),
            "removed": {name: list(ids) for name, ids in (self.removed or {}).items()},
            "held_seconds": self.backup.pumped.held_seconds,
            "spooled_bytes": self.backup.pumped.spooled_bytes,
            "seconds": round(self.seconds, 3),
            "untold": self.untold,
        }


def _codec(manifest: Manifest) -> str:
    words = (manifest.compression, "not compressed"), (manifest.encryption, "not encrypted")
    return ", ".join(without if what == "none" else what for what, without in words)


def _revision(manifest: Manifest) -> str:
    low, high = manifest.revision_min, manifest.revision_max
    return str(low) if low == high else f"{low} to {high}"
