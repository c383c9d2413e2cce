"""The scripts by which a restore starts members, sees that they stay up, and looks at what runs. Pure.

Each may be cut off anywhere, by a kill or a power cut, and run again.
"""

from __future__ import annotations

import ipaddress
import shlex

from tasks.cluster.spec import Host
from tasks.etcd.envfile import render
from tasks.etcd.gate import log_command
from tasks.etcd.restored import hold_path
from tasks.hosts.services import SYSTEMD_UNIT, manager
from tasks.restore.script_words import assignments

#: Separates what a script says from the member's log.
MARK = "==log=="
#: For so long the process has to stay the same, in hundredths of a second.
STEADY = 200

_LIFT = """
grep -qxF -- "$line" "$env" || { echo "$env does not say $line: the member is not started" >&2; exit 1; }
[ -d "$needed" ] || { echo "there is no $needed: the member is not started" >&2; exit 1; }
"""


def lift_and_start(host: Host, data_dir: str, *, joins: bool = False) -> str:
    """Lift the hold and start, if the settings point to the data that is wanted; does not wait.

    Args:
        data_dir: Empty for the former settings, whatever they say.
        joins: It gets its data by joining, so there need not be any yet.
    """
    services = manager(host)
    values = assignments(
        env=host.paths.env_file, needed=data_dir if joins else f"{data_dir}/member", hold=hold_path(host)
    )
    check = ""
    if data_dir:
        check = assignments(line=render([("ETCD_DATA_DIR", data_dir)]).strip()) + _LIFT
    return values + check + 'rm -f -- "$hold"\nsync -- "${hold%/*}"\n' + services.reload() + services.start_no_block()


def listens(host: Host) -> str:
    """A shell test: whether the member's metrics listener is open, which etcd opens last of all, after its peers'."""
    address = ipaddress.ip_address(host.loopback)
    packed = address.packed
    words = [packed[at : at + 4][::-1].hex().upper() for at in range(0, len(packed), 4)]
    table = "/proc/net/tcp" if address.version == 4 else "/proc/net/tcp6"
    return f'grep -qE "^ *[0-9]+: {"".join(words)}:{host.metrics_port:04X} [0-9A-F:]+ 0A " {table}'


def stay_up(host: Host, seconds: float) -> str:
    """Wait until one process has served its peers for a while. Exit codes as a gate's: 71 fails, 72 time is up."""
    # As in a gate: a unit that had to be restarted three times does not stay up.
    counted = f'[ "$(systemctl show -p NRestarts --value {SYSTEMD_UNIT})" -lt 3 ] || bad 71'
    restarts = counted if host.service == "systemd" else ":"
    return f"""
now() {{ read -r up _ </proc/uptime; echo "${{up%.*}}${{up#*.}}"; }}
status() {{
{manager(host).status()}}}
bad() {{ echo {MARK} >&2; {log_command(host)} >&2; exit "$1"; }}
end=$(( $(now) + {int(seconds * 100)} )) pid=0 since=$(now) others=0
while :; do
  echo >&2
  set -- $(status)
  if [ "$1" = failed ]; then bad 71; fi
  {restarts}
  if [ "$2" != "$pid" ]; then
    [ "$pid" = 0 ] || others=$(( others + 1 ))
    [ "$others" -lt 3 ] || bad 71
    pid=$2 since=$(now)
  fi
  if [ "$pid" != 0 ] && {listens(host)}; then
    [ $(( $(now) - since )) -lt {STEADY} ] || exit 0
  fi
  [ "$(now)" -lt "$end" ] || bad 72
  sleep 0.1
done
"""


def look_at(host: Host) -> str:
    """Print ``held|free PID DATA-DIR``: what would start, what runs, and on which data."""
    return f"""
status() {{
{manager(host).status()}}}
set -- $(status)
if [ -e {shlex.quote(hold_path(host))} ]; then state=held; else state=free; fi
data=
if [ "$2" != 0 ]; then
  data=$(tr '\\000' '\\n' <"/proc/$2/environ" 2>/dev/null | sed -n s/^ETCD_DATA_DIR=//p) || :
fi
env=$(sed -n s/^ETCD_DATA_DIR=//p {shlex.quote(host.paths.env_file)} 2>/dev/null) || :
printf '%s\\t%s\\t%s\\t%s\\n' "$state" "$2" "$data" "$env"
"""


def old_dirs(host: Host, current: str) -> str:
    """Print what data there is beside the present one, with its size in KiB."""
    base = shlex.quote(host.paths.data_dir)
    return f"""
for dir in {base}/member {base}/restored-* {base}/joined-*; do
  if [ -d "$dir" ] && [ "$dir" != {shlex.quote(current)} ]; then du -sk -- "$dir" 2>/dev/null || :; fi
done
"""
