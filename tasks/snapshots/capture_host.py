"""A snapshot taken on the member's host and read over SSH, for workers that can't reach etcd's client port.

``etcdctl snapshot save`` writes it into a private directory of the record directory, never into the data directory; it
is read in ranges that survive broken connections, then removed. What a killed run has left is removed by the next.
The member is held only while etcdctl saves, not while the worker reads.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator
from typing import Any

from tasks.cluster.spec import Cluster, Host
from tasks.errors import CommandFailed, EtcdFlowsError, SnapshotError
from tasks.etcd.members import etcdctl, last_line, parse_members, parse_status
from tasks.hosts.patience import deadline
from tasks.hosts.shell import Output, Shell, open_shell
from tasks.hosts.transfer import pull_file
from tasks.reporting.human import size
from tasks.snapshots.capture import Facts, broken_off, configured_members, facts_of
from tasks.snapshots.manifest import HashKV, ManifestMember

STALE = 1800  # seconds without any sign of life after which what another run has left is removed
RESERVE = 512 << 20  # bytes that have to stay free: etcd itself may be writing to the same disk

_NO_ROOM = 73
_NO_SAVE = 76


class HostCapture:
    """See :class:`tasks.snapshots.capture.Capture`."""

    def __init__(self, shell: Shell, path: str, expected_bytes: int, facts: Facts) -> None:
        self._shell = shell
        self._path = path
        self._facts = facts
        self.expected_bytes = expected_bytes

    def __iter__(self) -> Iterator[bytes]:
        """The bytes, once."""
        received = 0
        try:
            for piece in pull_file(self._shell, self._path):
                received += len(piece)
                yield piece
        except EtcdFlowsError as error:
            raise broken_off(self._shell.host.name, received, self.expected_bytes, error) from error

    def facts(self) -> Facts:
        """What is known."""
        return self._facts


@contextlib.contextmanager
def capture_host(cluster: Cluster, host: Host, snapshot_id: str, db_bytes: int) -> Iterator[HostCapture]:
    """Take a snapshot on a member's host; it is removed from there when the block ends.

    Args:
        host: The member.
        snapshot_id: Names the directory on the host.
        db_bytes: Size of the member's database, by its status.

    Raises:
        SnapshotError: There is no room for it on the host, or etcdctl fails.
        EtcdFlowsError: The host can't be reached, or the member does not answer.
    """
    place = f"{host.paths.record_dir}/capture-{snapshot_id}"
    with open_shell(host) as shell:
        try:
            output = shell.run(
                _script(host, place, db_bytes), timeout=deadline(db_bytes), what="saving a snapshot", check=False
            )
            if not output.ok:
                raise _failed(host, output, db_bytes)
            path = f"{place}/snapshot.db"
            total, facts = _read(cluster, host, output.text)
            yield HostCapture(shell, path, total, facts)
        finally:
            # If the host is away now, the next capture there clears it.
            with contextlib.suppress(EtcdFlowsError):
                shell.run(f"rm -rf -- {shlex.quote(place)}", what="removing the snapshot from the host")


# In the middle: the member's status once the first bytes have come bounds the revision from above, as the snapshot is
# taken before them. A save has no deadline of its own; the command's ends it.
_SAVE = r"""
now=$(date +%s)
for old in "$records"/capture-*; do
  [ -d "$old" ] || continue
  seen=$(stat -c %Y -- "$old" "$old"/* 2>/dev/null | sort -n | tail -n 1)
  [ "$((now - seen))" -lt "$stale" ] || rm -rf -- "$old"
done
mkdir -p -- "$place"
free=$(df --output=avail -B1 -- "$place" | tail -n 1)
if [ "$free" -lt "$needed" ]; then echo "$free" >&2; exit 73; fi
$ctl endpoint status -w json || exit 76
echo ----
$ctl --command-timeout=120s endpoint hashkv -w json || echo
echo ----
$ctl member list -w json || echo
echo ----
$ctl --command-timeout=24h snapshot save "$place/snapshot.db" >"$place/said" 2>&1 & saving=$!
while kill -0 "$saving" 2>/dev/null && [ ! -s "$place/snapshot.db.part" ]; do sleep 0.05; done
$ctl endpoint status -w json || echo
wait "$saving" || { cat "$place/said" >&2; exit 76; }
echo ----
stat -c %s -- "$place/snapshot.db"
"""


def _script(host: Host, place: str, db_bytes: int) -> str:
    ctl = etcdctl(host)
    needed = str(needed_bytes(db_bytes))
    words = {"records": host.paths.record_dir, "place": place, "needed": needed, "stale": str(STALE)}
    assignments = "".join(f"{key}={shlex.quote(value)}\n" for key, value in words.items())
    return f"{assignments}{_SAVE.replace('$ctl ', f'{ctl} ')}"


def needed_bytes(db_bytes: int) -> int:
    """What has to be free on the host: the database may grow meanwhile, and etcd needs room to go on."""
    return db_bytes + db_bytes // 10 + RESERVE


def _read(cluster: Cluster, host: Host, text: str) -> tuple[int, Facts]:
    before_text, hash_text, members_text, after_text, size_text = text.split("----\n")
    before, notes = parse_status(host.name, before_text), []
    hashkv = _hash(hash_text)
    if hashkv is None:
        notes.append("the member's own hash could not be had")
    try:
        members = tuple(
            ManifestMember(m.name, m.member_id, m.peer_urls, m.client_urls, m.learner)
            for m in parse_members(members_text)
        )
    except (ValueError, KeyError, TypeError):  # without quorum etcdctl gets no answer
        members = configured_members(cluster, before)
        notes.append("the members are those of the cluster file: there was no quorum to ask")
    after = parse_status(host.name, after_text)
    return int(size_text), facts_of("host", before, after, hashkv, members, notes)


def _hash(text: str) -> HashKV | None:
    try:
        found: dict[str, Any] = json.loads(text)[0]["HashKV"]
        revision = found.get("hash_revision") or found["header"]["revision"]
        return HashKV(int(revision), int(found.get("compact_revision", 0)), int(found["hash"]))
    except (ValueError, KeyError, IndexError, TypeError):
        return None


def _failed(host: Host, output: Output, db_bytes: int) -> EtcdFlowsError:
    if output.code == _NO_ROOM:
        return SnapshotError(
            f"there is no room for a snapshot: {host.paths.record_dir} has {size(int(output.stderr.split()[-1]))} free,"
            f" needed are {size(needed_bytes(db_bytes))}",
            host=host.name,
            state="no snapshot was taken",
            remedy=f"make room there, or let this machine reach {host.client_url}: then nothing is written on the host",
        )
    if output.code == _NO_SAVE:
        return SnapshotError(
            f"etcdctl could not save a snapshot: {last_line(output.stderr)}",
            host=host.name,
            state="what it had written is removed",
            remedy="the next member is tried; if none is left, check-cluster tells what is wrong",
        )
    return CommandFailed(
        f"taking a snapshot ended with exit code {output.code}: {last_line(output.stderr)}",
        host=host.name,
        remedy="see the message above",
    )
