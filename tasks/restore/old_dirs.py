"""Data dirs that restores have left beside the present one: what there is, and which of it may go.

A restore touches no data that is there (rule), so the data from before lies on the hosts until somebody says that it
may go. It may, if the cluster is well and a verified snapshot that is newer than the last restore is in a store: then
an old data dir is never the only copy of anything.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.cluster.spec import Cluster, Host
from tasks.errors import CommandFailed, Refused
from tasks.etcd.bootstrap import fingerprint
from tasks.etcd.restored import hold_path, kept_restores, last_path, record_path
from tasks.hosts.services import manager
from tasks.hosts.shell import Shell
from tasks.plan import Phase, Plan, Step, make_plan
from tasks.reporting.human import size
from tasks.restore.proof import Proof, comparable
from tasks.restore.record import Record, from_json
from tasks.snapshots.catalog import CatalogEntry

FLOW = "prune-data-dirs"


@dataclass(frozen=True)
class OldDir:
    """A data dir that is not in use.

    Args:
        path: Of it; ``DATA_DIR/member`` for the one from before any restore.
        bytes: What it takes on the disk.
        changed: Unix time at which etcd last wrote to it.
        restore: Id of the restore that made it; empty if none did.
        snapshot: Of which that restore was.
        half_removed: A run that removed it was cut off.
    """

    path: str
    bytes: int
    changed: float
    restore: str = ""
    snapshot: str = ""
    half_removed: bool = False


@dataclass(frozen=True)
class Old:
    """What restores have left on one host.

    Args:
        dirs: The newest first.
        records: Of all restores that ended, or were taken back, here.
        former: Where the last restore that ended would go back to; empty if none could.
    """

    dirs: tuple[OldDir, ...]
    records: tuple[Record, ...]
    former: str


@dataclass(frozen=True)
class RemoveOldDirs:
    """Remove data dirs that are not in use.

    Args:
        paths: Of them.
        no_way_back: Whether the last restore can't be taken back without them.
    """

    paths: tuple[str, ...]
    no_way_back: bool

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("remove old data", self.paths, self.no_way_back)


# --- looking ----------------------------------------------------------------------------------------------------------

_LIST = """
for dir in "$base/member" "$base"/restored-* "$base"/.pruned-*; do
  if [ -d "$dir" ] && [ "$dir" != "$current" ] && [ "$dir" != "$current/member" ]; then
    kib=$(du -sk -- "$dir" | cut -f 1)
    newest=$(find "$dir" -type f -printf '%T@\\n' 2>/dev/null | sort -n | tail -n 1)
    printf 'dir\\t%s\\t%s\\t%s\\n' "$kib" "${newest:-0}" "$dir"
  fi
