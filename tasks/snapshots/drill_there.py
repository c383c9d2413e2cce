"""A drill on another machine, over SSH: in a private directory of its own, on sockets in it, without root.

The machine needs what every host needs. The key never gets there, only the opened snapshot, for as long as the drill
takes: a watchman on the machine ends etcd and removes the directory when the drill gives no sign of life any more,
whatever has become of the worker; what a reboot has left is removed by the next drill there.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.cluster.spec import DrillPlace, Release
from tasks.errors import CommandFailed, EtcdFlowsError, SnapshotError
from tasks.etcd.gate import reason_from_log
from tasks.etcd.install import InstallRelease, apply_install
from tasks.etcd.members import last_line
from tasks.etcd.release import LocalRelease, fetch
from tasks.etcd.rpc_types import HashKV
from tasks.hosts.patience import deadline
from tasks.hosts.shell import Output, Shell, open_shell
from tasks.hosts.transfer import push_file
from tasks.reporting.human import size
from tasks.snapshots.drill_stage import Made, Stage
from tasks.snapshots.manifest import Manifest
from tasks.snapshots.opened import FileStatus, file_status
from tasks.snapshots.scratch import scratch
from tasks.snapshots.temporary import CLIENT_SOCKET, ETCD, RESTORE, ROOM

_PROGRAMS = 256 << 20  # bytes for etcd's programs, packed and not
_SLOWEST = 1 << 20  # bytes a second below which a drill is given up
_PATIENCE = 900  # seconds without a sign of life, besides what the slowest line takes, until the watchman acts
_START = 120  # seconds for etcd to answer
_ARCHS = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}

# The watchman's own words: $1 is the directory, $2 its patience.
_WATCH = """
while sleep 5; do
  seen=$(stat -c %Y -- "$1/beat" 2>/dev/null) || break
  [ "$(( $(date +%s) - seen ))" -lt "$2" ] || break
done
[ "$(readlink "/proc/$(cat "$1/pid")/exe")" != "$1/bin/etcd" ] || kill -9 "$(cat "$1/pid")"
rm -rf -- "$1"
"""

# Directories without a watchman are from before a reboot, or he is about to remove them himself.
_MAKE = """
mkdir -p -- "$parent"
for old in "$parent"/etcd-flows-drill-*; do
  [ -d "$old" ] && [ -O "$old" ] || continue
  if ! tr '\\0' ' ' 2>/dev/null <"/proc/$(cat "$old/watch" 2>/dev/null)/cmdline" | grep -q "drill-watch $old "; then
    rm -rf -- "$old"
  fi
done
free=$(df --output=avail -B1 -- "$parent" | tail -n 1)
echo "$free"
[ "$free" -ge "$needed" ] || exit 0
place=$(mktemp -d -- "$parent/etcd-flows-drill-XXXXXXXXXX")
: >"$place/beat"
nohup sh -c "$watch" drill-watch "$place" "$patience" </dev/null >/dev/null 2>&1 &
echo "$!" >"$place/watch"
echo "$place"
uname -m
"""

_START_SCRIPT = """
nohup "$place/bin/etcd" "$@" </dev/null >"$place/log" 2>&1 &
echo "$!" >"$place/pid"
end=$(( $(date +%s) + patience ))
until $ctl --command-timeout=2s endpoint status -w json 2>/dev/null | grep -q '"leader":[1-9]'; do
  kill -0 "$(cat "$place/pid")" 2>/dev/null || { echo ended; tail -n 50 "$place/log"; exit 0; }
  [ "$(date +%s)" -lt "$end" ] || { echo late; tail -n 50 "$place/log"; exit 0; }
  sleep 0.1
