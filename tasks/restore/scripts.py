"""The scripts by which steps of a restore change a host. Pure: text in, text out.

Each may be cut off anywhere, by a kill or a power cut, and run again.
"""

from __future__ import annotations

import shlex

from tasks.cluster.spec import Host
from tasks.etcd.restored import (
    drop_in_path,
    ended_path,
    former_paths,
    hold_path,
    last_path,
    replace_dir,
    restore_dir,
    unpacked_path,
)
from tasks.hosts.services import SYSTEMD_UNIT, manager
from tasks.restore.record import Record
from tasks.restore.script_words import assignments


def drop_in(host: Host) -> bytes:
    """The unit's drop-in that minds the hold."""
    path = hold_path(host).replace("%", "%%")
    return (
        "# Written by etcd-flows for a restore: as long as the file below is there, etcd is not started.\n"
        f"[Unit]\nConditionPathExists=!{path}\n"
    ).encode()


# --- the new data dir -------------------------------------------------------------------------------------------------

_BASE = """
[ -d "$base" ] || { (umask 022; mkdir -p -- "${base%/*}"); mkdir -m 0700 -- "$base"; }
if [ -n "$user" ]; then chown -- "$user:$user" "$base"; chmod 0700 -- "$base"; fi
"""


def make_base(host: Host, user: str) -> str:
    """Make the cluster file's data dir, in which the new one is made, and give it to etcd."""
    return assignments(base=host.paths.data_dir, user=user) + _BASE


# The new data dir gets its name when it is complete and on the disk; what has the name is complete.
_UNPACK = """
if [ ! -d "$new/member" ]; then
  part=$base/.${new##*/}.part
  rm -rf -- "$part"
  trap 'c=$?; rm -rf -- "$part"; exit "$c"' EXIT
  trap 'exit 143' HUP INT TERM PIPE
  "$etcdutl" snapshot restore "$file" --data-dir "$part" "$@" >/dev/null
  [ -z "$user" ] || chown -R -- "$user:$user" "$part"
  chmod 0700 "$part"
  sync -f -- "$part/member"
  mv -T -- "$part" "$new"
  sync -- "$base"
  trap - EXIT
fi
mkdir -p -- "${marker%/*}"
printf '%s\\n' "$id" >"$marker.new"
sync -- "$marker.new"
mv -fT -- "$marker.new" "$marker"
sync -- "${marker%/*}"
rm -f -- "$file"
"""


def unpack(host: Host, record: Record, user: str) -> str:
    """Make the new data dir with etcdutl, beside the present data; the bytes on the host are removed then."""
    words = [
        f"--name={host.name}",
        f"--initial-cluster={record.initial_cluster}",
        f"--initial-cluster-token={record.token}",
        f"--initial-advertise-peer-urls={dict(record.members)[host.name]}",
        *([f"--bump-revision={record.bump}", "--mark-compacted"] if record.bump else []),
        *([] if record.trailer else ["--skip-hash-check"]),
    ]
    values = assignments(
        base=host.paths.data_dir,
        new=record.data_dir(host),
        file=record.file(host),
        etcdutl=f"{host.paths.install_dir}/etcdutl",
        marker=unpacked_path(host),
        user=user,
        id=record.id,
    )
    return f"{values}set -- {shlex.join(words)}\n{_UNPACK}"


# --- stop and hold ----------------------------------------------------------------------------------------------------

# What runs beside the unit would go on with the old data.
_NONE_LEFT = """
for process in /proc/[0-9]*/exe; do
  case $(readlink "$process" 2>/dev/null || :) in
    "$etcd" | "$etcd (deleted)")
      echo "etcd runs outside of its unit (${process%/exe}): stop whatever runs it, then run again" >&2
      exit 1 ;;
  esac
done
"""


# A supervisor that is told to end takes a while, and one that is ending starts nothing any more.
_SUPERVISOR_GONE = """
tries=0
while up; do
  tries=$(( tries + 1 ))
  if [ "$tries" -gt 100 ]; then echo "the supervisor does not end" >&2; exit 1; fi
  sleep 0.1
done
"""


def stop_held(host: Host) -> str:
    """Stop the member whose hold has been written; fails unless nothing runs afterwards."""
    services = manager(host)
    if host.service != "systemd":
        return services.stop() + services.disable() + _SUPERVISOR_GONE
    stop = f"""systemctl daemon-reload
if [ "$(systemctl show -p LoadState --value {SYSTEMD_UNIT})" = loaded ]; then
{services.stop()}fi
"""
    return stop + assignments(etcd=f"{host.paths.install_dir}/etcd") + _NONE_LEFT


# --- switch -----------------------------------------------------------------------------------------------------------