done
for kept in "$restores"/*; do
  [ ! -f "$kept/record.json" ] || printf 'record\\t%s\\n' "$(base64 -w 0 -- "$kept/record.json")"
done
id=$(sed -n 's/^  "id": "\\([0-9a-f]*\\)",*$/\\1/p' "$last" 2>/dev/null) || :
if [ -n "$id" ] && [ -s "$restores/$id/former.env" ]; then
  former=$(cat -- "$restores/$id/former-data-dir" 2>/dev/null) || former=$base/member
  printf 'former\\t%s\\n' "$former"
fi
"""


def look(shell: Shell, current: str) -> Old:
    """What restores have left on a host; nothing is changed.

    Args:
        current: The data dir in use.

    Raises:
        CommandFailed: What came back can't be understood.
    """
    host = shell.host
    values = _words(base=host.paths.data_dir, current=current, restores=kept_restores(host), last=last_path(host))
    return parse(host, shell.run(values + _LIST, timeout=300.0, what="looking for former data").text)


def parse(host: Host, text: str) -> Old:
    """Read what the script prints.

    Raises:
        CommandFailed: It can't be understood.
    """
    lines = [line.split("\t") for line in text.splitlines()]
    try:
        records = tuple(from_json(base64.b64decode(said[1])) for said in lines if said[0] == "record")
        dirs = [_old_dir(host, said, records) for said in lines if said[0] == "dir"]
    except (ValueError, IndexError) as error:
        raise CommandFailed(
            f"what lies beside the data can't be told: {error}",
            host=host.name,
            remedy="look at the directories on the host, then run it again",
        ) from error
    former = next((said[1] for said in lines if said[0] == "former"), "")
    return Old(tuple(sorted(dirs, key=lambda old: -old.changed)), records, former)


def _old_dir(host: Host, said: Sequence[str], records: Iterable[Record]) -> OldDir:
    _, kib, changed, path = said
    made = next((record for record in records if record.data_dir(host) == path), None)
    half = path.rpartition("/")[2].startswith(".pruned-")
    known = (made.id, made.snapshot) if made else ("", "")
    return OldDir(path, int(kib) << 10, float(changed), *known, half_removed=half)


# --- deciding ---------------------------------------------------------------------------------------------------------


def plan_prune(cluster: Cluster, found: Mapping[str, Old], keep: int, notes: Iterable[str] = ()) -> Plan:
    """What goes: all that is not in use but the newest ones of each host.

    Args:
        keep: So many old data dirs stay on each host.
    """
    steps = [step for host in cluster.hosts if (step := _remove(host, found[host.name], keep))]
    if any(isinstance(step.action, RemoveOldDirs) and step.action.no_way_back for step in steps):
        notes = (*notes, "the last restore can't be taken back any more (disaster-restore --go-back)")
    return make_plan(FLOW, cluster.name, [Phase("remove data that is not in use", tuple(steps))], notes)


def _remove(host: Host, old: Old, keep: int) -> Step | None:
    whole = [one for one in old.dirs if not one.half_removed]
    gone = [*whole[keep:], *(one for one in old.dirs if one.half_removed)]
    if not gone:
        return None
    paths = tuple(one.path for one in gone)
    action = RemoveOldDirs(paths, old.former in paths)
    summary = f"remove {', '.join(paths)} ({size(sum(one.bytes for one in gone))})"
    return Step(host.name, "remove", summary, action, changes=tuple(f"- {describe(one)}" for one in gone))


def describe(old: OldDir) -> str:
    """One data dir for people."""
    when = f"last written {datetime.fromtimestamp(old.changed, UTC):%Y-%m-%d %H:%M:%S} UTC" if old.changed else "empty"
    if old.half_removed:
        return f"{old.path} ({size(old.bytes)}), half removed by a run that was cut off"
    made = "from before any restore" if old.path.endswith("/member") else "made by a restore that never ended"
    if old.restore:
        made = f"made by restore {old.restore[:8]} of {old.snapshot}"
    return f"{old.path} ({size(old.bytes)}), {when}, {made}"


def refuse_only_copies(found: Mapping[str, Old], entries: Iterable[CatalogEntry]) -> CatalogEntry | None:
    """See that a verified snapshot is newer than all restores, so that no old data is the only copy.

    Returns:
        The newest such snapshot; None if nothing was ever restored here.

    Raises:
        Refused: There is none.
    """
    since = max((record.began for old in found.values() for record in old.records), default=0.0)
    good = [e for e in entries if not e.unsound and e.kind in ("scheduled", "manual") and e.verified]
    newer = [entry for entry in good if entry.manifest.started > since]
    if newer:
        return max(newer, key=lambda entry: entry.manifest.started)
    if not any(old.dirs for old in found.values()):
        return None
    raise Refused(
        "no verified snapshot in a store is newer than the last restore, so the old data may be the only copy of "
        "something",
        state="nothing was removed",
        remedy="snapshot-backup, then restore-drill or `snapshots verify` for what it made; then run again",
    )


def refuse_unequal(proofs: Sequence[Proof]) -> None:
    """See that all members hold the same.

    Raises:
        Refused: They don't, or complain.
    """
    said = {(p.status.cluster_id, p.revision, p.hash, p.compact_revision, p.keys) for p in proofs}
    troubles = {proof.name: (*proof.alarms, *proof.status.errors) for proof in proofs}
    complaints = [f"{name}: {'; '.join(all_of_it)}" for name, all_of_it in troubles.items() if all_of_it]
    if len(said) != 1 or not comparable(proofs) or complaints:
        raise Refused(
            "the members do not all hold the same, or complain" + (f" ({'; '.join(complaints)})" if complaints else ""),
            state="nothing was removed",
            remedy="check-cluster tells what is wrong; old data stays until the cluster is well",
        )


# --- removing ---------------------------------------------------------------------------------------------------------

# Renamed first: what has its name is whole, so a run that is cut off leaves nothing that looks like data.
_REMOVE = """
[ ! -e "$hold" ] && [ ! -e "$active" ] || { echo "a restore is under way" >&2; exit 1; }
set -- $(status)
[ "$2" != 0 ] || { echo "the member does not run" >&2; exit 1; }
used=$(tr '\\000' '\\n' <"/proc/$2/environ" | sed -n s/^ETCD_DATA_DIR=//p)
[ -n "$used" ] || { echo "which data etcd runs on can't be told" >&2; exit 1; }
next=$(sed -n s/^ETCD_DATA_DIR=//p "$env" | tr -d "\\"'")
remove() {
  for data in "$used" "$next"; do
    case $data/member/ in "$1"/*) echo "$1 is in use" >&2; exit 1 ;; esac
  done
  gone=$base/.pruned-${1##*/}
  case ${1##*/} in .pruned-*) gone=$1 ;; esac
  if [ "$gone" != "$1" ] && [ -d "$1" ]; then
    rm -rf -- "$gone"
    mv -T -- "$1" "$gone"
    sync -- "$base"
  fi
  rm -rf -- "$gone"
}
"""


def removal(host: Host, action: RemoveOldDirs) -> str:
    """The script that removes; what is in use is looked at once more, on the host."""
    base = host.paths.data_dir
    for path in action.paths:
        directory, _, name = path.rpartition("/")
        if directory != base or not (name == "member" or name.startswith(("restored-", ".pruned-"))):
            raise AssertionError(f"{path} is no data dir of {host.name}")
    values = _words(
        base=base,
        hold=hold_path(host),
        active=record_path(host),
        env=host.paths.env_file,
        last=last_path(host),
    )
    calls = "".join(f"remove {shlex.quote(path)}\n" for path in action.paths)
    forget = 'rm -f -- "$last"\n' if action.no_way_back else ""
    return f"{values}status() {{\n{manager(host).status()}}}\n{_REMOVE}{forget}{calls}"


def remove_old_dirs(shell: Shell, host: Host, action: RemoveOldDirs) -> None:
    """Remove the data dirs.

    Raises:
        CommandFailed: One is in use, or the member does not run.
    """
    shell.run(removal(host, action), timeout=600.0, what="removing old data")


def _words(**values: str) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