done
echo up
"""

# Of etcdctl's `fields`, in which a key and its value have a line each; the values stay on the machine.
_KEYS = """sed -n -e 's/^"Key" :.*/key/p' -e 's/^failed$/failed/p'"""

_KILL = """
if [ -s "$place/pid" ] && [ "$(readlink "/proc/$(cat "$place/pid")/exe")" = "$place/bin/etcd" ]; then
  kill -9 "$(cat "$place/pid")"
fi
"""


@contextmanager
def there(where: DrillPlace, db_bytes: int) -> Iterator[Stage]:
    """On that machine.

    Args:
        db_bytes: Size of the database.

    Raises:
        SnapshotError: There is no room, there or here.
        HostError: It can't be worked on.
    """
    patience = _PATIENCE + db_bytes // _SLOWEST
    needed = 2 * db_bytes + ROOM + _PROGRAMS
    words = _words(parent=where.directory, needed=str(needed), patience=str(patience), watch=_WATCH)
    with scratch(needed=db_bytes) as here, open_shell(where.host) as shell:
        free, *made = shell.run(words + _MAKE, what="making a directory for the drill").text.splitlines()
        if not made:
            raise SnapshotError(
                f"{where.directory} has {size(int(free))} free, needed are {size(needed)} (the snapshot, what is made "
                "of it, and etcd's programs)",
                host=where.host.name,
                state="nothing was written there",
                remedy="make room there, or name another directory: drill.directory in the cluster file",
            )
        place, machine = made
        try:
            yield _There(where.host.name, shell, place, machine, here / "snapshot.db")
        finally:
            with contextlib.suppress(EtcdFlowsError):  # the watchman does it then
                remove = f'{_KILL}rm -rf -- "$place"\n'
                shell.run(_words(place=place) + remove, timeout=deadline(db_bytes), what="removing the drill's data")


def _words(**values: str) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


class _There:
    """See :class:`tasks.snapshots.drill_stage.Stage`."""

    def __init__(self, machine: str, shell: Shell, place: str, arch: str, file: Path) -> None:
        self.machine = machine
        self.file = file
        self._shell = shell
        self._place = place
        self._arch = _ARCHS.get(arch, arch)
        self._bytes = 0

    def programs(self, release: Release) -> str:
        local: LocalRelease = fetch(release, self._arch)
        host = self._shell.host
        into = replace(host, paths=replace(host.paths, install_dir=f"{self._place}/bin", record_dir=self._place))
        apply_install(self._shell, InstallRelease(local.version, local.arch), into, local)
        return local.version

    def bring(self, db: Path, manifest: Manifest) -> None:
        self._bytes = manifest.db_bytes
        self._run(":", "telling the watchman")
        push_file(self._shell, db, f"{self._place}/snapshot.db", sha256=manifest.db_sha256, pack=True)
        db.unlink()

    def check(self) -> FileStatus:
        script = '"$place/bin/etcdutl" snapshot status "$place/snapshot.db" -w json\n'
        out = self._run(script, "checking all pages", check=False)
        return file_status("the snapshot", out.code, out.text, out.stderr)

    def restore(self, manifest: Manifest) -> None:
        own = ["--skip-hash-check"] if manifest.via == "raw" else []
        words = shlex.join([*RESTORE, *own])
        script = f'"$place/bin/etcdutl" snapshot restore "$place/snapshot.db" --data-dir "$place/data" {words}\n'
        out = self._run(f'{script}rm -f -- "$place/snapshot.db"\n', "restoring", check=False)
        if not out.ok:
            raise SnapshotError(
                f"etcdutl can't restore it: {last_line(out.stderr or out.text)}",
                host=self.machine,
                state="nothing but a scratch directory was written",
                remedy="use another snapshot; this one is damaged, unless the disk there is full",
            )

    @contextmanager
    def running(self) -> Iterator[Made]:
        script = f'set -- {shlex.join(ETCD)} --data-dir="$place/data"\n{_START_SCRIPT}'
        how, *log = self._run(script, "starting etcd", seconds=_START + 60).text.split("\n", 1)
        if how != "up":
            text = log[0] if log else ""
            why = reason_from_log(text) or last_line(text)
            what = "ended" if how == "ended" else f"did not answer within {_START} s"
            raise SnapshotError(
                f"etcd, started from the snapshot, {what}: {why}",
                host=self.machine,
                state="it ran in a scratch directory and is stopped",
                remedy="use another snapshot, unless memory or disk are short there",
            )
        try:
            yield _Member(self)
        finally:
            with contextlib.suppress(EtcdFlowsError):
                self._run(_KILL, "stopping etcd")

    def ask(self, *words: str, then: str = "") -> str:
        """Have etcdctl ask the member.

        Args:
            then: What the answer passes through; says ``failed`` on a line of its own where that went wrong.

        Raises:
            CommandFailed: The member says no.
        """
        command = f"$ctl --command-timeout=600s {shlex.join(words)}"
        script = f"{{ {command} || echo failed; }} | {then}" if then else command
        return self._run(f"{script}\n", f"etcdctl {words[0]}").text

    def _run(self, script: str, what: str, *, check: bool = True, seconds: float = 0.0) -> Output:
        """Run a script in the drill's directory, where the sockets are; that is a sign of life."""
        # An endpoint without a path: etcd 3.5.1 takes nothing else for a socket, and it is found in this directory.
        ctl = f'env -i PATH="$PATH" "$place/bin/etcdctl" --endpoints=unix://{CLIENT_SOCKET}'
        head = f'{_words(place=self._place, patience=str(_START))}: >"$place/beat"\ncd -- "$place"\n'
        timeout = max(seconds, deadline(self._bytes))
        return self._shell.run(head + script.replace("$ctl ", f"{ctl} "), timeout=timeout, check=check, what=what)


