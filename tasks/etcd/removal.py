"""What has to happen so that a host no longer runs its member. Pure, except for the two actions' scripts.

Only what this tool put there is removed: files that carry its line, programs by its receipt, certificates by their
names. Data dirs are kept unless told otherwise, and with them the identity, so that a later bootstrap-cluster knows
whose data it is.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from tasks.cluster.spec import Cluster, Host
from tasks.etcd.bootstrap import fingerprint
from tasks.etcd.config import ETC_HOSTS, config_files, remove_hosts
from tasks.etcd.identity import formed_path, identity_path
from tasks.etcd.install import receipt_path
from tasks.etcd.restored import fact_paths as restore_paths
from tasks.etcd.restored import kept_restores, replace_dir, restore_dir
from tasks.etcd.unit import HEAD
from tasks.etcd.versions import BINARIES
from tasks.hosts.facts import FileFact, HostFacts
from tasks.hosts.services import manager
from tasks.hosts.shell import FileWrite, Shell
from tasks.plan import Step


@dataclass(frozen=True)
class StopMember:
    """Stop the member, and let it not start at boot again."""

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("stop")


@dataclass(frozen=True)
class RemoveFiles:
    """Remove files, then directories that are empty afterwards; the content of the data dir only if told.

    Args:
        data_dir: To be emptied (it may be a mount point, so the directory itself may stay); None keeps the data.
        etc_hosts: New content of /etc/hosts, None leaves it alone.
    """

    files: tuple[str, ...]
    dirs: tuple[str, ...]
    data_dir: str | None
    etc_hosts: bytes | None

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return fingerprint("remove", self.files, self.dirs, self.data_dir, self.etc_hosts)


def plan_stop(host: Host, facts: HostFacts) -> Step | None:
    """Stop a member that runs or would start at boot."""
    if not facts.service.known or not (facts.service.running or facts.service.enabled):
        return None
    summary = "stop etcd, and do not start it at boot" if host.service == "systemd" else "stop etcd and its supervisor"
    return Step(host.name, "stop", summary, StopMember())


def plan_remove(
    cluster: Cluster, host: Host, facts: HostFacts, certificates: tuple[str, ...], *, delete_data: bool
) -> Step | None:
    """Remove what was installed.

    Args:
        certificates: Paths of the certificate files that may go.
        delete_data: Whether the member's data goes as well.
    """
    ours = [f.path for f in config_files(cluster, host, token="") if _ours(facts.file(f.path)) and f.path != ETC_HOSTS]
    receipt = receipt_path(host)
    if facts.file(receipt).present:
        ours += [f"{host.paths.install_dir}/{name}" for name in BINARIES]
    has_data = facts.data_dir.kind == "etcd"
    if delete_data or not has_data:
        # Kept data keeps its records: whose it is, and which version wrote it.
        ours += [identity_path(host), formed_path(host), receipt, *sorted(restore_paths(host))]
    ours += certificates
    files = tuple(path for path in ours if facts.file(path).present)
    emptied = facts.data_dir.kind in ("etcd", "empty") or facts.data_dir.path
    data_dir = host.paths.data_dir if delete_data and emptied else None
    hosts = _etc_hosts(cluster, facts)
    if not files and data_dir is None and hosts is None:
        return None
    dirs = (
        host.paths.pki_dir,
        host.paths.env_file.rpartition("/")[0],
        f"{host.paths.unit_file}.d",
        restore_dir(host),
        replace_dir(host),
        host.paths.record_dir,
    )
    kept = "" if delete_data or not has_data else f"; the data in {host.paths.data_dir} is kept"
    what = f"remove {len(files)} files" + (f" and ALL DATA in {data_dir}" if data_dir else "")
    changes = tuple(f"- {path}" for path in (*files, *([f"{data_dir}/*"] if data_dir else [])))
    return Step(host.name, "remove", what + kept, RemoveFiles(files, dirs, data_dir, hosts), changes=changes)


def _ours(fact: FileFact) -> bool:
    return fact.content is not None and HEAD.encode() in fact.content


def _etc_hosts(cluster: Cluster, facts: HostFacts) -> bytes | None:
    content = facts.files[ETC_HOSTS].content if ETC_HOSTS in facts.files else None
    if content is None:
        return None
    text = content.decode(errors="surrogateescape")
    cleaned = remove_hosts(text, cluster.name)
    return cleaned.encode(errors="surrogateescape") if cleaned != text else None


def stop_member(shell: Shell, host: Host, action: StopMember) -> None:
    """Stop the member and wait until its process is gone.

    Raises:
        CommandFailed: It does not stop.
    """
    services = manager(host)
    shell.run(services.stop() + services.disable(), timeout=120, what="stopping etcd")


def remove_files(shell: Shell, host: Host, action: RemoveFiles) -> None:
    """Remove what the action lists.

    Raises:
        CommandFailed: Something could not be removed (read-only file system, busy).
    """
    if action.etc_hosts is not None:
        shell.write_files([FileWrite(ETC_HOSTS, action.etc_hosts, 0o644)])
    lines = [f"rm -f -- {shlex.join(action.files)}"] if action.files else []
    if action.data_dir:
        data = shlex.quote(action.data_dir)
        # The member is stopped and its process gone (StopMember); a mount point itself can't be removed and may stay.
        lines.append(f"[ ! -d {data} ] || {{ find -H {data} -mindepth 1 -delete; rmdir {data} 2>/dev/null || :; }}")
        lines.append(f"rm -rf -- {shlex.quote(kept_restores(host))}")
    lines += [f"rmdir -- {shlex.quote(path)} 2>/dev/null || :" for path in action.dirs]
    if host.service == "systemd":
        lines.append("systemctl daemon-reload")
    shell.run("\n".join(lines) + "\n", timeout=300, what="removing files")
