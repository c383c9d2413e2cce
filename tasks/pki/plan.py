"""The steps that bring certificates onto the hosts. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError, Refused, Several
from tasks.hosts.facts import FileFact, HostFacts
from tasks.pki.authority import Authority
from tasks.pki.certificates import fingerprint
from tasks.pki.judge import (
    MISSING,
    CaVerdict,
    PkiConflict,
    Verdict,
    cert_path,
    fact_paths,
    judge_authority,
    judge_leaves,
    key_path,
    marker_path,
)
from tasks.pki.leaves import FOR_OTHERS, LEAF_NAMES, LeafSpec
from tasks.plan import Step

__all__ = ["FileMode", "PkiPlan", "WritePki", "fact_paths", "plan_pki"]


@dataclass(frozen=True)
class FileMode:
    """How a file that is kept has to be owned and protected.

    Args:
        owner: ``user:group``, None where files belong to whoever runs us (no root there).
    """

    path: str
    mode: int
    owner: str | None


@dataclass(frozen=True)
class WritePki:
    """Put certificates on one host.

    Args:
        ca: Fingerprint of the CA that the plan was made with, None if it is made in this very run.
        leaves: To be issued, with new keys.
        modes: Kept files whose owner or mode is wrong.
        clear_marker: A marker of an earlier run is left over.
    """

    host: str
    pki_dir: str
    ca: str | None
    leaves: tuple[LeafSpec, ...]
    write_ca: bool
    copy_ca_key: bool
    modes: tuple[FileMode, ...]
    clear_marker: bool

    @property
    def needs_ca_key(self) -> bool:
        """Whether the CA's private key is used."""
        return bool(self.leaves) or self.copy_ca_key

    def fingerprint(self) -> str:
        """All of it as text; there is no secret in it."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class PkiPlan:
    """What will be done about certificates.

    Args:
        create_authority: There is no CA anywhere: make one before the steps.
        adopt_authority: Content of the hosts' ca.crt, to be taken into the state directory before the steps.
        steps: At most one for each host.
        notes: What people should know.
    """

    create_authority: bool
    adopt_authority: bytes | None
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


def plan_pki(
    cluster: Cluster, facts: Mapping[str, HostFacts], authority: Authority | None, *, now: datetime
) -> PkiPlan:
    """Decide what every host needs. The CA's key is asked for only if something has to be signed or copied.

    Args:
        cluster: As it is wanted.
        facts: Of all hosts, with the paths of :func:`fact_paths`.
        authority: From :func:`tasks.pki.authority.load_authority`; its key need not have been read.
        now: The time to judge by.

    Raises:
        Refused: Something is there that is not ours to replace, or the CA's key is needed and not here.
        Several: More than one refusal.
    """
    ca = judge_authority(cluster, facts, authority, now)
    conflicts = list(ca.conflicts)
    create = authority is None and ca.adopt is None
    key_here = create or (authority is not None and authority.can_issue)
    steps = []
    left_out: dict[str, list[str]] = {}
    if not conflicts:
        for host in cluster.hosts:
            judged = judge_leaves(host, cluster, facts[host.name], ca.trusted, now)
            conflicts += [verdict for verdict in judged if isinstance(verdict, PkiConflict)]
            verdicts = [verdict for verdict in judged if isinstance(verdict, Verdict)]
            if not key_here:
                verdicts, names = _without_others(verdicts)
                left_out |= {host.name: names} if names else {}
            step = _step(host, cluster, facts[host.name], ca, verdicts)
            steps += [step] if step else []
    _refuse([conflict.refusal() for conflict in conflicts])
    if not key_here:
        _refuse(_key_wanted(cluster, facts, steps))
    notes = (*_left_out(cluster, facts, left_out), *_notes(cluster, facts))
    return PkiPlan(create, ca.adopt, tuple(steps), notes)


def _without_others(verdicts: Sequence[Verdict]) -> tuple[list[Verdict], list[str]]:
    """Leave out what is missing and what no member needs, so that nothing is refused for want of the CA's key."""
    names = [v.leaf.name for v in verdicts if v.reason == MISSING and v.leaf.name in FOR_OTHERS]
    return [v for v in verdicts if v.leaf.name not in names], names


def _left_out(cluster: Cluster, facts: Mapping[str, HostFacts], left_out: Mapping[str, Sequence[str]]) -> list[str]:
    """What was left out, and how it is to be had."""
    if not left_out:
        return []
    names = ", ".join(sorted({name for names in left_out.values() for name in names}))
    return [
        f"{names} is not issued on {', '.join(left_out)}, because the CA's private key is not here; no member needs "
        f"it. To have it, {_how_to_get_the_key(cluster, facts)}"
    ]


def _how_to_get_the_key(cluster: Cluster, facts: Mapping[str, HostFacts]) -> str:
    directory = cluster.pki.state_dir
    holders = [host for host in cluster.hosts if facts[host.name].file(key_path(host, "ca")).kind == "file"]
    if not holders:
        return f"put the CA's ca.crt and ca.key into {directory} (directory 0700, ca.key 0600) and run again"
    name, where = holders[0].name, holders[0].paths.pki_dir
    return f"copy ca.crt and ca.key from {name}:{where} into {directory} (directory 0700, ca.key 0600) and run again"


