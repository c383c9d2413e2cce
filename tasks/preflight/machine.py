"""Machine and system: clock, processors, memory, architecture, systemd, tools, rights. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median

from tasks.cluster.spec import Cluster, Host
from tasks.findings import Finding
from tasks.hosts.facts import HostFacts
from tasks.preflight.seen import HostProbe

#: Seconds that a clock may be off the others' (etcd's peer prober warns from 1 s on; half of it leaves room to drift).
CLOCK_WARNING = 0.5
#: A clock that is this far off follows no time service at all; certificates are issued five minutes back, so TLS works
#: for now, but logs can't be compared, and it goes on drifting.
CLOCK_ERROR = 10.0
#: etcd's hardware guide: two to four cores for typical clusters.
CPUS = 2
#: etcd's hardware guide: 8 GB are typical; below 2 GiB the page cache alone is short for a few hundred MB of database.
MEMORY = 2 << 30
#: systemd that knows every setting of the unit (ProtectProc, 247); older ones ignore what they don't know.
SYSTEMD = 247
#: Architectures with official release tarballs (github.com/etcd-io/etcd releases, 3.5 to 3.7).
RELEASED = ("amd64", "arm64", "ppc64le", "s390x")

GIB = 1 << 30


def check_machine(cluster: Cluster, host: Host, facts: HostFacts, probe: HostProbe) -> Iterator[Finding]:
    """Everything about one machine but its disks and network."""
    yield _cpu(host, facts)
    yield _memory(cluster, host, facts, probe)
    yield _architecture(cluster, host, facts)
    yield _sudo(host, probe)
    yield _tools(host, facts)
    if host.service == "systemd":
        yield _systemd(host, facts)
    yield _os(host, facts, probe)


def _cpu(host: Host, facts: HostFacts) -> Finding:
    if facts.cpus < 1:
        return Finding("warning", "cpu", "the number of CPUs could not be seen", host.name)
    if facts.cpus < CPUS:
        text = f"{facts.cpus} CPU; etcd's hardware guide asks for {CPUS} to 4"
        return Finding("warning", "cpu", text, host.name, "give the machine more, or keep the load small")
    return Finding("ok", "cpu", f"{facts.cpus} CPUs", host.name)


def _memory(cluster: Cluster, host: Host, facts: HostFacts, probe: HostProbe) -> Finding:
    total, (_, swapped) = facts.memory_bytes, probe.swap
    if total < 1:
        return Finding("warning", "memory", "the size of the memory could not be seen", host.name)
    text = f"{total / GIB:.1f} GiB"
    if total < MEMORY:
        text += f"; less than {MEMORY // GIB} GiB (etcd's hardware guide: 8 GB are typical)"
        return Finding("warning", "memory", text, host.name, "give the machine more, or keep etcd.quota small")
    if cluster.etcd.quota_bytes > total:
        text += f"; less than the database may grow to (etcd.quota is {cluster.etcd.quota_bytes / GIB:.1f} GiB)"
        remedy = "the database is mapped into memory: give the machine more, or lower etcd.quota"
        return Finding("warning", "memory", text, host.name, remedy)
    if swapped:
        text += f", {swapped / GIB:.2f} GiB of swap in use: a member that is swapped out misses its heartbeats"
        return Finding("warning", "memory", text, host.name, "swapoff -a, once there is memory enough")
    return Finding("ok", "memory", text, host.name)


def _architecture(cluster: Cluster, host: Host, facts: HostFacts) -> Finding:
    # A mirror or a directory may well hold builds of somebody's own.
    if cluster.release.source == "official" and facts.arch not in RELEASED:
        text = f"{facts.machine or 'unknown'}: etcd is released for {', '.join(RELEASED)}"
        remedy = "build etcd for it, put the tarball into a directory and name that in etcd.release.source"
        return Finding("error", "architecture", text, host.name, remedy)
    return Finding("ok", "architecture", facts.arch, host.name)


def check_architectures(facts: Mapping[str, HostFacts]) -> Iterator[Finding]:
    """Whether all hosts are of one architecture."""
    by_arch: dict[str, list[str]] = {}
    for name, seen in facts.items():
        by_arch.setdefault(seen.arch, []).append(name)
    if len(by_arch) > 1:
        said = "; ".join(f"{arch}: {', '.join(names)}" for arch, names in sorted(by_arch.items()))
        text = f"the members are of different architectures ({said})"
        yield Finding("warning", "architecture", text, None, "works, but is tested by few: make them alike if you can")


def _sudo(host: Host, probe: HostProbe) -> Finding:
    if probe.root:
        return Finding("ok", "sudo", f"{host.ssh.user} becomes root" if host.ssh.user != "root" else "root", host.name)
    if host.service == "supervisor":
        return Finding("ok", "sudo", "not needed under supervisor", host.name)
    text = f"{host.ssh.user} does not become root"
    return Finding("error", "sudo", text, host.name, "ssh.sudo: auto, or ssh.user: root")


def _tools(host: Host, facts: HostFacts) -> Finding:
    if facts.missing_tools:
        text = f"missing: {', '.join(facts.missing_tools)}"
        return Finding("error", "tools", text, host.name, "install coreutils, tar, gzip and systemd there")
    return Finding("ok", "tools", "all there", host.name)


def _systemd(host: Host, facts: HostFacts) -> Finding:
    if facts.systemd is None:
        text = "systemd does not run there"
        return Finding("error", "systemd", text, host.name, "etcd is kept running by systemd: use a host that has it")
    if facts.systemd < SYSTEMD:
        text = f"systemd {facts.systemd} does not know all protections of the unit, and leaves those out"
        return Finding("warning", "systemd", text, host.name, f"{SYSTEMD} or newer knows all of them")
    return Finding("ok", "systemd", f"systemd {facts.systemd}", host.name)


def _os(host: Host, facts: HostFacts, probe: HostProbe) -> Finding:
    if not facts.os_id:
        return Finding("warning", "os", "no os-release there: which system this is could not be seen", host.name)
    selinux = f", SELinux {probe.selinux}" if probe.selinux != "off" else ""
    return Finding("ok", "os", f"{facts.os_id} {facts.os_version}, Linux {facts.kernel}{selinux}".strip(), host.name)


def check_clocks(
    cluster: Cluster, facts: Mapping[str, HostFacts], probes: Mapping[str, HostProbe]
) -> Iterator[Finding]:
    """Each clock against the middle of all hosts' clocks, and that against the worker's."""
    known = {name: seen for name, seen in facts.items() if seen.clock_offset is not None}
    # With two there is no majority: the worker's own clock is the third.
    votes = [seen.clock_offset or 0.0 for seen in known.values()]
    middle = median(votes if len(votes) > 2 else [*votes, 0.0])
    for name, seen in facts.items():
        if name not in known:
            yield Finding("warning", "clock", "its clock could not be read", name)
            continue
        # Members on the worker itself have the worker's clock, whoever keeps that right.
        probe = probes.get(name) if cluster.host(name).connection != "local" else None
        yield _clock(name, (seen.clock_offset or 0.0) - middle, seen.clock_error, probe)
    away = abs(middle) - max((seen.clock_error for seen in known.values()), default=0.0)
    if len(votes) > 2 and away > CLOCK_WARNING:
        side = "behind" if middle > 0 else "ahead of"
        text = f"the clock of this machine is {abs(middle):.1f} s {side} that of the hosts"
        yield Finding(
            "warning", "clock", text, None, "certificates get this machine's time: let it follow a time server"
        )


def _clock(name: str, off: float, error: float, probe: HostProbe | None) -> Finding:
    sure = abs(off) - error
    remedy = "let all hosts follow the same time servers (chrony, systemd-timesyncd), then run again"
    if sure > CLOCK_WARNING:
        text = f"{abs(off):.1f} s {'ahead of' if off > 0 else 'behind'} the others (measured to {error:.2f} s)"
        return Finding("error" if sure > CLOCK_ERROR else "warning", "clock", text, name, remedy)
    if error > CLOCK_WARNING:
        text = f"could only be measured to {error:.1f} s, the way there is too slow"
        return Finding("warning", "clock", text, name, "see on the host whether its time service is in step")
    if probe is not None and not probe.container and not probe.timesync:
        text = "right now, but no time service runs there that would keep it so"
        return Finding("warning", "clock", text, name, "install and start chrony or systemd-timesyncd")
    return Finding("ok", "clock", f"within {abs(off):.2f} s of the others (measured to {error:.2f} s)", name)
