"""The gate: a member counts as healthy when a client can work with it, not when a process exists.

A gate is a linearizable read plus an own write read back through the member's *own* endpoint (rule: ``systemctl
is-active`` is not a gate). One remote script polls and proves, so a gate costs one round trip however long it takes.
"""

from __future__ import annotations

import json
import secrets
import shlex

from tasks.cluster.spec import Host
from tasks.errors import CommandFailed, GateFailed
from tasks.etcd.members import MemberStatus, etcdctl, last_line, parse_status
from tasks.hosts.services import where_it_logs
from tasks.hosts.shell import Output, Shell

GATE_KEY = "etcd-flows/gate/"
"""Prefix of the keys that gates write and delete again."""

_MARK = "==log=="


def gate_script(host: Host, nonce: str, seconds: float) -> str:
    """The script: wait for readiness, write, read back (linearizable), delete, print the status.

    With systemd the wait is cheap: the unit is Type=notify and etcd notifies when it has joined and can serve. The
    proof is what follows. Exit codes: 0 healthy, 71 the unit failed, 72 time is up. A newline on stderr at each turn
    ends it (SIGPIPE) if nobody listens any more: a run that was killed leaves no poll behind, for which the next one
    would have to wait.

    Args:
        nonce: Value to write, unique for this run.
        seconds: How long to wait for all of it.
    """
    key = shlex.quote(GATE_KEY + host.name)
    ctl = etcdctl(host, timeout=3)
    wait = _WAIT_SYSTEMD if host.service == "systemd" else ""
    return f"""
now() {{ cut -d. -f1 /proc/uptime; }}
end=$(( $(now) + {int(seconds)} ))
log() {{ {log_command(host)}; }}
bad() {{ echo {_MARK} >&2; log >&2; exit "$1"; }}
{wait}
while :; do
  echo >&2
  if [ "$({ctl} put {key} {nonce} 2>&1)" = OK ] && got=$({ctl} get {key} --print-value-only 2>&1) \
     && [ "$got" = {nonce} ] && {ctl} del {key} >/dev/null && {ctl} endpoint status -w json; then exit 0; fi
  [ "$(now)" -lt "$end" ] || {{ {ctl} endpoint health >&2 || :; bad 72; }}
  sleep 0.2
done
"""


# A unit that fails is restarted by systemd (Restart=on-failure), so "failed" is seldom seen for long: three restarts
# without ever becoming ready are the proof that waiting is in vain. The order of the two answers is systemd's choice.
_WAIT_SYSTEMD = """
while :; do
  echo >&2
  state= restarts=0
  for word in $(systemctl show etcd.service -p ActiveState -p NRestarts --value); do
    case $word in [0-9]*) restarts=$word;; *) state=$word;; esac
  done
  [ "$state" != active ] || break
  if [ "$state" = failed ] || [ "$restarts" -ge 3 ]; then bad 71; fi
  [ "$(now)" -lt "$end" ] || bad 72
  sleep 0.05
done
"""


def log_command(host: Host) -> str:
    """A shell command that prints the end of the member's log."""
    if host.service == "systemd":
        return "journalctl -u etcd.service -n 40 --no-pager -o cat 2>/dev/null || :"
    return f"tail -n 40 {shlex.quote(host.paths.prefix + '/var/log/etcd.log')} 2>/dev/null || :"


def pass_gate(shell: Shell, *, seconds: float) -> MemberStatus:
    """Wait until the member serves reads and writes; return its status then.

    Args:
        seconds: How long to wait.

    Raises:
        GateFailed: The member did not get healthy in time; the message holds the line of its log that says why.
    """
    host = shell.host
    nonce = secrets.token_hex(8)
    out = shell.run(gate_script(host, nonce, seconds), timeout=seconds + 20, check=False)
    if out.code == 0:
        return parse_status(host.name, out.stdout.decode())
    if out.code not in (71, 72):
        raise CommandFailed(
            f"the health check could not be run: {last_line(out.stderr)}",
            host=host.name,
            remedy="run it again; if it stays, look at the host",
        )
    raise _gate_failed(host, out, seconds)


def _gate_failed(host: Host, out: Output, seconds: float) -> GateFailed:
    said, _, log = out.stderr.partition(_MARK)
    reason = reason_from_log(log) or last_line(said)
    if out.code == 71:
        message = f"etcd does not stay up: {reason}"
    else:
        message = f"no read and write through {host.client_url} within {seconds:.0f} s: {reason}"
    return GateFailed(
        message,
        host=host.name,
        state="all members were told to start; what was installed stays, data dirs are untouched",
        remedy=f"{where_it_logs(host)} show the rest; when the cause is gone, run the same command again",
    )


def reason_from_log(log: str) -> str | None:
    """The line of etcd's log that most likely says why: the last fatal, panic or error, else the last warning.

    Args:
        log: Lines of etcd's zap JSON (other lines are passed over).
    """
    best: tuple[int, str] | None = None
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        rank = {"fatal": 3, "panic": 3, "error": 2, "warn": 1}.get(entry.get("level", ""), 0)
        if rank and (best is None or rank >= best[0]):
            text = ": ".join(str(entry[key]) for key in ("msg", "error", "remote-peer-id") if entry.get(key))
            best = (rank, text)
    return best[1] if best else None