def _refuse(refusals: Sequence[EtcdFlowsError]) -> None:
    if len(refusals) == 1:
        raise refusals[0]
    if refusals:
        raise Several("certificates: some of what is there is not ours to replace", refusals)


def _key_wanted(cluster: Cluster, facts: Mapping[str, HostFacts], steps: Sequence[Step]) -> list[EtcdFlowsError]:
    wanting = [step for step in steps if isinstance(step.action, WritePki) and step.action.needs_ca_key]
    if not wanting:
        return []
    what = "; ".join(f"{step.host}: {step.summary}" for step in wanting)
    return [
        Refused(
            f"the private key of the CA is needed and not in {cluster.pki.state_dir} ({what})",
            state="nothing was changed",
            remedy=_how_to_get_the_key(cluster, facts),
        )
    ]


def _step(host: Host, cluster: Cluster, facts: HostFacts, ca: CaVerdict, verdicts: Sequence[Verdict]) -> Step | None:
    issue = [verdict for verdict in verdicts if not verdict.keep]
    copy_key = cluster.pki.ca_key == "hosts" and not facts.file(key_path(host, "ca")).present
    modes, mode_changes = _wrong_modes(host, cluster, facts, [verdict.leaf for verdict in verdicts if verdict.keep])
    action = WritePki(
        host=host.name,
        pki_dir=host.paths.pki_dir,
        ca=fingerprint(ca.trusted[0]) if ca.trusted else None,
        leaves=tuple(verdict.leaf for verdict in issue),
        write_ca=not facts.file(cert_path(host, "ca")).present,
        copy_ca_key=copy_key,
        modes=modes,
        clear_marker=facts.file(marker_path(host)).present,
    )
    parts = [
        (bool(issue), f"issue {', '.join(verdict.leaf.name for verdict in issue)}"),
        (action.write_ca, "put ca.crt"),
        (copy_key, "put ca.key"),
        (bool(modes), f"correct owner or mode of {len(modes)} files"),
        (action.clear_marker and not issue, "clear the marker of an earlier run"),
    ]
    summary = "; ".join(text for applies, text in parts if applies)
    if not summary:
        return None
    placed = [f"+ {name}" for name, wanted in (("ca.crt", action.write_ca), ("ca.key", copy_key)) if wanted]
    changes = (*placed, *(line for verdict in issue for line in verdict.changes), *mode_changes)
    return Step(host.name, "pki", summary, action, _why(issue), changes)


def _why(issue: Sequence[Verdict]) -> str:
    names: dict[str, list[str]] = {}
    for verdict in issue:
        names.setdefault(verdict.reason, []).append(verdict.leaf.name)
    if len(names) == 1 and len(issue) == len(LEAF_NAMES):
        return f"all certificates: {issue[0].reason}"
    return "; ".join(f"{', '.join(leaves)}: {reason}" for reason, leaves in names.items())


def _wrong_modes(
    host: Host, cluster: Cluster, facts: HostFacts, kept: Sequence[LeafSpec]
) -> tuple[tuple[FileMode, ...], tuple[str, ...]]:
    """Kept files, and the directory, that are not as they should be; with a line on each for people."""
    as_root = facts.login_user == "root" or host.ssh.sudo != "none"
    wanted = [(cert_path(host, "ca"), 0o644, "root"), (key_path(host, "ca"), 0o600, "root")]
    for leaf in kept:
        wanted += [
            (cert_path(host, leaf.name), 0o644, "root"),
            (key_path(host, leaf.name), leaf.key_mode, leaf.key_group),
        ]
    modes, changes = [], []
    for path, mode, group in wanted:
        found = facts.file(path)
        owner = f"root:{group}" if as_root else None
        if found.kind == "file" and (found.mode != mode or (owner and _owner(found) != owner)):
            modes.append(FileMode(path, mode, owner))
            changes.append(f"~ {path}: {found.mode:04o} {_owner(found)} -> {mode:04o} {owner or _owner(found)}")
    directory = facts.file(host.paths.pki_dir)
    # The etcd user has to get through; nobody but the owner may put files there.
    if directory.kind == "dir" and (directory.mode & 0o022 or not directory.mode & 0o001):
        modes.append(FileMode(host.paths.pki_dir, 0o755, "root:root" if as_root else None))
        changes.append(f"~ {host.paths.pki_dir}: {directory.mode:04o} -> 0755")
    return tuple(modes), tuple(changes)


def _owner(fact: FileFact) -> str:
    return f"{fact.owner}:{fact.group}"


def _notes(cluster: Cluster, facts: Mapping[str, HostFacts]) -> tuple[str, ...]:
    if cluster.pki.ca_key == "hosts":
        return ()
    holders = [host.name for host in cluster.hosts if facts[host.name].file(key_path(host, "ca")).present]
    if not holders:
        return ()
    return (
        f"the CA's private key lies on {', '.join(holders)}: whoever becomes root there can sign for all the cluster; "
        f"keep it in {cluster.pki.state_dir} and delete it there, or say pki.ca_key: hosts",
    )
