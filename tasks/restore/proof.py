"""The proof that a restore is right: what each member holds, asked through its own endpoint, compared. Pure but for
one question to each member.

At the revision at which the restored cluster begins, everything before is compacted and nothing of it changes any more:
hashes and key counts of that revision are those of the snapshot, however much clients write meanwhile (seen with etcd
3.5 and 3.6). Only when clients have compacted beyond it already, a later revision is compared, and keys are not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.cluster.spec import Host
from tasks.errors import CommandFailed, GateFailed
from tasks.etcd.members import MemberStatus, etcdctl, last_line, parse_members, parse_status
from tasks.hosts.services import where_it_logs
from tasks.hosts.shell import Shell
from tasks.restore.record import Record

_PARTS = "----\n"
TIMEOUT = 120.0  # seconds for a hash over all data; a gigabyte takes some


@dataclass(frozen=True)
class Proof:
    """What one member says.

    Args:
        revision: That hash and keys are of.
        hash: None if that revision has been compacted.
        keys: Live keys at that revision; None likewise.
        members: Names in its member list.
    """

    status: MemberStatus
    revision: int
    hash: int | None
    compact_revision: int | None
    keys: int | None
    alarms: tuple[str, ...]
    members: tuple[str, ...]

    @property
    def name(self) -> str:
        """The member's."""
        return self.status.name


def proof_script(host: Host, revision: int) -> str:
    """Asks for everything in one round trip."""
    ctl, slow = etcdctl(host), etcdctl(host, timeout=TIMEOUT)
    return "\necho ----\n".join(
        [
            f"{ctl} endpoint status -w json",
            f"{ctl} member list -w json",
            f"{ctl} alarm list",
            f"{slow} endpoint hashkv --rev={revision} -w json 2>&1 || :",
            f"{slow} get '' --prefix --count-only --rev={revision} -w fields 2>&1 || :",
            "",
        ]
    )


def ask(shell: Shell, revision: int) -> Proof:
    """Ask a member.

    Raises:
        CommandFailed: It does not answer.
    """
    host = shell.host
    out = shell.run(proof_script(host, revision), timeout=2 * TIMEOUT + 30, check=False, what="asking the member")
    parts = out.stdout.decode().split(_PARTS)
    if out.code != 0 or len(parts) < 5:
        raise CommandFailed(
            f"the member does not tell what it holds: {last_line(out.stderr)}",
            host=host.name,
            remedy=f"{where_it_logs(host)} say why",
        )
    return parse_proof(host.name, revision, parts)


def parse_proof(name: str, revision: int, parts: Sequence[str]) -> Proof:
    """Read what :func:`proof_script` printed.

    Raises:
        CommandFailed: It can't be understood.
    """
    status, members, alarms, hashed, counted = parts[:5]
    compacted = "required revision has been compacted" in hashed or "required revision has been compacted" in counted
    try:
        found = None if compacted else json.loads(hashed)[0]["HashKV"]
        keys = None if compacted else _count(counted)
        return Proof(
            status=parse_status(name, status),
            revision=revision,
            hash=found["hash"] if found else None,
            compact_revision=found.get("compact_revision", 0) if found else None,
            keys=keys,
            alarms=tuple(line.strip() for line in alarms.splitlines() if line.strip()),
            members=tuple(sorted(member.name for member in parse_members(members))),
        )
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise CommandFailed(
            f"the member's answer could not be understood: {(hashed + counted).strip()[:200]!r}",
            host=name,
            remedy="run it again: it goes on from the proof",
        ) from error


def _count(text: str) -> int:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip().strip('"') == "Count":
            return int(value)
    raise ValueError(text)


def comparable(proofs: Sequence[Proof]) -> bool:
    """Whether all could tell about that revision."""
    return all(proof.hash is not None for proof in proofs)


def next_revision(proofs: Sequence[Proof]) -> int:
    """A revision that all members have, where the one asked for is compacted already."""
    return min(proof.status.revision for proof in proofs)


def judge(record: Record, proofs: Sequence[Proof]) -> list[str]:
    """Everything that is not as it has to be; empty if the restore is right."""
    wrong = []
    wanted = tuple(sorted(name for name, _ in record.members))
    for proof in proofs:
        if proof.status.revision < record.base_revision:
            wrong.append(f"{proof.name} is at revision {proof.status.revision}, before {record.base_revision}")
        if proof.members != wanted:
            wrong.append(f"{proof.name} knows the members {', '.join(proof.members)}, not {', '.join(wanted)}")
        if proof.alarms or proof.status.errors:
            wrong.append(f"{proof.name} complains: {'; '.join((*proof.alarms, *proof.status.errors))}")
    for what, values in (
        ("cluster id", {p.name: p.status.cluster_id for p in proofs}),
        (f"hash at revision {proofs[0].revision}", {p.name: p.hash for p in proofs}),
        ("compact revision", {p.name: p.compact_revision for p in proofs}),
        (f"number of keys at revision {proofs[0].revision}", {p.name: p.keys for p in proofs}),
    ):
        if len(set(values.values())) != 1:
            said = ", ".join(f"{name} {value}" for name, value in values.items())
            wrong.append(f"the members do not agree on the {what}: {said}")
    keys = proofs[0].keys
    at_base = proofs[0].revision == record.base_revision
    if at_base and record.keys is not None and keys is not None and keys != record.keys:
        wrong.append(f"the members hold {keys} keys, the snapshot held {record.keys}")
    return wrong


def demand(record: Record, proofs: Sequence[Proof]) -> None:
    """Go on only if the restore is right.

    Raises:
        GateFailed: With everything that is wrong.
    """
    wrong = judge(record, proofs)
    if wrong:
        raise GateFailed(
            "the restored cluster is not what it has to be: " + "; ".join(wrong),
            state="the members run on the restored data; the restore is not ended, its record stays on the hosts",
            remedy=f"let no client write; run `{record.again}` to have it proven again"
            + (", or go back (--go-back)" if record.had_quorum else ""),
        )
