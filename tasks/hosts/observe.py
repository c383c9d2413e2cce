"""Looking at a host: one script, one round trip, :class:`~tasks.hosts.facts.HostFacts`.

What could not be seen is unknown, never absent: a path whose directory is closed to us makes the whole observation fail
rather than look like an empty host.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Literal

from tasks.errors import AccessDenied, CommandFailed, HostError
from tasks.hosts.facts import DataDirFact, FileFact, HostFacts, ServiceFact
from tasks.hosts.query import FactQuery, script_for
from tasks.hosts.shell import Shell

_ARCH = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "arm",
    "i386": "386",
    "i686": "386",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
_TICKS = 100  # per second, in /proc/PID/stat: USER_HZ, fixed for user space on Linux (proc(5), time(7))
_ACTIVE = {
    "RUNNING": "active",
    "STARTING": "activating",
    "BACKOFF": "activating",
    "STOPPING": "deactivating",
    "FATAL": "failed",
}
_KINDS: Mapping[str, Literal["file", "dir", "link", "other"]] = {
    "file": "file",
    "dir": "dir",
    "link": "link",
    "other": "other",
}
_DATA_KINDS: Mapping[str | None, Literal["absent", "empty", "etcd", "foreign"]] = {
    "absent": "absent",
    "empty": "empty",
    "etcd": "etcd",
    "foreign": "foreign",
}


def observe(shell: Shell, query: FactQuery, *, timeout: float = 60.0) -> HostFacts:
    """Look at a host; nothing is changed there.

    Args:
        shell: Of that host.
        query: What is wanted.
        timeout: Seconds.

    Raises:
        HostUnreachable: No connection.
        AccessDenied: Login or sudo refused, or something can only be seen by root.
        CommandFailed: The script failed, or what came back is damaged.
    """
    output = shell.run(script_for(query), timeout=timeout, what="looking at the host")
    return parse(query, output.stdout, began=output.began, ended=output.ended)


class _Lines:
    """The script's output: fields by key."""

    def __init__(self, host: str, stdout: bytes) -> None:
        self.host = host
        self.rows: dict[str, list[list[str]]] = {}
        for line in stdout.decode("ascii", errors="replace").splitlines():
            key, *fields = line.split("\t")
            self.rows.setdefault(key, []).append(fields)

    def plain(self, key: str) -> str | None:
        rows = self.rows.get(key)
        return rows[0][0].strip() if rows and rows[0] else None

    def number(self, key: str) -> float | None:
        try:
            return float(self.plain(key) or "")
        except ValueError:
            return None

    def blob(self, key: str) -> str:
        return self.decode(self.plain(key) or "").decode(errors="replace")

    def decode(self, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except ValueError as error:
            raise damaged(self.host) from error


def damaged(host: str) -> HostError:
    """The error for output that is not what the script prints."""
    return CommandFailed(
        "what the host told about itself is damaged or incomplete",
        host=host,
        state="nothing was changed",
        remedy="run again; if it happens again, see whether coreutils on the host are complete",
    )


def parse(query: FactQuery, stdout: bytes, *, began: float = 0.0, ended: float = 0.0) -> HostFacts:
    """Read what the script printed.

    Args:
        query: The query that it was made for.
        stdout: Its output.
        began: Unix time on the worker when the script was sent.
        ended: Unix time on the worker when all of the answer was there.

    Raises:
        AccessDenied: Something asked for can only be seen by root.
        CommandFailed: The output is damaged.
    """
    lines = _Lines(query.host, stdout)
    if "begin" not in lines.rows or "end" not in lines.rows:
        raise damaged(query.host)
    offset, error = _clock(lines, began, ended)
    os_id, _, os_version = lines.blob("os").partition("\n")
    version = re.match(r"etcd Version: (\S+)", lines.blob("etcd"))
    systemd = re.match(r"systemd (\d+)", lines.blob("systemd"))
    machine = lines.blob("machine")
    return HostFacts(
        host=query.host,
        hostname=lines.blob("hostname"),
        arch=_ARCH.get(machine, machine),
        machine=machine,
        os_id=os_id,
        os_version=os_version,
        kernel=lines.blob("kernel"),
        systemd=int(systemd[1]) if systemd else None,
        login_user=lines.blob("login"),
        cpus=int(lines.number("cpus") or 0),
        memory_bytes=int(lines.number("memory_kib") or 0) * 1024,
        clock_offset=offset,
        clock_error=error,
        missing_tools=tuple(row[0] for row in lines.rows.get("missing", ())),
        etcd_version=version[1] if version else None,
        etcd_user=lines.plain("user") == "yes",
        service=_service(query, lines),
        data_dir=_data_dir(query, lines),
        files=_files(query, lines),
    )


def _clock(lines: _Lines, began: float, ended: float) -> tuple[float | None, float]:
    """The host's clock against ours, by its two readings and our two around them (as in NTP, RFC 5905, 8)."""
    first, last = lines.number("begin"), lines.number("end")
    if first is None or last is None or ended <= began:
        return None, 0.0
    return ((first - began) + (last - ended)) / 2, max(0.0, ((ended - began) - (last - first)) / 2)


def _denied(query: FactQuery, path: str) -> AccessDenied:
    return AccessDenied(
        f"{path} cannot be looked at without root; whether it exists is unknown",
        host=query.host,
        state="nothing was changed",
        remedy="let this login become root (ssh.sudo: auto), or log in as root",
    )


def _files(query: FactQuery, lines: _Lines) -> dict[str, FileFact]:
    paths = query.paths
    try:
        for (number,) in lines.rows.get("denied", ()):
            raise _denied(query, paths[int(number)])
        sums = {int(number): value for number, value in lines.rows.get("sha256", ())}
        contents = {int(number): lines.decode(value) for number, value in lines.rows.get("content", ())}
        found: dict[str, FileFact] = {}
        for number, kind, *rest in lines.rows.get("file", ()):
            path = paths[int(number)]
            if kind == "absent":
                found[path] = FileFact(path, "absent")
                continue
            mode, owner, group, size = rest[0].split(" ")
            found[path] = FileFact(
                path,
                _KINDS[kind],
                int(mode, 8),
                owner,
                group,
                int(size),
                sums.get(int(number)),
                contents.get(int(number)),
            )
    except (ValueError, LookupError) as error:
        raise damaged(query.host) from error
    for path in paths:
        if path not in found:
            raise damaged(query.host)
    return found


def _data_dir(query: FactQuery, lines: _Lines) -> DataDirFact:
    kind = lines.plain("data_dir")
    if kind == "denied":
        raise _denied(query, lines.blob("data_path").strip() or query.data_dir)
    if kind not in _DATA_KINDS:
        raise damaged(query.host)
    path = lines.blob("data_path").strip()
    if path and not path.startswith(f"{query.data_dir}/"):
        raise CommandFailed(
            f"{query.data_pointer} says that the data is in {path!r}, which is not in {query.data_dir}",
            host=query.host,
            state="nothing was changed",
            remedy="see where the data is (ETCD_DATA_DIR in the env file), and correct the file or the cluster file",
        )
    mode, _, owner = (lines.plain("data_attributes") or "0 ").partition(" ")
    free = lines.number("data_free")
    return DataDirFact(
        kind=_DATA_KINDS[kind],
        entries=tuple(lines.decode(row[0]).decode(errors="replace") for row in lines.rows.get("data_entry", ())),
        owner=owner,
        mode=int(mode, 8),
        mount_point=lines.plain("data_mount") == "yes",
        free_bytes=int(free) if free is not None else None,
        path=path,
    )


def _service(query: FactQuery, lines: _Lines) -> ServiceFact:
    environ = None
    if lines.plain("service_environ") is not None:
        environ = dict(pair.partition("=")[::2] for pair in lines.blob("service_environ").splitlines())
    replaced = lines.plain("service_replaced")
    exe_replaced = None if replaced is None else replaced == "yes"
    begin, uptime = lines.number("begin"), lines.number("uptime")
    booted = begin - uptime if begin is not None and uptime is not None else None
    if query.service == "systemd":
        return _systemd(lines, booted, environ, exe_replaced)
    return _supervisor(lines, booted, environ, exe_replaced)


def _systemd(
    lines: _Lines, booted: float | None, environ: dict[str, str] | None, exe_replaced: bool | None
) -> ServiceFact:
    states = dict(line.partition("=")[::2] for line in lines.blob("service_systemd").splitlines())
    if states.get("LoadState", "not-found") == "not-found":
        return ServiceFact(known=False)
    since = int(states.get("ExecMainStartTimestampMonotonic") or 0)
    return ServiceFact(
        known=True,
        active=states.get("ActiveState", "inactive"),
        enabled=states.get("UnitFileState", "").startswith("enabled"),
        main_pid=int(states.get("MainPID") or 0),
        stale=states.get("NeedDaemonReload") == "yes",
        started_at=booted + since / 1e6 if since and booted is not None else None,
        environ=environ,
        exe_replaced=exe_replaced,
    )


def _supervisor(
    lines: _Lines, booted: float | None, environ: dict[str, str] | None, exe_replaced: bool | None
) -> ServiceFact:
    if lines.plain("service_supervisor") in (None, "none"):
        return ServiceFact(known=False)
    status = lines.blob("service_supervisor").split()
    state = status[1] if len(status) > 1 and status[0] == "etcd" else "STOPPED"
    pid = re.search(r" pid (\d+)", lines.blob("service_supervisor"))
    # fields after the command's name: state is 3, starttime is 22 (proc(5))
    fields = (lines.plain("service_stat") or "").split()
    started = booted + int(fields[22 - 3]) / _TICKS if pid and booted is not None and len(fields) > 19 else None
    return ServiceFact(
        known=True,
        active=_ACTIVE.get(state, "inactive"),
        enabled=True,  # autostart=true
        main_pid=int(pid[1]) if pid else 0,
        started_at=started,
        environ=environ,
        exe_replaced=exe_replaced,
    )
