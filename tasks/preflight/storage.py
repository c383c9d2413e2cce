"""Disks and paths: room, speed, whether files can be written where they have to be. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tasks.cluster.spec import Cluster, Host
from tasks.findings import Finding
from tasks.hosts.facts import HostFacts
from tasks.preflight.seen import HostProbe, PathProbe

#: etcd's tuning guide: the 99th percentile of WAL fsyncs should be below 10 ms.
FSYNC_GOOD_MS = 10.0
#: etcd can't even make its log with less: WAL segments of 64 MiB are allocated ahead, two at a time (server/wal), and
#: the database grows from there.
DATA_MIN = 512 << 20
#: Programs of a release, unpacked beside the old ones (etcd, etcdctl, etcdutl of 3.7: about 70 MiB).
INSTALL_MIN = 160 << 20

GIB, MIB = 1 << 30, 1 << 20


def check_storage(cluster: Cluster, host: Host, facts: HostFacts, probe: HostProbe) -> Iterator[Finding]:
    """Everything about the disks of one host."""
    yield _room(cluster, host, facts)
    yield from _install_room(cluster, host, facts, probe)
    yield _speed(cluster, host, facts, probe)
    yield _data_dir(host, facts)
    yield from _paths(cluster, host, probe)


def _room(cluster: Cluster, host: Host, facts: HostFacts) -> Finding:
    """Room for the database at its largest, and for the second copy that a defragmentation writes."""
    free, data = facts.data_dir.free_bytes, host.paths.data_dir
    if free is None:
        return Finding("warning", "disk-space", f"free space for {data} could not be seen", host.name)
    quota = cluster.etcd.quota_bytes
    text = f"{free / GIB:.1f} GiB free for {data}" if free >= GIB else f"{free / MIB:.0f} MiB free for {data}"
    more = f"use a larger disk for {data}, or lower etcd.quota"
    if free < DATA_MIN:
        return Finding("error", "disk-space", f"{text}; less than {DATA_MIN // MIB} MiB", host.name, more)
    if facts.data_dir.kind == "etcd":
        return Finding("ok", "disk-space", text, host.name)  # how much of the quota is used already is not known here
    if free < quota:
        text += f", less than etcd.quota ({quota / GIB:.1f} GiB): a full disk stops the member before the quota does"
        return Finding("warning", "disk-space", text, host.name, more)
    if free < 2 * quota:
        text += f", less than twice etcd.quota ({quota / GIB:.1f} GiB): a defragmentation writes a second copy"
        return Finding("warning", "disk-space", text, host.name, more)
    return Finding("ok", "disk-space", text, host.name)


def _install_room(cluster: Cluster, host: Host, facts: HostFacts, probe: HostProbe) -> Iterator[Finding]:
    path = host.paths.install_dir
    free = probe.paths[path].free_bytes
    if facts.etcd_version == cluster.release.version:
        return
    if free is None:
        yield Finding("warning", "disk-space", f"free space for {path} could not be seen", host.name)
    elif free < INSTALL_MIN:
        text = f"{free / MIB:.0f} MiB free for {path}; the release needs {INSTALL_MIN // MIB} MiB"
        yield Finding("error", "disk-space", text, host.name, "make room there, or set install_dir")


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of at least one sample."""
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


