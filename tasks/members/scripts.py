"""The scripts by which steps of a replacement change a host. Pure: text in, text out; each may be cut off anywhere."""

from __future__ import annotations

import shlex

from tasks.cluster.spec import Host
from tasks.etcd.envfile import render
from tasks.etcd.members import etcdctl
from tasks.etcd.restored import drop_in_path, hold_path, kept_restores, replace_dir
from tasks.hosts.services import SYSTEMD_UNIT, manager
from tasks.members.actions import StartJoined, SwitchToJoin
from tasks.members.record import Replacement
from tasks.restore.scripts import make_base


def _words(**values: str) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


_SWITCH = """
[ -e "$hold" ] || { echo "the hold is gone: somebody else is at work here" >&2; exit 1; }
set -- $(status)
[ "$2" = 0 ] || { echo "etcd runs (process $2), although it is held" >&2; exit 1; }
[ ! -e "$new/member" ] || { echo "$new holds data already, and the new member must begin with none" >&2; exit 1; }
mkdir -p -- "$keep"
if [ -e "$env" ] && [ ! -e "$keep/former.env" ]; then
  cp -p -- "$env" "$keep/former.env.new"
  sync -- "$keep/former.env.new"
  mv -fT -- "$keep/former.env.new" "$keep/former.env"
fi
if [ -n "$stale" ] && [ -d "$stale" ]; then
  mkdir -p -- "$aside"
  mv -T -- "$stale" "$aside/abandoned-$(date +%s)"
fi
"""


def before_switch(host: Host, action: SwitchToJoin) -> str:
    """See that the member is held and begins with nothing; keep the former settings, once."""
    return (
        make_base(host, action.config.user)
        + _words(
            hold=hold_path(host),
            env=host.paths.env_file,
            new=action.config.data_dir,
            keep=action.keep,
            stale=action.stale,
            aside=kept_restores(host),
        )
        + f"status() {{\n{manager(host).status()}}}\n"
        + _SWITCH
    )


_START = """
grep -qxF -- "$line" "$env" || { echo "$env does not say $line: the member is not started" >&2; exit 1; }
[ -d "$data" ] || { echo "$data is gone: the member is not started" >&2; exit 1; }
printf '%s\\n' "$said" >"$marker.new"
sync -- "$marker.new"
mv -fT -- "$marker.new" "$marker"
rm -f -- "$hold"
sync -- "${marker%/*}" "${hold%/*}"
"""


def start_joined(host: Host, action: StartJoined) -> str:
    """Note that it is started, lift the hold and start, if the settings point to the new data; does not wait."""
    services = manager(host)
    values = _words(
        env=host.paths.env_file,
        data=action.data_dir,
        line=render([("ETCD_DATA_DIR", action.data_dir)]).strip(),
        marker=action.marker,
        said=action.said,
        hold=hold_path(host),
    )
    return values + _START + services.reload() + services.start_no_block()


def look_at_joined(host: Host, data_dir: str) -> str:
    """Print ``ACTIVE PID RESTARTS KIB``, then the member's status as JSON, or nothing if it does not answer."""
    restarts = f"systemctl show -p NRestarts --value {SYSTEMD_UNIT}" if host.service == "systemd" else "echo 0"
    return f"""
status() {{
{manager(host).status()}}}
set -- $(status)
used=$(du -sk -- {shlex.quote(data_dir)} 2>/dev/null) || :
printf '%s %s %s %s\\n' "$1" "$2" "$({restarts})" "${{used%%[!0-9]*}}"
if said=$({etcdctl(host, timeout=3)} endpoint status -w json 2>/dev/null); then printf '%s\\n' "$said"; fi
"""


_END = """
if [ -e "$hold" ]; then echo "the member is still held" >&2; exit 1; fi
if [ -n "$dropin" ] && [ -e "$dropin" ]; then
  rm -f -- "$dropin"
  rmdir -- "${dropin%/*}" 2>/dev/null || :
  systemctl daemon-reload
fi
[ -d "$active" ] || exit 0
mkdir -p -- "${kept%/*}"
[ ! -e "$kept" ] || rm -rf -- "$kept"
mv -T -- "$active" "$kept"
sync -- "${kept%/*}" "${active%/*}"
"""


def end(host: Host, record: Replacement) -> str:
    """Put everything about the replacement away; the member is as any other then."""
    values = _words(
        hold=hold_path(host),
        dropin=drop_in_path(host) if host.service == "systemd" else "",
        active=replace_dir(host),
        kept=record.kept_in(host),
    )
    return values + _END
