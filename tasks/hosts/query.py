"""What is wanted to be known of a host, and the script that asks for all of it at once. Pure."""

from __future__ import annotations

import importlib.resources
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tasks.cluster.spec import Host
from tasks.hosts.services import SYSTEMD_UNIT, supervisor_program

_COREUTILS = (
    *(
        "base64",
        "cat",
        "chmod",
        "chown",
        "date",
        "dd",
        "df",
        "dirname",
        "env",
        "gzip",
        "head",
        "id",
        "install",
        "ln",
        "mkdir",
    ),
    *("mktemp", "mv", "nproc", "readlink", "rm", "rmdir", "sha256sum", "sleep", "sort", "stat", "sync", "tail", "tar"),
    *("timeout", "touch", "tr", "uname", "wc"),
)
#: What the product calls on a host, by what keeps the service running there.
TOOLS: Mapping[str, tuple[str, ...]] = {"supervisor": _COREUTILS, "systemd": (*_COREUTILS, "systemctl", "useradd")}


@dataclass(frozen=True)
class FactQuery:
    """What is wanted to be known of a host.

    Args:
        host: Its name.
        stat: Paths to look at: kind, owner, mode, checksum.
        contents: Paths whose content is wanted too (up to 1 MiB).
        data_dir: etcd's.
        etcd: Path of the etcd binary.
        user: The system user etcd runs as.
        service: Who keeps etcd running.
        supervisor: ``supervisorctl``'s words and configuration file, for ``service: supervisor``.
        data_pointer: File that names the directory inside ``data_dir`` where a restore has put the data.
    """

    host: str
    stat: frozenset[str]
    contents: frozenset[str]
    data_dir: str
    etcd: str
    user: str
    service: Literal["systemd", "supervisor"]
    supervisor: tuple[str, str] = ("supervisorctl", "")
    data_pointer: str = ""

    def __post_init__(self) -> None:
        for path in self.contents:
            if path.endswith(".key"):
                raise ValueError(f"the content of a private key is never fetched: {path}")
        for path in (*self.stat, *self.contents, self.data_dir, self.etcd):
            if not path.startswith("/") or "\0" in path:
                raise ValueError(f"not an absolute path: {path!r}")

    @classmethod
    def for_host(cls, host: Host, *, user: str, stat: Iterable[str], contents: Iterable[str]) -> FactQuery:
        """The query for a host of a cluster."""
        return cls(
            host.name,
            frozenset(stat),
            frozenset(contents),
            host.paths.data_dir,
            f"{host.paths.install_dir}/etcd",
            user,
            host.service,
            (supervisor_program(host, "supervisorctl"), f"{host.paths.prefix}/etc/supervisord.conf"),
            host.paths.data_pointer,
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths, in the order in which the script numbers them."""
        return tuple(sorted(self.stat | self.contents))


def script_for(query: FactQuery) -> str:
    """The whole script for one query."""
    script = importlib.resources.files("tasks.hosts").joinpath("observe.sh").read_text()
    calls = ["look_host", f"look_tools {' '.join(TOOLS[query.service])}"]
    for number, path in enumerate(query.paths):
        calls.append(f"look_file {number} {'content' if path in query.contents else 'stat'} {shlex.quote(path)}")
    calls.append(f"look_data_dir {shlex.join([query.data_dir, query.data_pointer])}")
    calls.append(f"look_etcd {shlex.quote(query.etcd)}")
    calls.append(f"look_user {shlex.quote(query.user)}")
    if query.service == "systemd":
        calls.append(f"look_systemd {SYSTEMD_UNIT}")
    else:
        calls.append(f"look_supervisor {shlex.join(query.supervisor)} etcd")
    return "\n".join([script, *calls, "clock end", ""])
