"""Service managers: scripts that make one keep etcd running, start it, stop it.

``systemd`` is what hosts have. ``supervisor`` (one supervisord per prefix, without root) lets a demo run several
members on one machine. Whether a member is healthy is never asked here: an active service is no gate.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tasks.cluster.spec import Host

SYSTEMD_UNIT = "etcd.service"
STOP_SECONDS = 90  # etcd gets SIGTERM, flushes and ends in a few seconds; both managers kill it before this


class ServiceManager(Protocol):
    """Builds scripts for :meth:`tasks.hosts.shell.Shell.run`; all are safe to repeat."""

    def reload(self) -> str:
        """Make the manager read its configuration again."""
        ...

    def enable(self) -> str:
        """See to it that etcd starts at boot."""
        ...

    def start_no_block(self) -> str:
        """Reload, enable and start, without waiting: etcd is ready only once there is a quorum."""
        ...

    def restart(self) -> str:
        """Reload and restart; waits for the old process to go, not for the new one to be ready."""
        ...

    def stop(self) -> str:
        """Stop, and fail if the process is not gone afterwards; takes up to :data:`STOP_SECONDS`."""
        ...

    def disable(self) -> str:
        """See to it that etcd does not start at boot; to be used on a member that was stopped."""
        ...

    def status(self) -> str:
        """Print ``ACTIVE PID`` (systemd's words, 0 for no process)."""
        ...


def manager(host: Host) -> ServiceManager:
    """The service manager of a host."""
    if host.service == "systemd":
        return Systemd()
    return Supervisor(
        f"{host.paths.prefix}/etc/supervisord.conf",
        supervisor_program(host, "supervisorctl"),
        supervisor_program(host, "supervisord"),
    )


def where_it_logs(host: Host) -> str:
    """Where people find what etcd said on a host; begins a sentence's subject in the plural."""
    if host.service == "systemd":
        return "`systemctl status etcd` and `journalctl -u etcd` on the host"
    return f"{host.paths.prefix}/var/log/etcd.log and supervisord.log beside it"


def supervisor_program(host: Host, name: str) -> str:
    """Where supervisor's programs are: on this machine beside our Python, even if its venv is not in PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if host.connection == "local" and beside.exists() else name


@dataclass(frozen=True)
class Systemd:
    """etcd.service."""

    unit: str = SYSTEMD_UNIT

    def reload(self) -> str:
        """``daemon-reload``."""
        return "systemctl daemon-reload\n"

    def enable(self) -> str:
        """``enable``."""
        return f"systemctl -q enable {self.unit}\n"

    def start_no_block(self) -> str:
        """A unit that failed too often is started as well. To enable a unit reloads systemd (systemctl(1))."""
        return f"{self.enable()}{self._start}"

    @property
    def _start(self) -> str:
        # Resets the count of restarts too, by which a gate sees that a unit does not stay up.
        return f"systemctl reset-failed {self.unit} 2>/dev/null || true\nsystemctl --no-block start {self.unit}\n"

    def restart(self) -> str:
        """The start half of a restart would wait for readiness, so stop is waited for and start is not."""
        return self.reload() + self.stop() + self._start

    def stop(self) -> str:
        """Cancels a start that is still waiting, too."""
        return f"""systemctl stop {self.unit}
left=$(systemctl show -p MainPID {self.unit})
if [ "${{left#MainPID=}}" != 0 ]; then echo "etcd is still running: ${{left#MainPID=}}" >&2; exit 1; fi
"""

    def disable(self) -> str:
        """The unit file may be gone already."""
        return f"if systemctl -q cat {self.unit} >/dev/null 2>&1; then systemctl -q disable {self.unit}; fi\n"

    def status(self) -> str:
        """From ``systemctl show``."""
        return f"""active=$(systemctl show -p ActiveState {self.unit}); pid=$(systemctl show -p MainPID {self.unit})
echo "${{active#*=}} ${{pid#*=}}"
"""


@dataclass(frozen=True)
class Supervisor:
    """The program ``etcd`` of one supervisord.

    Args:
        conf: Its configuration file.
        ctl: ``supervisorctl``.
        daemon: ``supervisord``.
    """

    conf: str
    ctl: str = "supervisorctl"
    daemon: str = "supervisord"

    @property
    def _ctl(self) -> str:
        return f"{shlex.quote(self.ctl)} -c {shlex.quote(self.conf)}"

    @property
    def _functions(self) -> str:
        # supervisorctl's exit codes: 0 done, 3 not running (status, pid), 4 no supervisord, others failed
        return f"""ctl() {{ {self._ctl} "$@" </dev/null; }}
up() {{ ctl pid >/dev/null 2>&1; }}
"""

    def reload(self) -> str:
        """Start supervisord, or make it take over a changed configuration."""
        return f"""{self._functions}
if up; then ctl update >/dev/null; else
  mkdir -p -- {self._directories}
  {shlex.quote(self.daemon)} -c {shlex.quote(self.conf)} </dev/null >/dev/null 2>&1
fi
"""

    @property
    def _directories(self) -> str:
        prefix = Path(self.conf).parent.parent
        return shlex.join([str(prefix / "run"), str(prefix / "var/log")])

    def enable(self) -> str:
        """The program is configured with autostart; there is no boot to enable it for."""
        return ":\n"

    def start_no_block(self) -> str:
        """A program that runs already is left alone."""
        return f"""{self.reload()}
said=$(ctl start etcd 2>&1) || case $said in *"already started"*) ;; *) echo "$said" >&2; exit 1 ;; esac
"""

    def restart(self) -> str:
        """Stop, then start."""
        return self.reload() + self.stop() + self.start_no_block()

    def stop(self) -> str:
        """Waits for the process to end, as supervisorctl does."""
        return f"""{self._functions}
if up; then
  said=$(ctl stop etcd 2>&1) || case $said in *"not running"*) ;; *) echo "$said" >&2; exit 1 ;; esac
  left=$(ctl pid etcd) || true
  case $left in 0 | "") ;; *) echo "etcd is still running: $left" >&2; exit 1 ;; esac
fi
"""

    def disable(self) -> str:
        """End supervisord itself."""
        return f"{self._functions}\nif up; then ctl shutdown >/dev/null; fi\n"

    def status(self) -> str:
        """In systemd's words."""
        return f"""{self._functions}
line=$(ctl status etcd 2>&1) || true
pid=0; case $line in *" pid "*) pid=${{line##* pid }}; pid=${{pid%%,*}} ;; esac
case $line in *RUNNING*) echo "active $pid" ;; *STARTING* | *BACKOFF*) echo "activating $pid" ;;
  *FATAL*) echo "failed 0" ;; *) echo "inactive 0" ;; esac
"""