def _speed(cluster: Cluster, host: Host, facts: HostFacts, probe: HostProbe) -> Finding:
    """The measured fsync times against the guide, and against what makes followers call an election.

    A leader that waits for its disk sends no heartbeats: above ``heartbeat_ms`` followers miss some, above half of
    ``election_ms`` two slow writes in a row end its leadership.
    """
    samples, data = probe.fsync_ms, host.paths.data_dir
    if facts.service.running or facts.data_dir.kind == "etcd":
        text = "not measured, so as not to disturb a member; its metric etcd_disk_wal_fsync_duration_seconds tells"
        return Finding("warning", "disk-speed", text, host.name)
    if not samples:
        why = "no file could be made there" if probe.fsync_failed else "nothing was measured"
        return Finding("warning", "disk-speed", f"could not be measured at {data}: {why}", host.name)
    worst = percentile(samples, 0.99)
    text = f"fsync p99 {worst:.1f} ms, median {percentile(samples, 0.5):.1f} ms ({len(samples)} writes) at {data}"
    remedy = f"put {data} on a local SSD that nothing else writes to (etcd's hardware guide)"
    # One stall of a short measurement may be chance, two are not.
    again = sorted(samples)[-2] if len(samples) > 1 else samples[0]
    if min(worst, again) > cluster.etcd.election_ms / 2:
        text += f"; above half of etcd.election_ms ({cluster.etcd.election_ms}): leaders would be lost again and again"
        return Finding("error", "disk-speed", text, host.name, remedy)
    if worst > cluster.etcd.heartbeat_ms:
        text += f"; above etcd.heartbeat_ms ({cluster.etcd.heartbeat_ms}): expect lost leaders under load"
        return Finding("warning", "disk-speed", text, host.name, remedy)
    if worst > FSYNC_GOOD_MS:
        return Finding("warning", "disk-speed", f"{text}; etcd's guide: below {FSYNC_GOOD_MS:g} ms", host.name, remedy)
    return Finding("ok", "disk-speed", text, host.name)


def _data_dir(host: Host, facts: HostFacts) -> Finding:
    data, path = facts.data_dir, host.paths.data_dir
    if data.kind == "foreign":
        text = f"{path} holds what is not etcd's: {', '.join(data.entries)}"
        return Finding("error", "data-dir", text, host.name, f"move it away, or set another data_dir for {host.name}")
    mount = ", a mount point" if data.mount_point else ""
    words = {"absent": "is not there yet", "empty": f"is empty{mount}", "etcd": f"has data of etcd{mount}"}
    return Finding("ok", "data-dir", f"{path} {words[data.kind]}", host.name)


def _paths(cluster: Cluster, host: Host, probe: HostProbe) -> Iterator[Finding]:
    """One finding for each filesystem that can't be written, not one for each path on it."""
    found = []
    closed: dict[tuple[str, str], list[str]] = {}
    for path, seen in probe.paths.items():
        why = _obstacle(path, seen)
        if why:
            closed.setdefault((why, seen.mount), []).append(path)
    for (why, mount), paths in closed.items():
        text = f"{', '.join(paths)}: {why.format(mount=mount)}"
        found.append(Finding("error", "paths", text, host.name, _remedy(host, why, mount)))
    install = probe.paths[host.paths.install_dir]
    if "noexec" in install.options:
        text = f"{host.paths.install_dir}: {install.mount} is mounted noexec, so etcd can't be started from there"
        found.append(
            Finding("error", "paths", text, host.name, f"remount {install.mount} with exec, or set install_dir")
        )
    found += _closed_way(cluster, host, probe)
    if not found:
        found.append(Finding("ok", "paths", "all can be written", host.name))
    yield from found


def _obstacle(path: str, seen: PathProbe) -> str:
    if not seen.directory:
        return f"{seen.near} is in the way, it is no directory"
    if "ro" in seen.options:
        return "{mount} is mounted read-only"
    if not seen.writable:
        return f"nothing can be made in {seen.near}"
    return ""


def _remedy(host: Host, why: str, mount: str) -> str:
    if "read-only" in why:
        return f"mount -o remount,rw {mount} (and see /etc/fstab), or choose another directory in the cluster file"
    if "no directory" in why:
        return "move it away, or choose another directory in the cluster file"
    return "see its owner, mode and attributes (lsattr), or choose another directory in the cluster file"


def _closed_way(cluster: Cluster, host: Host, probe: HostProbe) -> Iterator[Finding]:
    """Directories above the data dir that etcd's user can't pass."""
    user, data = cluster.etcd.user, host.paths.data_dir
    if host.service != "systemd":
        return
    for step in probe.way:
        if step.path == data or step.mode & 0o001 or step.owner == user or step.group == user:
            continue
        # Another group may be one of the user's, which can't be seen before the user exists.
        level = "warning" if step.mode & 0o010 and step.group != "root" else "error"
        text = (
            f"{step.path} is {step.owner}:{step.group} {step.mode:04o}: the user {user} can't reach {data} through it"
        )
        yield Finding(level, "paths", text, host.name, f"chmod o+x {step.path}, or set another data_dir")  # type: ignore[arg-type]