@dataclass(frozen=True)
class _Value:
    value: bytes


class _Member:
    """The member there, asked with etcdctl; see :class:`tasks.snapshots.drill_stage.Made`."""

    def __init__(self, stage: _There) -> None:
        self._stage = stage

    def hash_kv(self, revision: int = 0) -> HashKV:
        text = self._stage.ask("endpoint", "hashkv", f"--rev={revision}", "-w", "json")
        try:
            said = json.loads(text)[0]["HashKV"]
            told = said.get("hash_revision") or revision or said["header"]["revision"]
            return HashKV(int(told), int(said.get("compact_revision", 0)), int(said["hash"]))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise CommandFailed(
                f"etcdctl tells no hash: {text[:100]!r}",
                host=self._stage.machine,
                remedy="hold the drill again; if that does not help, look at the machine",
            ) from error

    def count(self, revision: int = 0) -> int:
        said = self._stage.ask("get", "", "--prefix", "--count-only", f"--rev={revision}", "-w", "fields")
        found = re.search(r'^"Count" : (\d+)$', said, re.MULTILINE)
        if found is None:
            raise CommandFailed(
                f"etcdctl get tells no count: {said[:100]!r}",
                host=self._stage.machine,
                remedy="hold the drill again; if that does not help, look at the machine",
            )
        return int(found[1])

    def prefix(self, prefix: bytes, *, limit: int = 0) -> range:
        """As many as there are; the values stay there."""
        words = ("get", prefix.decode(), "--prefix", f"--limit={limit}", "-w", "fields")
        lines = self._stage.ask(*words, then=_KEYS).split()
        if "failed" in lines:
            raise CommandFailed(
                "etcdctl could not read the first keys with their values",
                host=self._stage.machine,
                remedy="hold the drill again; if that does not help, look at the machine",
            )
        return range(len(lines))

    def put(self, key: bytes, value: bytes) -> None:
        self._stage.ask("put", key.decode(), value.decode())

    def get(self, key: bytes) -> _Value | None:
        kvs = self._stage.ask("get", key.decode(), "--print-value-only")
        return _Value(kvs.encode()) if kvs else None