_HELD = """
[ -e "$hold" ] || { echo "the hold is gone: somebody else is at work here" >&2; exit 1; }
set -- $(status)
[ "$2" = 0 ] || { echo "etcd runs (process $2), although it is held" >&2; exit 1; }
"""

_MADE = """
[ -d "$new/member" ] || { echo "$new holds no data: it was removed after it was made" >&2; exit 1; }
"""

_EMPTY = """
[ ! -e "$new/member" ] || { echo "$new holds data already, and who joins must begin with none" >&2; exit 1; }
"""

# The former env file is copied last: if its copy is there, the others have been made.
_KEEP = """
if [ ! -e "$former_env" ]; then
  rm -f -- "$former_identity" "$former_pointer"
  [ ! -e "$identity" ] || cp -p -- "$identity" "$former_identity"
  [ ! -e "$pointer" ] || cp -p -- "$pointer" "$former_pointer"
  if [ -e "$env" ]; then cp -p -- "$env" "$former_env.new"; else : >"$former_env.new"; fi
  sync -- "$former_env.new"
  mv -fT -- "$former_env.new" "$former_env"
  sync -- "${former_env%/*}"
fi
"""


def _settings(host: Host) -> str:
    env, identity, pointer = former_paths(host)
    return (
        assignments(
            hold=hold_path(host),
            env=host.paths.env_file,
            identity=f"{host.paths.record_dir}/identity.json",
            pointer=host.paths.data_pointer,
            former_env=env,
            former_identity=identity,
            former_pointer=pointer,
        )
        + f"status() {{\n{manager(host).status()}}}\n"
    )


def before_switch(host: Host, record: Record) -> str:
    """See that the member is held and the new data is there, or is not yet; keep the former settings, once."""
    made = _MADE if record.restores(host.name) else _EMPTY
    return _settings(host) + assignments(new=record.data_dir(host)) + _HELD + made + _KEEP


_BACK = """
[ -s "$former_env" ] || { echo "there were no settings before this restore: there is no way back" >&2; exit 1; }
old=$base
if [ -e "$former_pointer" ]; then old=$(cat -- "$former_pointer"); fi
[ -d "$old/member" ] || { echo "the data from before is not in $old any more" >&2; exit 1; }
put() { cp -p -- "$1" "$2.back"; sync -- "$2.back"; mv -fT -- "$2.back" "$2"; sync -- "${2%/*}"; }
if [ -e "$former_identity" ]; then put "$former_identity" "$identity"; fi
if [ -e "$former_pointer" ]; then put "$former_pointer" "$pointer"; else rm -f -- "$pointer"; fi
put "$former_env" "$env"
"""


def switch_back(host: Host) -> str:
    """Put the former settings of a held member back; one that never left them is only looked at."""
    untouched = '[ -e "$former_env" ] || exit 0\n'
    return _settings(host) + assignments(base=host.paths.data_dir) + _HELD + untouched + _BACK


# --- the end ----------------------------------------------------------------------------------------------------------

_END = """
if [ -e "$hold" ]; then echo "the member is still held" >&2; exit 1; fi
rm -f -- "$file"
rm -rf -- "$replace"
if [ -n "$dropin" ] && [ -e "$dropin" ]; then
  rm -f -- "$dropin"
  rmdir -- "${dropin%/*}" 2>/dev/null || :
  systemctl daemon-reload
fi
[ -d "$active" ] || exit 0
"""

_NOTE = """
date +%s >"$at.new"
cp -- "$active/record.json" "$last.new"
sync -- "$at.new" "$last.new"
mv -fT -- "$at.new" "$at"
mv -fT -- "$last.new" "$last"
"""

_KEPT = """
mkdir -p -- "${kept%/*}"
[ ! -e "$kept" ] || rm -rf -- "$kept"
mv -T -- "$active" "$kept"
sync -- "${kept%/*}" "${active%/*}"
"""


def finish(host: Host, record: Record, *, back: bool = False) -> str:
    """Put everything about the restore away; the member is as any other then.

    Args:
        back: It was taken back.
    """
    values = assignments(
        hold=hold_path(host),
        file=record.file(host),
        replace=replace_dir(host),  # of a replacement that was cut off: the members are others now
        dropin=drop_in_path(host) if host.service == "systemd" else "",
        active=restore_dir(host),
        kept=record.kept_in(host) + ("-taken-back" if back else ""),
        last=last_path(host),
    )
    return values + _END + ("" if back else assignments(at=ended_path(host)) + _NOTE) + _KEPT


def reopen(host: Host, record: Record) -> str:
    """Have everything about an ended restore at hand again, so that it can be taken back."""
    words = assignments(active=restore_dir(host), kept=record.kept_in(host))
    return words + 'if [ ! -d "$active" ] && [ -d "$kept" ]; then mv -T -- "$kept" "$active"; fi\n'
